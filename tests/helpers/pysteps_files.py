"""Small valid files of services that only pysteps reads, and of others with the georeference that pysteps asks for."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from tests.helpers.radar_files import stamp_of, write_knmi

FMI_HEADER = """P5
# obstime {stamp}
# projection radar {{
# type stereographic
# centrallongitude 25
# centrallatitude 90
# truelatitude 60
# bottomleft 18.600000 57.930000
# topright 18.700000 57.975000
# }}
# metersperpixel_x {x}
# metersperpixel_y {y}
{width} {height}
255
"""
ODIM_PROJECTION = "+proj=laea +lat_0=55 +lon_0=10 +x_0=1950000 +y_0=-2100000 +ellps=WGS84"


def write_fmi_pgm(folder, minute, values, *, zipped=True):
    """FMI's composite of (H, W) uint8 ``values``; the pixels fill the area between the corners in the header."""
    pyproj = pytest.importorskip("pyproj")
    transform = pyproj.Proj("+proj=stere +lon_0=25 +lat_0=90 +lat_ts=60 +a=6371288 +x_0=380886.310 +y_0=3395677.920")
    (x1, y1), (x2, y2) = transform(18.6, 57.93), transform(18.7, 57.975)
    height, width = values.shape
    fields = {"stamp": stamp_of(minute), "x": (x2 - x1) / width, "y": (y2 - y1) / height}
    data = FMI_HEADER.format(width=width, height=height, **fields).encode() + values.tobytes()
    path = folder / f"{stamp_of(minute)}_fmi.radar.composite.lowest_FIN_SUOMI1.pgm{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(data, mtime=0) if zipped else data)
    return path


def write_knmi_grid(folder, minute, values, end, **words):
    """KNMI's file with its group ``geographic``."""
    h5py = pytest.importorskip("h5py")
    path = write_knmi(folder, stamp_of(minute), values, end, **words)
    with h5py.File(path, "r+") as file:
        place = file.create_group("geographic")
        numbers = {"column_offset": 0.0, "row_offset": 3650.0, "pixel_size_x": 1.0, "pixel_size_y": -1.0}
        sizes = {"number_columns": values.shape[1], "number_rows": values.shape[0]}
        place.attrs.update({f"geo_{name}": [value] for name, value in (numbers | sizes).items()})
        place.attrs["geo_dim_pixel"] = np.bytes_("KM,KM")
        projection = "+proj=stere +lat_0=90 +lon_0=0.0 +lat_ts=60.0 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0"
        place.create_group("map_projection").attrs["projection_proj4_params"] = np.bytes_(projection)
    return path


def write_odim_grid(folder, minute, data, quantity="RATE", *, source="WMO:00000", minutes=5, **what):
    """An ODIM composite of 2 km with the corners of its grid; the attributes of ``what`` stand beside the data."""
    h5py, pyproj = pytest.importorskip("h5py"), pytest.importorskip("pyproj")
    path = folder / f"T_PAAH21_C_EUOC_{stamp_of(minute)}00.hdf"
    height, width = data.shape
    with h5py.File(path, "w") as file:
        file["dataset1/data1/data"] = data
        given = {
            "quantity": np.bytes_(quantity),
            "gain": 1.0,
            "offset": 0.0,
            "nodata": -9999000.0,
            "undetect": -8888000.0,
        }
        file.create_group("dataset1/data1/what").attrs.update(given | what)
        span = {"start": stamp_of(minute - minutes), "end": stamp_of(minute)}
        times = {f"{edge}date": np.bytes_(stamp[:8]) for edge, stamp in span.items()}
        times |= {f"{edge}time": np.bytes_(f"{stamp[8:]}00") for edge, stamp in span.items()}
        file.create_group("dataset1/what").attrs.update(times)
        stamp = stamp_of(minute)
        root = {"date": np.bytes_(stamp[:8]), "time": np.bytes_(f"{stamp[8:]}00"), "source": np.bytes_(source)}
        file.create_group("what").attrs.update(root)
        transform = pyproj.Proj(ODIM_PROJECTION)
        place = {"projdef": np.bytes_(ODIM_PROJECTION), "xscale": 2000.0, "yscale": 2000.0}
        for corner, x, y in (("LL", 0, 0), ("UR", width, height), ("UL", 0, height), ("LR", width, 0)):
            place[f"{corner}_lon"], place[f"{corner}_lat"] = transform(2000.0 * x, 2000.0 * y, inverse=True)
        file.create_group("where").attrs.update(place)
    return path


def write_swiss_gif(folder, minute, indices, product="AQC"):
    """MeteoSwiss' palette GIF of (640, 710) uint8 palette ``indices``; its name has the day of the year."""
    stamp = np.datetime64(minute, "m").astype(object)
    picture = Image.fromarray(indices, "P")
    picture.putpalette(np.random.default_rng(1).permutation(768).astype(np.uint8).tobytes())
    path = folder / f"{product}{stamp:%y%j%H%M}F_00005.801.gif"
    picture.save(path)
    return path


def write_radolan(folder, minute, counts, product="RY", *, interval="INT   5", exponent=2):
    """A RADOLAN file of (H, W) uint16 ``counts``, whose first row is the southern one."""
    height, width = counts.shape
    stamp = stamp_of(minute)
    header = f"{product}{stamp[6:12]}10000{stamp[4:6]}{stamp[2:4]}BY{2 * counts.size + 100:7d}VS 5SW  P30000B"
    header += f"PR E-{exponent:02}{interval}U0GP{height:4d}x{width:4d}MS 10<boo,ros>"
    path = folder / f"raa01-{product.lower()}_10000-{stamp[2:]}-dwd---bin"
    path.write_bytes(header.encode() + b"\3" + counts.astype("<u2").tobytes())
    return path


def write_mrms(folder, minute, rates, *, south=20.0, west=250.0, step=0.5):
    """MRMS' GRIB2 file of (H, W) ``rates`` in mm/h, -3 where there is no coverage; packed as 16-bit integers."""
    height, width = rates.shape
    stamp = stamp_of(minute)
    micro = [
        round(1e6 * value) for value in (south + step * (height - 1), west, south, west + step * (width - 1), step)
    ]
    north, first, last_latitude, last, increment = micro
    grid = struct.pack(">BIBBH", 0, height * width, 0, 0, 0) + struct.pack(">B", 6) + bytes(15)
    grid += struct.pack(
        ">IIIIIIBIIIIB", width, height, 0, 0xFFFFFFFF, north, first, 48, last_latitude, last, increment, increment, 0
    )
    when = struct.pack(">HBBBBB", int(stamp[:4]), *(int(stamp[i : i + 2]) for i in (4, 6, 8, 10)), 0)
    product = struct.pack(">HHBBBBBHBBIBBIBBI", 0, 0, 6, 1, 8, 0, 97, 0, 0, 1, 0, 102, 0, 0, 255, 0, 0)
    sections = {
        1: struct.pack(">HHBBB", 161, 0, 255, 1, 3) + when + bytes([0, 1]),
        3: grid,
        4: product,
        5: struct.pack(">IHfHHBB", height * width, 0, -30.0, 0, 1, 16, 0),
        6: bytes([255]),
        7: np.round(10 * rates + 30).astype(">u2").tobytes(),
    }
    body = b"".join(struct.pack(">IB", 5 + len(data), number) + data for number, data in sections.items()) + b"7777"
    path = folder / f"PrecipRate_00.00_{stamp[:8]}-{stamp[8:]}00.grib2"
    path.write_bytes(b"GRIB\0\0" + bytes([209, 2]) + struct.pack(">Q", 16 + len(body)) + body)
    return path


def write_crr(folder, minute, counts):
    """NWC SAF's netCDF file of (H, W) uint16 ``counts`` of 0.1 mm/h; 65535 is missing."""
    netcdf = pytest.importorskip("netCDF4")
    stamp = stamp_of(minute)
    path = folder / f"S_NWC_CRR_MSG4_Europe-VISIR_{stamp[:8]}T{stamp[8:]}00Z.nc"
    height, width = counts.shape
    with netcdf.Dataset(path, "w") as file:
        file.createDimension("ny", height)
        file.createDimension("nx", width)
        for name, kind in (("crr_intensity", "u2"), ("crr_quality", "u1")):
            variable = file.createVariable(name, kind, ("ny", "nx"), fill_value=65535 if kind == "u2" else 255)
            variable.set_auto_maskandscale(False)
            variable[:] = counts if kind == "u2" else np.zeros_like(counts)
        file["crr_intensity"].setncatts({"units": "mm/h", "scale_factor": 0.1, "add_offset": 0.0})
        file.setncatts(
            {
                "gdal_projection": "+proj=geos +a=6378137.0 +b=6356752.3 +lon_0=0.0 +h=35785863.0",
                "gdal_geotransform_table": np.array([0.0, 3000.0, 0.0, 0.0, 0.0, -3000.0]),
                "gdal_xgeo_up_left": 0.0,
                "gdal_xgeo_low_right": 3000.0 * width,
                "gdal_ygeo_low_right": -3000.0 * height,
                "gdal_ygeo_up_left": 0.0,
                "institution": "a service",
            }
        )
    return path


def write_rainfields(folder, minute, counts, *, units="kg m-2", minutes=6):
    """The Bureau of Meteorology's netCDF file of (H, W) int16 ``counts`` of 0.05 mm; -1 is missing."""
    netcdf = pytest.importorskip("netCDF4")
    stamp = stamp_of(minute)
    path = folder / f"2_{stamp[:8]}_{stamp[8:]}00.prcp-cscn.nc"
    height, width = counts.shape
    with netcdf.Dataset(path, "w") as file:
        for name, values in (("x", 0.5 * np.arange(width)), ("y", 0.5 * np.arange(height)[::-1])):
            file.createDimension(name, len(values))
            axis = file.createVariable(name, "f4", (name,))
            axis.units = "km"
            axis[:] = values
        rain = file.createVariable("precipitation", "i2", ("y", "x"), fill_value=-1)
        rain.set_auto_maskandscale(False)
        rain.setncatts({"units": units, "scale_factor": 0.05, "add_offset": 0.0})
        rain[:] = counts
        for name, time in (("start_time", minute - minutes), ("valid_time", minute)):
            clock = file.createVariable(name, "i8", ())
            clock.units = "seconds since 1970-01-01 00:00:00 UTC"
            clock[...] = 60 * time
        projection = file.createVariable("proj", "i1", ())
        projection.grid_mapping_name = "albers_conical_equal_area"
        projection.longitude_of_central_meridian, projection.latitude_of_projection_origin = 144.752, -37.852
        projection.standard_parallel = np.array([-18.0, -36.0])
    return path

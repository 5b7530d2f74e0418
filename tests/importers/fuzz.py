"""Mutations of a small valid file of each format, read under a limit of memory and time; run by test_attacks.

``python tests/importers/fuzz.py FOLDER FILES [NAME ...]`` prints one JSON object: for each format, or each one named,
how many of FILES mutated files were read and how many were refused. A file that reads must read as a plain decoder,
written here, has it. Formats of pysteps run if they are named.
"""

import json
import re
import resource
import signal
import sys
import warnings
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]


from hko7env.archive.format import minutes  # noqa: E402
from hko7env.damage import DAMAGE  # noqa: E402
from hko7env.importers import dataset, load_format  # noqa: E402
from hko7env.importers.formats import cf, hko7  # noqa: E402
from tests.helpers.plain_decoders import (  # noqa: E402
    plain_arso,
    plain_cf,
    plain_eccc,
    plain_fmi,
    plain_knmi,
    plain_odim,
    plain_radolan,
)
from tests.helpers.pysteps_files import (  # noqa: E402
    write_fmi_pgm,
    write_knmi_grid,
    write_mrms,
    write_odim_grid,
    write_radolan,
    write_rainfields,
    write_swiss_gif,
)
from tests.helpers.radar_files import (  # noqa: E402
    cf_dataset,
    draw_arso,
    draw_eccc,
    write_fmi,
    write_hko7,
    write_knmi,
    write_odim,
)

MEMORY = 1 << 30  # bytes beyond what the imports take
SECONDS = 20  # for one file
NUMBERS = (0, 1, 0x7F, 0xFF, 60_000, 0xFFFF, 10**6, 0x7FFF_FFFF, 0xFFFF_FFFF, 10**11, (1 << 63) - 1, (1 << 64) - 1)


def mutate(data, rng):
    """One of: bits flipped, the end cut off, a run of zeros, a number in a field of 1 to 8 bytes, bytes shuffled in."""
    kind, held = rng.integers(6), bytearray(data)
    near = int(rng.integers(min(len(held), 256 if rng.random() < 0.3 else len(held))))
    if kind == 0:
        for place in rng.integers(len(held), size=rng.integers(1, 9)):
            held[place] ^= 1 << rng.integers(8)
    elif kind == 1:
        del held[near:]
    elif kind == 2:
        length = int(rng.integers(1, 64 if rng.random() < 0.7 else len(held)))
        held[near : near + length] = bytes(len(held[near : near + length]))
    elif kind == 3:
        size, order = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["little", "big"]))
        number = NUMBERS[rng.integers(len(NUMBERS))] % (1 << 8 * size)
        held[near : near + size] = number.to_bytes(size, order)
    elif kind == 4:
        held[near] = rng.integers(256)
    else:
        held[near:near] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(held)


def samples(folder):
    """For each format a good file and its plain decoder; PNG and masks carry checksums, so only they are themselves."""
    rng = np.random.default_rng(1)
    rain = np.round(rng.gamma(0.5, 8, (5, 6)), 2)
    yield "fmi", write_fmi(folder, "201609281445", rng.integers(0, 256, (5, 6), np.uint8)), plain_fmi
    counts = (rain / 0.12).astype(np.uint16)
    yield "knmi", write_knmi(folder, "201008260000", counts, "26-AUG-2010;00:00:00.000"), plain_knmi
    yield "odim", write_odim(folder, "20180613120000", np.where(rain < 1, -8888000.0, rain)), plain_odim
    path = folder / "rain.nc"
    cf_dataset(rain[None], "mm/h").to_netcdf(path, engine="h5netcdf")
    yield "cf", path, plain_cf
    cells = [(100, 200, (255, 153, 0)), (300, 150, (153, 204, 255))]
    yield "eccc", draw_eccc(folder, minutes("2024-07-10T19:06"), cells), plain_eccc
    cells = [(5, 6, 2), (300, 400, 15), (7, 8, 9)]
    yield "arso", draw_arso(folder, "2026-07-16T12:05", cells), plain_arso
    frame = np.zeros((480, 480), np.uint8)
    frame[200:240, 100:160] = rng.integers(0, 256, (40, 60))
    write_hko7(folder, [frame], np.zeros((480, 480)))
    (path,) = folder.rglob("*.png")
    yield "hko7", path, lambda path: frame
    (path,) = folder.rglob("*.mask")
    mask = hko7.read_mask(path)
    yield "mask", path, lambda path: mask


def pysteps_samples(folder):
    """For importers of pysteps a good file and its plain decoder, or None."""
    rng, minute = np.random.default_rng(1), minutes("2018-06-13T12:00")
    rain = np.round(rng.gamma(0.5, 8, (5, 6)), 2)
    counts = (rain / 0.12).astype(np.uint16)
    grey = rng.integers(0, 256, (5, 6), np.uint8)
    yield "pysteps:fmi_pgm", write_fmi_pgm(folder, minute, grey, zipped=False), plain_fmi
    yield "pysteps:knmi_hdf5", write_knmi_grid(folder, minute, counts, "13-JUN-2018;12:00:00.000"), plain_knmi
    path = write_odim_grid(folder, minute, np.where(rain < 1, -8888000.0, rain))
    yield "pysteps:odim_hdf5", path, lambda path: plain_odim(path, "dataset1/data1/what")
    yield (
        "pysteps:dwd_radolan",
        write_radolan(folder, minute, rng.integers(0, 4096, (20, 25), np.uint16)),
        plain_radolan,
    )
    indices = rng.integers(0, 160, (640, 710), np.uint8)
    indices[100:] = 0
    yield "pysteps:mch_gif", write_swiss_gif(folder, minute, indices), None
    yield "pysteps:mrms_grib", write_mrms(folder, minute, rain), None
    yield "pysteps:bom_rf3", write_rainfields(folder, minute, counts.astype(np.int16)), None


def read(name, path):
    """The first frame of a file, by all the steps of an import."""
    if name == "mask":
        return hko7.read_mask(path)
    with opened_once(path) if name == "cf" else nullcontext():
        return read_as_an_import_does(load_format(name), path)


@contextmanager
def opened_once(path):
    """Let the steps of an import share one xarray dataset, which takes most of the time to open."""
    data = []

    def share(_):
        if not data:
            data.append(dataset.open_dataset(path))
        return nullcontext(data[0])

    try:
        with patch.object(cf, "open_dataset", share):
            yield
    finally:
        for opened in data:
            opened.close()


def read_as_an_import_does(reader, path):
    if not reader.times_of(path):
        raise ValueError("nothing of the format")
    reader.coverage_id(path)
    grid = reader.grid(path)
    levels = reader.read_at(path, 0).levels
    if levels.dtype != np.uint8 or levels.shape != grid.shape:
        sys.exit(f"{path} reads as {levels.dtype} {levels.shape} in a grid of {grid.shape}")
    return levels


def attack(name, path, plain, count):
    good, tally = path.read_bytes(), {"read": 0, "refused": 0}
    if plain:
        np.testing.assert_array_equal(read(name, path), plain(path))
    for number in range(count):
        data = mutate(good, np.random.default_rng([number, zlib.crc32(name.encode())]))
        path.write_bytes(data)
        signal.alarm(SECONDS)
        sys.stderr.write(f"{name} {number}\n")  # the last line names a file that hangs or crashes
        try:
            with np.errstate(all="ignore"):
                levels = read(name, path)
        except DAMAGE:
            tally["refused"] += 1
            continue
        if plain:
            np.testing.assert_array_equal(levels, plain(path), err_msg=f"{name} {number}")
        tally["read"] += 1
    signal.alarm(0)
    path.write_bytes(good)
    return tally


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # xarray's, of what it finds strange
    found, only = {}, sys.argv[3:]
    folder = Path(sys.argv[1])
    chosen = list(pysteps_samples(folder) if any(name.startswith("pysteps:") for name in only) else samples(folder))
    for name, path, plain in chosen:
        if only and name not in only:
            continue
        read(name, path)
        taken = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
        found[name] = attack(name, path, plain, int(sys.argv[2]))
    sys.stdout.write(json.dumps(found))

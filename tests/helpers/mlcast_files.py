"""Datasets by the mlcast specification 0.2.0, small, as its community publishes them."""

import functools
import http.server
import threading
import warnings
from contextlib import contextmanager

import numcodecs
import numpy as np
import pytest
import zarr

from hko7env.archive.format import minutes

START = minutes("2020-06-01T00:00")
WKT = 'PROJCS["RADKLIM",GEOGCS["sphere",DATUM["sphere",SPHEROID["sphere",6370040,0]]]]'
ABOUT = {
    "standard_name": "rainfall_amount",
    "long_name": "rain of a time step",
    "units": "kg m-2",
    "grid_mapping": "crs",
}


def dataset(values, *, step=5, missing=(), spacing=1.0, length="km", south_up=False, about=(), **attributes):
    """An xarray dataset of ``values`` (time, y, x), northern row first; ``missing`` are steps that ``time`` skips."""
    xarray = pytest.importorskip("xarray")
    n, height, width = values.shape
    y, x = -4600.0 + spacing * np.arange(height)[::-1], -443.0 + spacing * np.arange(width)
    steps = np.setdiff1d(np.arange(n + len(missing)), missing)
    if south_up:
        values, y = values[:, ::-1], y[::-1]
    plane = {name: (("y", "x"), np.zeros((height, width))) for name in ("lat", "lon")}
    gaps = {"missing_times": ("missing_times", _times(step, missing))} if len(missing) else {}
    data = xarray.Dataset(
        {"rainfall_amount": (("time", "y", "x"), values, ABOUT | dict(about)), "crs": ((), 0)},
        {
            "time": _times(step, steps),
            "y": ("y", y, {"standard_name": "projection_y_coordinate", "axis": "Y", "units": length}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "axis": "X", "units": length}),
            **plane,
            **gaps,
        },
        {"license": "CC-BY-4.0", "title": "a climatology of radar", **attributes},
    )
    data.crs.attrs.update(spatial_ref=WKT, crs_wkt=WKT)
    return data


def write_store(data, path, *, chunk=1, zarr_format=2, **encoding):
    """Write a dataset with zstd and ``chunk`` time steps a chunk."""
    name = next(name for name in data.data_vars if data[name].ndim == 3)
    codec = numcodecs.Zstd(level=5) if zarr_format == 2 else zarr.codecs.ZstdCodec(level=5)
    about = {"chunks": (chunk, *data[name].shape[1:]), "compressors": (codec,), **encoding}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray's own, of consolidated metadata
        data.to_zarr(path, zarr_format=zarr_format, consolidated=True, encoding={name: about})
    return path


def _times(step, numbers):
    minute = START + step * np.asarray(numbers, np.int64)
    return minute.astype("datetime64[m]").astype("datetime64[ns]")


class ObjectStore(http.server.SimpleHTTPRequestHandler):
    """Files over HTTP, and as much of S3 as reading needs: objects, errors as XML and a list that is empty."""

    def do_GET(self):
        if "list-type=2" in self.path:
            self._answer(200, "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
        else:
            super().do_GET()

    def send_error(self, code, *_):
        self._answer(code, "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")

    def _answer(self, code, text):
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def log_message(self, *arguments):
        self.server.requests.append(self.path)


@contextmanager
def served(folder):
    """The URL of a folder on this machine, and the paths that were read from there so far."""
    handler = functools.partial(ObjectStore, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.requests
        finally:
            server.shutdown()

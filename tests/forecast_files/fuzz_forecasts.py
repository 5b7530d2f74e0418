"""Damaged and foreign forecast files, read under a limit of memory and time; run by test_damaged_forecast_files.

``python tests/forecast_files/fuzz_forecasts.py FOLDER FILES`` prints one JSON object: for each kind how many of FILES
files were read and how many were refused. A file that reads gives pixels in [0, 1] or missing forecasts; if its layout
is still that of the good file, the pixels are the good ones, because chunks carry checksums.
"""

import json
import re
import resource
import shutil
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import xarray

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from hko7env.archive import Archive, create  # noqa: E402
from hko7env.archive.format import minutes  # noqa: E402
from hko7env.forecast_files import ForecastFile, ForecastFileError, Missing, write  # noqa: E402
from tests.helpers.forecasts import foreign_dataset, save  # noqa: E402
from tests.importers.fuzz import mutate  # noqa: E402

MEMORY = 1 << 30  # bytes beyond what reading a good file takes
SECONDS = 20  # for one file
START = minutes("2015-04-02T02:40")


def read(path, archive):
    """The layout and all forecasts of a file."""
    with ForecastFile(path, archive) as file:
        times = file.layout.issue_times[:10].tolist()
        found = [file.read(time) for time in times]
    for forecast in found:
        if not isinstance(forecast, Missing):
            sound = forecast.dtype == np.float32 and forecast.shape == (20, *archive.shape)
            if not (sound and forecast.min() >= 0 and forecast.max() <= 1):
                sys.exit(f"{path} reads as {forecast.dtype} {forecast.shape} in {forecast.min()} to {forecast.max()}")
    return str(file.layout[:6]), found


def unharmed(path, good, archive):
    """Whether a mutated file was read; exits if it was read as other values than those of the good one."""
    try:
        layout, found = read(path, archive)
    except ForecastFileError as error:
        if not str(error).startswith(str(path)) or "\n" in str(error) or len(str(error)) > 600:
            sys.exit(f"unclear: {error}")
        return False
    if layout == good[0]:
        for here, there in zip(found, good[1], strict=True):
            if not isinstance(here, Missing) and not np.array_equal(here, there):
                sys.exit(f"{path} reads as other values")
    return True


def mutate_netcdf(good, path, rng):
    path.write_bytes(mutate(good.read_bytes(), rng))


def mutate_zarr(good, path, rng):
    """Mutate, remove or exchange a file of the store; its metadata as often as its chunks."""
    shutil.copytree(good, path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    described = [file for file in files if file.suffix == ".json"]
    chosen = files[rng.integers(len(files))] if rng.random() < 0.5 else described[rng.integers(len(described))]
    kind = rng.integers(6)
    if kind == 0:
        chosen.unlink()
    elif kind == 1:
        chosen.write_bytes(files[rng.integers(len(files))].read_bytes())
    elif kind == 2 and chosen.suffix == ".json":
        digits = [found.span() for found in re.finditer(r"\d+", chosen.read_text())]
        begin, end = digits[rng.integers(len(digits))] if digits else (0, 0)
        number = str(rng.choice([0, 1, -1, 3, 10**6, 2**31, 10**12, 2**63]))
        chosen.write_text(chosen.read_text()[:begin] + number + chosen.read_text()[end:])
    elif chosen.stat().st_size:
        chosen.write_bytes(mutate(chosen.read_bytes(), rng))


def change(data, rng):
    """One of the things that other people's files do differently."""
    dimension = str(rng.choice(data.rain.dims))
    other = str(
        rng.choice(["K", "", "mm", "1", "dBZ", "mm/h", "m s-1", "%", "hours since 1900-01-01", "degrees_north"])
    )
    changes = [
        lambda: data.assign(rain=data.rain.assign_attrs(units=other)),
        lambda: data.drop_vars(dimension),
        lambda: data.isel({dimension: slice(None, None, -1)}),
        lambda: data.isel({dimension: slice(0, int(rng.integers(0, data.sizes[dimension] + 1)))}),
        lambda: data.isel({dimension: 0}),
        lambda: data.isel({dimension: rng.integers(0, data.sizes[dimension], data.sizes[dimension])}),
        lambda: data.transpose(*rng.permutation(data.rain.dims)),
        lambda: data.rename({dimension: "other"}),
        lambda: data.expand_dims(member=2),
        lambda: data.assign_coords({dimension: (dimension, np.arange(data.sizes[dimension]) * float(rng.normal()))}),
        lambda: data.assign_coords({dimension: (dimension, data[dimension].values, {"units": other})}),
        lambda: data.assign(rain=data.rain * float(rng.choice([-1, np.nan, np.inf, 1e30, 1e-30])).real),
        lambda: data.assign(rain=data.rain.astype(rng.choice(["int16", "float64", "uint8", "bool", "S4"]))),
        lambda: data.assign(more=data.rain),
        lambda: data.assign_attrs(zr_a=float(rng.normal()), zr_b=float(rng.normal())),
        lambda: data.assign_attrs(zr_a="200"),
        lambda: data.rename(rain="x" if "x" not in data.dims else "y"),
    ]
    return changes[rng.integers(len(changes))]()


def make_foreign(good, path, rng, archive):
    """A good file of somebody else after one to three changes; good if a change is not possible."""
    data = foreign_dataset(archive, START + 30 * np.arange(3), 20 * rng.random((3, 20, *archive.shape)))
    for _ in range(rng.integers(1, 4)):
        try:
            data = change(data, rng)
        except (ValueError, KeyError, AttributeError, TypeError):
            break
    try:
        save(data, path)
    except (ValueError, TypeError, OSError, KeyError):  # xarray cannot write it
        path.unlink(missing_ok=True)
        save(foreign_dataset(archive, [START], np.zeros((1, 20, *archive.shape))), path)


def attack(name, path, make, count, archive, good):
    tally = {"read": 0, "refused": 0}
    for number in range(count):
        make(path, np.random.default_rng([number, len(name)]))
        signal.alarm(SECONDS)
        sys.stderr.write(f"{name} {number}\n")  # the last line names a file that hangs or crashes
        tally["read" if unharmed(path, good, archive) else "refused"] += 1
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    signal.alarm(0)
    return tally


def main(folder, count):
    warnings.simplefilter("ignore")  # xarray's, of what it finds strange
    axes = {"y": 8000 - 1000.0 * np.arange(8), "x": 1000.0 * np.arange(10)}
    archive = create(str(folder / "archive.zarr"), shape=(8, 10), crs="+proj=aeqd +lat_0=22", **axes)
    archive = Archive(str(folder / "archive.zarr"))
    values = np.random.default_rng(1).random((3, 20, 8, 10), np.float32)
    pairs = list(zip(START + 30 * np.arange(3), values, strict=True))
    kinds = {}
    for name, mutation in (("nc", mutate_netcdf), ("zarr", mutate_zarr)):
        good = folder / f"good.{name}"
        write(good, pairs, archive)
        kinds[name] = (good, lambda path, rng, good=good, mutation=mutation: mutation(good, path, rng))
    good = kinds["nc"][0]
    kinds["foreign"] = (good, lambda path, rng: make_foreign(good, path, rng, archive))
    known = {name: read(good, archive) for name, (good, _) in kinds.items()}
    taken = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
    found = {}
    for name, (_, make) in kinds.items():
        path = folder / f"bad.{'zarr' if name == 'zarr' else 'nc'}"
        found[name] = attack(name, path, make, count, archive, known[name] if name != "foreign" else ("", []))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    assert xarray
    main(Path(sys.argv[1]), int(sys.argv[2]))

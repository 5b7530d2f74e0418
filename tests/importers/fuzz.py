"""Mutations of a small valid file of each format, read under a limit of memory and time; run by test_attacks.

``python tests/importers/fuzz.py FOLDER FILES`` prints one JSON object: for each format how many of FILES mutated files
were read and how many were refused. A file that reads must read as a plain decoder, written here, has it.
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
from tests.helpers.plain_decoders import plain_arso, plain_cf, plain_eccc, plain_fmi, plain_knmi, plain_odim  # noqa: E402
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
        np.testing.assert_array_equal(levels, plain(path), err_msg=f"{name} {number}")
        tally["read"] += 1
    signal.alarm(0)
    path.write_bytes(good)
    return tally


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # xarray's, of what it finds strange
    found, only = {}, sys.argv[3:]
    for name, path, plain in list(samples(Path(sys.argv[1]))):
        if only and name not in only:
            continue
        read(name, path)
        taken = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
        found[name] = attack(name, path, plain, int(sys.argv[2]))
    sys.stdout.write(json.dumps(found))

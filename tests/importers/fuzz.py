"""Mutations of a small valid file of each format, read under a limit of memory and time; run by test_attacks.

``python tests/importers/fuzz.py FOLDER FILES`` prints one JSON object: for each format how many of FILES mutated files
were read and how many were refused. A file that reads must read as a plain decoder, written here, has it.
"""

import gzip
import json
import re
import resource
import signal
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import h5py  # noqa: E402

from hko7env.archive.format import minutes  # noqa: E402
from hko7env.damage import DAMAGE  # noqa: E402
from hko7env.importers import load_format  # noqa: E402
from hko7env.importers.formats import eccc, hko7  # noqa: E402
from tests.helpers.radar_files import (  # noqa: E402
    cf_dataset,
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


def level_of(rate):
    """HKO-7's level of mm/h, by the formulas as printed."""
    rate = np.asarray(rate, np.float64)
    dbz = 10 * np.log10(58.53) + 15.6 * np.log10(np.where(rate > 0, rate, 1e-30))
    return np.clip(np.floor((dbz + 10) / 70 * 255 + 0.5), 0, 255)


def plain_fmi(path):
    data = gzip.decompress(path.read_bytes())
    width, height = map(int, re.search(rb"\n(\d+) (\d+)\n255\n", data).groups())
    values = np.frombuffer(data[-width * height :], np.uint8).reshape(height, width)
    rate = (10 ** ((values - 64.0) / 20) / 223) ** (1 / 1.53)
    return np.where((values == 0) | (values == 255), 0, level_of(rate))


def plain_knmi(path):
    with h5py.File(path) as file:
        values = file["image1/image_data"][...]
    return np.where(values == 65535, 0, level_of(values * 0.12))


def plain_odim(path):
    with h5py.File(path) as file:
        data, what = file["dataset1/data1/data"][...], dict(file["dataset1/what"].attrs)
    values = data * what["gain"] + what["offset"]
    return np.where((data == what["nodata"]) | (data == what["undetect"]), 0, level_of(values))


def plain_cf(path):
    with h5py.File(path) as file:
        (name,) = (n for n in file if file[n].ndim == 3)
        values, y, x = file[name][0], *(file[file[name].dims[i][0].name][...] for i in (1, 2))
        units = file[name].attrs["units"]
    factor = {"mm/h": 1, "m s-1": 3.6e6, "mm s-1": 3600}[units.decode() if isinstance(units, bytes) else units]
    values = values[:: -1 if y[1] > y[0] else 1, :: -1 if x[1] < x[0] else 1]
    return np.where(np.isnan(values), 0, level_of(np.nan_to_num(values) * factor))


def plain_gif(data):
    """(H, W, 3) of a GIF of one frame."""
    flags, position, palette = data[10], 13, None
    if flags & 128:
        palette, position = data[13 : 13 + 3 * (2 << (flags & 7))], 13 + 3 * (2 << (flags & 7))
    while data[position] != 0x2C:  # what is neither an image nor an extension is passed over, as PIL does
        if data[position] == 0x21:
            position += 2
            while data[position]:
                position += 1 + data[position]
        position += 1
    left, top, width, height, flags = struct.unpack("<HHHHB", data[position + 1 : position + 10])
    position += 10
    if flags & 128:
        palette, position = data[position : position + 3 * (2 << (flags & 7))], position + 3 * (2 << (flags & 7))
    assert (left, top) == (0, 0)
    least, position, stream = data[position], position + 1, bytearray()
    while position < len(data) and data[position]:  # the end may lack, the pixels may not
        stream += data[position + 1 : position + 1 + data[position]]
        position += 1 + data[position]
    pixels = lzw(bytes(stream), least)[: width * height]
    colours = np.frombuffer(palette.ljust(768, b"\0"), np.uint8).reshape(256, 3)
    picture = colours[np.frombuffer(pixels, np.uint8).reshape(height, width)]
    if flags & 64:
        rows = [r for first, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for r in range(first, height, step)]
        picture = picture[np.argsort(rows)]
    return picture


def lzw(stream, least):
    clear, end = 1 << least, (1 << least) + 1
    table, size, before, out = {}, least + 1, b"", []
    held = bits = 0
    for byte in stream:
        held, bits = held | byte << bits, bits + 8
        while bits >= size:
            code, held, bits = held & (1 << size) - 1, held >> size, bits - size
            if code == end:
                return b"".join(out)
            if code == clear:
                table, size, before = {i: bytes([i]) for i in range(clear)}, least + 1, b""
                following = end + 1
                continue
            now = table[code] if code in table else before + before[:1]
            if before and following < 4096:
                table[following] = before + now[:1]
                following += 1
                if following == 1 << size and size < 12:
                    size += 1
            out.append(now)
            before = now
    return b"".join(out)


def plain_eccc(path):
    rgb = plain_gif(path.read_bytes())[:, :480]
    edges = [*eccc.CLASSES.values(), 200]
    result = np.zeros((480, 480))
    for (colour, low), high in zip(eccc.CLASSES.items(), edges[1:], strict=True):
        result[(rgb == colour).all(axis=-1)] = level_of(np.sqrt(low * high))
    result[eccc.static_mask() == 2] = 0
    return result


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
    reader = load_format(name)
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

"""Decoders of the import formats written from their descriptions, without the code that they check."""

import gzip
import re
import struct

import h5py
import numpy as np
from PIL import Image

from hko7env.importers.formats import arso, eccc


def level_of(rate):
    """HKO-7's level of mm/h, by the formulas as printed."""
    rate = np.asarray(rate, np.float64)
    dbz = 10 * np.log10(58.53) + 15.6 * np.log10(np.where(rate > 0, rate, 1e-30))
    return np.clip(np.floor((dbz + 10) / 70 * 255 + 0.5), 0, 255)


def plain_fmi(path):
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    width, height = map(int, re.search(rb"\n(\d+) (\d+)\n255\n", data).groups())
    values = np.frombuffer(data[-width * height :], np.uint8).reshape(height, width)
    rate = (10 ** ((values - 64.0) / 20) / 223) ** (1 / 1.53)
    return np.where((values == 0) | (values == 255), 0, level_of(rate))


def plain_knmi(path):
    with h5py.File(path) as file:
        values = file["image1/image_data"][...]
    return np.where(values == 65535, 0, level_of(values * 0.12))


def plain_odim(path, group="dataset1/what"):
    with h5py.File(path) as file:
        data, what = file["dataset1/data1/data"][...], dict(file[group].attrs)
    values = data * what["gain"] + what["offset"]
    return np.where((data == what["nodata"]) | (data == what["undetect"]), 0, level_of(values))


def plain_radolan(path):
    """Of accumulations: number by number, from the south-western corner."""
    header, _, body = path.read_bytes().partition(b"\3")
    rows, columns = int(header.split(b"GP")[1][:4]), int(header.split(b"GP")[1][5:9])
    minutes, exponent = int(header.split(b"INT")[1][:4]), int(header.split(b"PR E")[1][:3])
    result = np.zeros((rows, columns))
    for place, (value,) in enumerate(struct.iter_unpack("<H", body)):
        if not value & 0xA000:
            result[rows - 1 - place // columns, place % columns] = level_of(
                (value & 0xFFF) * 10.0**exponent * 60 / minutes
            )
    return result


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


def plain_arso(path):
    """Every cell by itself: the largest class of its four px."""
    rgb = np.asarray(Image.open(path).convert("RGB"))[48:650, 9:811]
    found = np.zeros(rgb.shape[:2])
    for number, colour in enumerate(arso.COLOURS, 1):
        found[(rgb == colour).all(axis=-1)] = level_of((10 ** ((12 + 3 * number) / 10) / 200) ** (1 / 1.6))
    return np.maximum.reduce([found[y::2, x::2] for y in (0, 1) for x in (0, 1)])

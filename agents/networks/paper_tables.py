"""The networks of Shi et al. 2017, appendix, Tables 7-11 (MovingMNIST++) and 13-16 (HKO-7), row by row; data only.

Redundant columns are kept as check digits. Where the released code has other rows there are two versions: ``PRINTED``,
as the paper has them, and ``TABLES``, the default, as the code has them; for the recurrent networks these alone give
the parameter counts of the paper's Table 1. ``mnist conv3d`` is as printed, of base 128: the options released with the
code have 70 there, which ``narrowed(TABLES["mnist conv3d"], (70,))`` gives. Rows are in the order in which data pass;
``frnn1`` is the top of the forecaster, which has no input.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

Size = int | tuple[int, ...]  # px for both directions; in three dimensions (depth, px) or (depth, px, px)


class Row(NamedTuple):
    """One line of a table. What a type has no use for is 0."""

    name: str
    kernel: Size  # of the input, for recurrent rows
    stride: Size
    padding: Size
    state: int  # kernel of the state for "convgru", number of links for "trajgru"
    dilation: int  # of the state kernel
    channels_in: int
    channels_out: int
    size_in: Size
    size_out: Size
    type: str  # conv, deconv, convgru, trajgru, local
    bias: bool = True


Table = tuple[Row, ...]

_MNIST: Table = (  # Tables 9 and 10: the recurrent rows are filled in by _cells
    Row("econv1", 3, 1, 1, 0, 0, 4, 16, 64, 64, "conv"),
    Row("ernn1", 3, 1, 1, 0, 0, 16, 64, 64, 64, "rnn"),
    Row("edown1", 3, 2, 1, 0, 0, 64, 64, 64, 32, "conv"),
    Row("ernn2", 3, 1, 1, 0, 0, 64, 96, 32, 32, "rnn"),
    Row("edown2", 3, 2, 1, 0, 0, 96, 96, 32, 16, "conv"),
    Row("ernn3", 3, 1, 1, 0, 0, 96, 96, 16, 16, "rnn"),
    Row("frnn1", 3, 1, 1, 0, 0, 96, 96, 16, 16, "rnn"),
    Row("fup1", 4, 2, 1, 0, 0, 96, 96, 16, 32, "deconv"),
    Row("frnn2", 3, 1, 1, 0, 0, 96, 96, 32, 32, "rnn"),
    Row("fup2", 4, 2, 1, 0, 0, 96, 96, 32, 64, "deconv"),
    Row("frnn3", 3, 1, 1, 0, 0, 96, 64, 64, 64, "rnn"),
    Row("fconv4", 3, 1, 1, 0, 0, 64, 16, 64, 64, "conv"),
    Row("fconv5", 1, 1, 0, 0, 0, 16, 1, 64, 64, "conv"),
)
_MNIST_RELEASED = (
    Row("edown1", 3, 2, 1, 0, 0, 64, 96, 64, 32, "conv"),  # 64 printed: gives no count of Table 1
    Row("ernn2", 3, 1, 1, 0, 0, 96, 96, 32, 32, "rnn"),  # 64 printed: follows from edown1
    Row("fconv4", 3, 1, 1, 0, 0, 64, 16, 64, 64, "deconv"),  # conv printed: the same up to a flip, but without bias
    Row("fconv4b", 3, 1, 1, 0, 0, 16, 16, 64, 64, "conv"),  # not printed
)
_DFN = (  # Table 11: the head of the dynamic filter network, on K5D1
    Row("fconv4", 3, 1, 1, 0, 0, 64, 121, 64, 64, "conv"),
    Row("fdfn5", 11, 1, 5, 0, 0, 121, 1, 64, 64, "local"),
)
_DFN_RELEASED = (Row("fconv4", 3, 1, 1, 0, 0, 64, 121, 64, 64, "deconv"),)  # conv printed: as above

_HKO7: Table = (  # Tables 15 and 16
    Row("econv1", 7, 5, 1, 0, 0, 4, 8, 480, 96, "conv"),
    Row("ernn1", 3, 1, 1, 0, 0, 8, 64, 96, 96, "rnn"),
    Row("edown1", 5, 3, 1, 0, 0, 64, 64, 96, 32, "conv"),
    Row("ernn2", 3, 1, 1, 0, 0, 64, 192, 32, 32, "rnn"),
    Row("edown2", 3, 2, 1, 0, 0, 192, 192, 32, 16, "conv"),
    Row("ernn3", 3, 1, 1, 0, 0, 192, 192, 16, 16, "rnn"),
    Row("frnn1", 3, 1, 1, 0, 0, 192, 192, 16, 16, "rnn"),
    Row("fup1", 4, 2, 1, 0, 0, 192, 192, 16, 32, "deconv"),
    Row("frnn2", 3, 1, 1, 0, 0, 192, 192, 32, 32, "rnn"),
    Row("fup2", 5, 3, 1, 0, 0, 192, 192, 32, 96, "deconv"),
    Row("frnn3", 3, 1, 1, 0, 0, 192, 64, 96, 96, "rnn"),
    Row("fdeconv4", 7, 5, 1, 0, 0, 64, 8, 96, 480, "deconv"),
    Row("fconv5", 1, 1, 0, 0, 0, 8, 1, 480, 480, "conv"),
)
_HKO7_RELEASED = (
    Row("edown1", 5, 3, 1, 0, 0, 64, 192, 96, 32, "conv"),  # 64 printed: as for MovingMNIST++
    Row("ernn2", 3, 1, 1, 0, 0, 192, 192, 32, 32, "rnn"),  # 64 printed: follows from edown1
    Row("fdeconv4b", 3, 1, 1, 0, 0, 8, 8, 480, 480, "conv"),  # not printed
)


def _cells(table: Table, kind: str, state: Sequence[int], dilation: int = 0) -> Table:
    """``table`` with cells of ``kind``; ``state`` is kernel or links from the finest to the coarsest level."""
    levels = iter([*state, *reversed(state)])  # down the encoder, up the forecaster
    return tuple(
        row._replace(type=kind, state=next(levels), dilation=dilation) if row.type == "rnn" else row for row in table
    )


def _with(table: Table, rows: Sequence[Row]) -> Table:
    """``table`` with ``rows`` in place of those of the same name; a new row (``x b``) goes in after ``x``."""
    given = {row.name: row for row in rows}
    result = []
    for row in table:
        result.append(given.get(row.name, row))
        if row.name + "b" in given:
            result.append(given[row.name + "b"])
    return tuple(result)


def _released(table: Table, rows: Sequence[Row]) -> Table:
    """``table`` with the released ``rows``; the released deconvolutions have no bias."""
    return tuple(row._replace(bias=row.type != "deconv") for row in _with(table, rows))


def _conv2d_mnist(c: int) -> Table:
    """Table 7: ``c`` times the depth of the three-dimensional kernel; the frames are channels."""
    return (
        Row("enc1", 4, 2, 1, 0, 0, 10, 4 * c, 64, 32, "conv"),
        Row("enc2", 4, 2, 1, 0, 0, 4 * c, 8 * c, 32, 16, "conv"),
        Row("enc3", 4, 2, 1, 0, 0, 8 * c, 12 * c, 16, 8, "conv"),
        Row("enc4", 4, 2, 1, 0, 0, 12 * c, 16 * c, 8, 4, "conv"),
        Row("vid1", 1, 1, 0, 0, 0, 16 * c, 16 * c, 4, 4, "deconv"),
        Row("vid2", 4, 2, 1, 0, 0, 16 * c, 16 * c, 4, 8, "deconv"),
        Row("vid3", 4, 2, 1, 0, 0, 16 * c, 8 * c, 8, 16, "deconv"),
        Row("vid4", 4, 2, 1, 0, 0, 8 * c, 4 * c, 16, 32, "deconv"),
        Row("vid5", 4, 2, 1, 0, 0, 4 * c, 10, 32, 64, "deconv"),
    )


def _conv3d_mnist(c: int) -> Table:
    """Table 8."""
    up, wide = (2, 2, 2), (2, 1, 1)
    return (
        Row("enc1", (4, 4, 4), up, (1, 1, 1), 0, 0, 1, c, (10, 64), (5, 32), "conv"),
        Row("enc2", (4, 4, 4), up, (1, 1, 1), 0, 0, c, 2 * c, (5, 32), (2, 16), "conv"),
        Row("enc3", (4, 4, 4), up, (1, 1, 1), 0, 0, 2 * c, 3 * c, (2, 16), (1, 8), "conv"),
        Row("enc4", (4, 4, 4), up, wide, 0, 0, 3 * c, 4 * c, (1, 8), (1, 4), "conv"),
        Row("vid1", (2, 1, 1), (1, 1, 1), (0, 0, 0), 0, 0, 4 * c, 8 * c, (1, 4), (2, 4), "deconv"),
        Row("vid2", (4, 4, 4), up, (1, 1, 1), 0, 0, 8 * c, 4 * c, (2, 4), (4, 8), "deconv"),
        Row("vid3", (4, 4, 4), up, wide, 0, 0, 4 * c, 2 * c, (4, 8), (6, 16), "deconv"),
        Row("vid4", (4, 4, 4), up, wide, 0, 0, 2 * c, c, (6, 16), (10, 32), "deconv"),
        Row("vid5", (3, 4, 4), (1, 2, 2), (1, 1, 1), 0, 0, c, 1, (10, 32), (10, 64), "deconv"),
    )


def _conv2d_hko7(c: int, fine: int) -> Table:
    """Table 13, with ``fine`` channels between its last three rows."""
    return (
        Row("enc0", 7, 5, 1, 0, 0, 5, c, 480, 96, "conv"),
        Row("enc1", 4, 3, 1, 0, 0, c, c, 96, 32, "conv"),
        *(row._replace(channels_in=c if row.name == "enc2" else row.channels_in) for row in _conv2d_mnist(c)[1:-1]),
        Row("vid5", 5, 3, 1, 0, 0, 4 * c, fine, 32, 96, "deconv"),
        Row("vid6", 7, 5, 1, 0, 0, fine, fine, 96, 480, "deconv"),
        Row("vid7", 3, 1, 1, 0, 0, fine, 20, 480, 480, "deconv"),
    )


def _conv3d_hko7(c: int) -> Table:
    """Table 14."""
    up = (2, 2, 2)
    return (
        Row("enc0", (1, 7, 7), (1, 5, 5), (0, 1, 1), 0, 0, 1, c, (5, 480), (5, 96), "conv"),
        Row("enc1", (1, 4, 4), (1, 3, 3), (0, 1, 1), 0, 0, c, c, (5, 96), (5, 32), "conv"),
        *_conv3d_mnist(c)[1:6],
        Row("vid3", (4, 4, 4), up, (0, 1, 1), 0, 0, 4 * c, 2 * c, (4, 8), (10, 16), "deconv"),
        Row("vid4", (4, 4, 4), up, (1, 1, 1), 0, 0, 2 * c, c, (10, 16), (20, 32), "deconv"),
        Row("vid5", (3, 5, 5), (1, 3, 3), (1, 1, 1), 0, 0, c, 8, (20, 32), (20, 96), "deconv"),
        Row("vid6", (3, 7, 7), (1, 5, 5), (1, 1, 1), 0, 0, 8, 8, (20, 96), (20, 480), "deconv"),
        Row("vid7", (3, 3, 3), (1, 1, 1), (1, 1, 1), 0, 0, 8, 1, (20, 480), (20, 480), "deconv"),
    )


def _mnist(table: Table, dfn: Table) -> dict[str, Table]:
    links = {f"mnist trajgru L{n}": _cells(table, "trajgru", (n,) * 3) for n in (5, 9, 13, 17)}
    kernels = {f"mnist convgru K{k}D{d}": _cells(table, "convgru", (k,) * 3, d) for k, d in ((3, 2), (5, 1), (7, 1))}
    return kernels | links | {"mnist dfn": _cells(dfn, "convgru", (5,) * 3, 1)}


def _hko7(table: Table) -> dict[str, Table]:
    return {
        "hko7 convgru": _cells(table, "convgru", (5, 5, 3), 1),
        "hko7 trajgru": _cells(table, "trajgru", (13, 13, 9)),
    }


_MNIST_DFN = (*_MNIST[:-2], *_DFN)
PRINTED = _mnist(_MNIST, _MNIST_DFN) | _hko7(_HKO7) | {"hko7 conv2d": _conv2d_hko7(70, 24)}
TABLES = {
    **_mnist(_released(_MNIST, _MNIST_RELEASED), _released(_MNIST_DFN, (*_MNIST_RELEASED[:2], *_DFN_RELEASED))),
    "mnist conv2d": _conv2d_mnist(70),
    "mnist conv3d": _conv3d_mnist(128),  # as printed
    **_hko7(_released(_HKO7, _HKO7_RELEASED)),
    "hko7 conv2d": _conv2d_hko7(70, 160),  # 24 printed; eight for each of the 20 leads in the code
    "hko7 conv3d": _conv3d_hko7(128),
}


def narrowed(table: Table, widths: Sequence[int]) -> Table:
    """A small network of the same rows.

    ``widths`` of a recurrent network: that of the layers next to the frames, then those of the states from the finest
    to the coarsest level, e.g. (8, 16, 32, 32). Of a convolutional one: that of the first layer, e.g. (8,); all others
    shrink alike. Raises ValueError if there are more or fewer.
    """
    recurrent = is_recurrent(table)
    if len(widths) != (4 if recurrent else 1):
        raise ValueError(f"{table[0].name} ... {table[-1].name} takes {4 if recurrent else 1} widths, got {widths}")
    if recurrent:
        head, fine, middle, coarse = widths
        inner = [head, fine, middle, middle, *[coarse] * 4, middle, middle, fine]
        kept = 2 if table[-1].type == "local" else 1  # its filters keep their size
        inner += [head] * (len(table) - len(inner) - kept)
    else:
        inner = [max(1, row.channels_out * widths[0] // table[0].channels_out) for row in table[:-1]]
    out = inner + [row.channels_out for row in table[len(inner) :]]
    into = [table[0].channels_in, *out[:-1]]
    return tuple(row._replace(channels_in=i, channels_out=o) for row, i, o in zip(table, into, out, strict=True))


def is_recurrent(table: Table) -> bool:
    """Whether ``table`` is an encoder-forecaster; else it is a plain stack of convolutions."""
    return any(row.type in ("convgru", "trajgru") for row in table)


def total_stride(table: Table) -> int:
    """Rows and columns of a frame must be a multiple of this: the product of the strides down."""
    strides = [row.stride if isinstance(row.stride, int) else row.stride[-1] for row in table if row.type == "conv"]
    return math.prod(strides)

"""Tables 7-11 (MovingMNIST++) and 13-16 (HKO-7) of Shi et al. 2017, appendix, row by row.

``TABLES`` has the rows as the released code has them, which is what the networks are built from: for the recurrent
networks only these give the parameter counts of the paper's Table 1. ``PRINTED`` has the rows of the networks for which
the paper prints others. Each difference is a comment on its row. ``mnist conv3d`` is as printed, with 128 base
channels; the options released with the code have 70, which ``narrow_table(TABLES["mnist conv3d"], (70,))`` gives.
Redundant columns are kept as a check. Rows are in the order in which data pass; ``frnn1``, the first layer of the
forecaster, has no input.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

Size = int | tuple[int, ...]  # px for both directions; in three dimensions (depth, px) or (depth, px, px)


class Row(NamedTuple):
    """One row of a table: a layer. Columns that a type does not use are 0.

    A column added here needs a default that leaves the layer as it was; see :func:`shape_digest`.
    """

    name: str
    kernel: Size  # of the input, for recurrent rows
    stride: Size
    padding: Size
    state: int  # size of the state kernel for "convgru", number of links for "trajgru"
    dilation: int  # of the state kernel
    channels_in: int
    channels_out: int
    size_in: Size
    size_out: Size
    type: str  # conv, deconv, local, or a recurrent cell: a key of recurrent.CELLS
    bias: bool = True

    @property
    def recurrent(self) -> bool:
        """Whether the layer has a state: any type but conv, deconv and local."""
        return self.type not in ("conv", "deconv", "local")


Table = tuple[Row, ...]

_MNIST: Table = (  # Tables 9 and 10; replace_cells gives the "rnn" rows their type
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
    Row(
        "edown1", 3, 2, 1, 0, 0, 64, 96, 64, 32, "conv"
    ),  # printed with 64 channels out, which gives no count of Table 1
    Row("ernn2", 3, 1, 1, 0, 0, 96, 96, 32, 32, "rnn"),  # printed with 64 channels in; follows from edown1
    Row("fconv4", 3, 1, 1, 0, 0, 64, 16, 64, 64, "deconv"),  # printed as conv; a flipped kernel and no bias
    Row("fconv4b", 3, 1, 1, 0, 0, 16, 16, 64, 64, "conv"),  # not in the paper
)
_DFN = (  # Table 11: the head of the dynamic filter network, on K5D1
    Row("fconv4", 3, 1, 1, 0, 0, 64, 121, 64, 64, "conv"),
    Row("fdfn5", 11, 1, 5, 0, 0, 121, 1, 64, 64, "local"),
)
_DFN_RELEASED = (Row("fconv4", 3, 1, 1, 0, 0, 64, 121, 64, 64, "deconv"),)  # printed as conv; as above

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
    Row("edown1", 5, 3, 1, 0, 0, 64, 192, 96, 32, "conv"),  # printed with 64 channels out; as for MovingMNIST++
    Row("ernn2", 3, 1, 1, 0, 0, 192, 192, 32, 32, "rnn"),  # printed with 64 channels in; follows from edown1
    Row("fdeconv4b", 3, 1, 1, 0, 0, 8, 8, 480, 480, "conv"),  # not in the paper
)


def replace_cells(table: Table, kind: str, state: Sequence[int], dilation: int = 0) -> Table:
    """Give the recurrent rows of an encoder-forecaster another cell.

    Args:
        table: Rows with two recurrent rows per level.
        kind: Type of the cell, a key of ``recurrent.CELLS``.
        state: State kernel size or number of links of each level, from the finest to the coarsest.
        dilation: Of the state kernel.
    """
    levels = iter([*state, *reversed(state)])  # down the encoder, up the forecaster
    return tuple(
        row._replace(type=kind, state=next(levels), dilation=dilation) if row.recurrent else row for row in table
    )


def _replace_rows(table: Table, rows: Sequence[Row]) -> Table:
    """Replace rows by those of the same name; a new row ``<name>b`` is inserted after ``<name>``."""
    given = {row.name: row for row in rows}
    result = []
    for row in table:
        result.append(given.get(row.name, row))
        if row.name + "b" in given:
            result.append(given[row.name + "b"])
    return tuple(result)


def _released(table: Table, rows: Sequence[Row]) -> Table:
    """``table`` with the ``rows`` of the released code, whose deconvolutions have no bias."""
    return tuple(row._replace(bias=row.type != "deconv") for row in _replace_rows(table, rows))


def _conv2d_mnist(c: int) -> Table:
    """Table 7 with ``c`` base channels; the frames are the channels of the first and the last row."""
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
    """Table 8 with ``c`` base channels."""
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
    """Table 13 with ``c`` base channels and ``fine`` channels between its last three rows."""
    return (
        Row("enc0", 7, 5, 1, 0, 0, 5, c, 480, 96, "conv"),
        Row("enc1", 4, 3, 1, 0, 0, c, c, 96, 32, "conv"),
        *(row._replace(channels_in=c if row.name == "enc2" else row.channels_in) for row in _conv2d_mnist(c)[1:-1]),
        Row("vid5", 5, 3, 1, 0, 0, 4 * c, fine, 32, 96, "deconv"),
        Row("vid6", 7, 5, 1, 0, 0, fine, fine, 96, 480, "deconv"),
        Row("vid7", 3, 1, 1, 0, 0, fine, 20, 480, 480, "deconv"),
    )


def _conv3d_hko7(c: int) -> Table:
    """Table 14 with ``c`` base channels."""
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
    links = {f"mnist trajgru L{n}": replace_cells(table, "trajgru", (n,) * 3) for n in (5, 9, 13, 17)}
    kernels = {
        f"mnist convgru K{k}D{d}": replace_cells(table, "convgru", (k,) * 3, d) for k, d in ((3, 2), (5, 1), (7, 1))
    }
    return kernels | links | {"mnist dfn": replace_cells(dfn, "convgru", (5,) * 3, 1)}


def _hko7(table: Table) -> dict[str, Table]:
    return {
        "hko7 convgru": replace_cells(table, "convgru", (5, 5, 3), 1),
        "hko7 trajgru": replace_cells(table, "trajgru", (13, 13, 9)),
    }


_MNIST_DFN = (*_MNIST[:-2], *_DFN)
PRINTED = _mnist(_MNIST, _MNIST_DFN) | _hko7(_HKO7) | {"hko7 conv2d": _conv2d_hko7(70, 24)}
TABLES = {
    **_mnist(_released(_MNIST, _MNIST_RELEASED), _released(_MNIST_DFN, (*_MNIST_RELEASED[:2], *_DFN_RELEASED))),
    "mnist conv2d": _conv2d_mnist(70),
    "mnist conv3d": _conv3d_mnist(128),  # as printed
    **_hko7(_released(_HKO7, _HKO7_RELEASED)),
    "hko7 conv2d": _conv2d_hko7(70, 160),  # printed with 24 fine channels; the code has 8 for each of the 20 leads
    "hko7 conv3d": _conv3d_hko7(128),
}


def narrow_table(table: Table, widths: Sequence[int], *, links: int | None = None) -> Table:
    """The same layers with fewer (or more) channels.

    Args:
        table: Rows of a network.
        widths: For a recurrent network four numbers of channels: those of the layers next to the frames, then those of
            the states from the finest to the coarsest level, such as (8, 16, 32, 32). For a CNN one, that of the first
            layer, such as (8,); the other layers are scaled in proportion.
        links: Number of links of each TrajGRU layer; default: unchanged.

    Raises:
        ValueError: If there are more or fewer widths.
    """
    recurrent = is_recurrent(table)
    if len(widths) != (4 if recurrent else 1):
        raise ValueError(f"{table[0].name} ... {table[-1].name} takes {4 if recurrent else 1} widths, got {widths}")
    if recurrent:
        head, fine, middle, coarse = widths
        inner = [head, fine, middle, middle, *[coarse] * 4, middle, middle, fine]
        kept = 2 if table[-1].type == "local" else 1  # the number of filter taps stays
        inner += [head] * (len(table) - len(inner) - kept)
    else:
        inner = [max(1, row.channels_out * widths[0] // table[0].channels_out) for row in table[:-1]]
    out = inner + [row.channels_out for row in table[len(inner) :]]
    into = [table[0].channels_in, *out[:-1]]
    rows = (row._replace(channels_in=i, channels_out=o) for row, i, o in zip(table, into, out, strict=True))
    return tuple(row._replace(state=links) if links and row.type == "trajgru" else row for row in rows)


def is_recurrent(table: Table) -> bool:
    """Whether the rows are an encoder-forecaster; otherwise they are a plain stack of convolutions."""
    return any(row.recurrent for row in table)


def total_stride(table: Table) -> int:
    """The product of the strides down, in px: height and width of a frame must be multiples of it."""
    strides = [row.stride if isinstance(row.stride, int) else row.stride[-1] for row in table if row.type == "conv"]
    return math.prod(strides)


def shape_digest(table: Table) -> str:
    """The identity of a table, stored with weights: sha256 of what determines the layers, in hexadecimal.

    The columns that :class:`Row` has had from the beginning always count. A column added later counts only in rows
    where it differs from its default, so weights that were stored before it existed still match.
    """
    return hashlib.sha256(json.dumps([_digested(row) for row in table]).encode()).hexdigest()


def _digested(row: Row) -> list[Any]:
    first = row._fields.index("bias") + 1
    added = zip(row._fields[first:], row[first:], strict=True)
    return [*row[:first], *([name, value] for name, value in added if value != row._field_defaults[name])]

from itertools import pairwise

import pytest

from agents.networks.paper_tables import PRINTED, TABLES, is_recurrent, narrow_table, total_stride

ALL = [
    *(pytest.param(t, id=f"released {n}") for n, t in TABLES.items()),
    *(pytest.param(t, id=n) for n, t in PRINTED.items()),
]


def triple(size, what):
    return (1 if what != "padding" else 0, size, size) if isinstance(size, int) else size


def resolution(row, size):
    """(depth, px) after ``row``, by the formulas of convolution and its transpose."""
    depth, px = size if isinstance(size, tuple) else (1, size)
    result = []
    for n, axis in ((depth, 0), (px, 2)):
        k, s, p = (triple(getattr(row, what), what)[axis] for what in ("kernel", "stride", "padding"))
        result.append((n - 1) * s - 2 * p + k if row.type == "deconv" else (n + 2 * p - k) // s + 1)
    return tuple(result) if isinstance(size, tuple) else result[1]


@pytest.mark.parametrize("table", ALL)
def test_printed_resolutions_and_channels_are_those_of_the_rows(table):
    for row in table:
        assert resolution(row, row.size_in) == row.size_out, row.name
    for above, below in pairwise(table):
        assert (above.channels_out, above.size_out) == (below.channels_in, below.size_in), (above.name, below.name)


@pytest.mark.parametrize(
    ("name", "inputs", "leads"), [(n, 10, 10) if n.startswith("mnist") else (n, 5, 20) for n in TABLES]
)
def test_what_goes_in_and_what_comes_out(name, inputs, leads):
    first, last = TABLES[name][0], TABLES[name][-1]
    size = 64 if name.startswith("mnist") else 480
    if is_recurrent(TABLES[name]):
        assert (first.channels_in, first.size_in, last.channels_out, last.size_out) == (4, size, 1, size)
    elif isinstance(first.size_in, tuple):
        assert (first.channels_in, first.size_in, last.channels_out, last.size_out) == (
            1,
            (inputs, size),
            1,
            (leads, size),
        )
    else:
        assert (first.channels_in, first.size_in, last.channels_out, last.size_out) == (inputs, size, leads, size)


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("mnist convgru K3D2", [(3, 2)] * 6),
        ("mnist convgru K5D1", [(5, 1)] * 6),
        ("mnist convgru K7D1", [(7, 1)] * 6),
        ("mnist dfn", [(5, 1)] * 6),
        ("mnist trajgru L9", [(9, 0)] * 6),
        ("hko7 convgru", [(5, 1), (5, 1), (3, 1), (3, 1), (5, 1), (5, 1)]),
        ("hko7 trajgru", [(13, 0), (13, 0), (9, 0), (9, 0), (13, 0), (13, 0)]),
    ],
)
def test_state_column_follows_the_level(name, states):
    for table in (TABLES[name], PRINTED[name]):
        assert [(row.state, row.dilation) for row in table if row.type in ("convgru", "trajgru")] == states


def parameters(row, top):
    """Count of one row by hand: Shi et al. 2017, eq. 1 and 3; the top of the forecaster has no input."""
    i, o, k = row.channels_in, row.channels_out, row.kernel
    conv = {"convgru": 3 * o * o * row.state**2 + 3 * o, "trajgru": 3 * o * o * row.state + 3 * o}
    if row.type in conv:
        count = conv[row.type] + (0 if top else 9 * i * 3 * o + 3 * o)
        if row.type == "trajgru":
            count += 25 * o * 32 + 32 + (25 * 32 + 1) * 2 * row.state + (0 if top else 25 * i * 32 + 32)
        return count
    return 0 if row.type == "local" else i * o * k * k + (o if row.bias else 0)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mnist convgru K3D2", 2_501_297),
        ("mnist convgru K5D1", 4_663_985),
        ("mnist convgru K7D1", 7_908_017),
        ("mnist trajgru L5", 2_713_037),
        ("mnist trajgru L9", 3_292_157),
        ("mnist trajgru L13", 3_871_277),
        ("mnist trajgru L17", 4_450_397),
        ("mnist dfn", 4_724_553),
        ("hko7 convgru", 12_780_409),
        ("hko7 trajgru", 11_178_981),
    ],
)
def test_rows_as_printed_do_not_give_the_printed_counts(name, count):
    assert sum(parameters(row, row.name == "frnn1") for row in PRINTED[name]) == count


def test_the_released_cnn_differs_from_the_printed_one_in_160_channels():
    released, printed = TABLES["hko7 conv2d"], PRINTED["hko7 conv2d"]
    assert [a.name for a, b in zip(released, printed, strict=True) if a != b] == ["vid5", "vid6", "vid7"]
    for table, channels in ((released, 160), (printed, 24)):
        assert [row.channels_out for row in table[-4:]] == [280, channels, channels, 20]


def test_narrowing_keeps_the_rows_and_their_links():
    for name, table in TABLES.items():
        small = narrow_table(table, (8, 16, 32, 24) if is_recurrent(table) else (3,))
        assert [r._replace(channels_in=0, channels_out=0) for r in small] == [
            r._replace(channels_in=0, channels_out=0) for r in table
        ], name
        assert all(a.channels_out == b.channels_in for a, b in pairwise(small)), name
        assert (small[0].channels_in, small[-1].channels_out) == (table[0].channels_in, table[-1].channels_out)
        if is_recurrent(table):
            assert [r.channels_out for r in small if r.type.endswith("gru")] == [16, 32, 24, 24, 32, 16], name
            assert small[0].channels_out == 8


def test_narrowing_to_the_own_widths_changes_nothing():
    assert narrow_table(TABLES["hko7 trajgru"], (8, 64, 192, 192)) == TABLES["hko7 trajgru"]
    assert narrow_table(TABLES["mnist dfn"], (16, 64, 96, 96)) == TABLES["mnist dfn"]
    assert narrow_table(TABLES["mnist conv3d"], (128,)) == TABLES["mnist conv3d"]


def test_narrowing_says_how_many_widths():
    with pytest.raises(ValueError, match="takes 4 widths"):
        narrow_table(TABLES["hko7 trajgru"], (8,))
    with pytest.raises(ValueError, match="takes 1 widths"):
        narrow_table(TABLES["hko7 conv2d"], (8, 8, 8, 8))


@pytest.mark.parametrize(
    ("name", "stride"), [("hko7 trajgru", 30), ("mnist trajgru L5", 4), ("hko7 conv2d", 120), ("mnist conv3d", 16)]
)
def test_total_stride(name, stride):
    assert total_stride(TABLES[name]) == stride

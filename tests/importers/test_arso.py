"""The ARSO importer: colours, map ink, the grid, and splits of whole days that end on 15 August."""

import numpy as np
import pytest
from PIL import Image

from hko7env.archive import Archive
from hko7env.archive.format import OUT_OF_RANGE, iso, minutes
from hko7env.importers import RadarImportError, import_radar
from hko7env.importers.formats import arso
from hko7env.importers.testing import FormatTests, Written
from hko7env.units import HKO7
from tests.helpers.plain_decoders import level_of

INK = (120, 120, 120)
DAYS = ("2026-07-16", "2026-07-23", "2026-08-05", "2026-08-06", "2026-08-07", "2026-08-15", "2026-08-16")


def draw(folder, time, cells=(), ink=()):
    """A map with ``cells`` (row, column, class) and single px of ``ink`` (row, column in px of the map)."""
    rgb = np.full((660, 821, 3), 200, np.uint8)  # title and legend have other colours
    field = rgb[48:650, 9:811]
    field[:] = 255
    for row, column, number in cells:
        field[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = arso.COLOURS[number - 1]
    for row, column in ink:
        field[row, column] = INK
    path = folder / time[:4] / time[5:7] / time[8:10] / f"{time[11:13]}h{time[14:16]}m.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, lossless=True)
    return path


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "frames"
    for day in DAYS:
        for number in range(2):
            hidden = [(20, 30), (20, 31), (21, 30), (21, 31)]
            draw(
                folder, f"{day}T12:{5 * number:02}", [(5, 6, 2), (300, 400, 15), (7, 8, 9)], [*hidden, (14, 16), (0, 0)]
            )
    return folder


class TestArso(FormatTests):
    def make(self):
        return arso.FORMAT

    def write(self, folder, minute):
        levels, hidden = np.zeros((301, 401), np.uint8), np.zeros((301, 401), bool)
        for cell, number in (((5, 6), 2), ((300, 400), 15), ((7, 8), 9)):
            levels[cell] = level_of((10 ** ((12 + 3 * number) / 10) / 200) ** (1 / 1.6))
        hidden[10, 15] = True
        ink = [(20, 30), (20, 31), (21, 30), (21, 31)]
        return Written(draw(folder, iso(minute), [(5, 6, 2), (300, 400, 15), (7, 8, 9)], ink), levels, hidden)


def test_colours_become_rates_under_lines_of_the_map(source, tmp_path):
    archive, problems = import_radar("arso", source, tmp_path / "a.zarr")
    assert problems == []
    assert (archive.cadence, archive.shape) == (5, (301, 401))
    rates = HKO7.rates[archive.frames(0, 1)[0]]
    assert rates[5, 6] == pytest.approx(0.486, rel=0.03)
    assert rates[7, 8] == pytest.approx(9.99, rel=0.03), "one px of ink leaves the colour of the others"
    assert rates[300, 400] == pytest.approx(133, rel=0.03)
    assert np.count_nonzero(archive.frames(0, 1)[0]) == 3
    assert np.argwhere(archive.mask == OUT_OF_RANGE).tolist() == [[10, 15]], "the cell that ink hides"
    assert (archive.x[204], archive.y[144]) == (0, 0)
    assert (archive.x[205], archive.y[145]) == (1000, -1000)


def test_splits_are_whole_days_and_end_on_15_august(source, tmp_path):
    archive, _ = import_radar("arso", source, tmp_path / "a.zarr")
    days = {name: sorted({iso(time)[:10] for time in archive.select(name)}) for name in archive.splits}
    assert days == {"train": [DAYS[0], DAYS[2]], "valid": [DAYS[1], DAYS[3]], "test": [DAYS[4], DAYS[5]]}
    assert Archive(str(tmp_path / "a.zarr")).splits == archive.splits


def test_time_is_in_folders_and_name(tmp_path):
    path = tmp_path / "data" / "frames" / "2026" / "07" / "16" / "16h05m.webp"
    assert arso.FORMAT.time_of(path) == minutes("2026-07-16T16:05")
    assert arso.FORMAT.time_of(path.with_name("16h05.webp")) is None
    assert arso.FORMAT.time_of(path.with_name("25h00m.webp")) is None
    assert arso.FORMAT.time_of(path.parent.parent / "32" / path.name) is None


def test_another_picture_is_refused_by_name(source, tmp_path):
    path = source / "2026" / "07" / "16" / "12h05m.webp"
    Image.new("RGB", (820, 660)).save(path, lossless=True)
    with pytest.raises(RadarImportError, match=r"12h05m\.webp.*820 x 660 pixels, expected 821 x 660"):
        import_radar("arso", source, tmp_path / "a.zarr")


def test_real_files(shared, tmp_path):
    folder = shared / "arso" / "2026" / "08" / "07"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    archive, _ = import_radar("arso", folder / "12h00m.webp", tmp_path / "a.zarr")
    frame = archive.frames(0, 1)[0]
    assert 0.02 < (frame > 0).mean() < 0.03
    assert np.count_nonzero(archive.mask) == 48

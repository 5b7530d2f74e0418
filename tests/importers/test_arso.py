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
from tests.helpers.radar_files import draw_arso as draw

DAYS = ("2026-07-16", "2026-07-23", "2026-08-05", "2026-08-06", "2026-08-07", "2026-08-15", "2026-08-16")


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


def test_a_map_without_its_lines_is_damaged(source, tmp_path):
    path = draw(source, "2026-07-16T13:00", lines=10_085)
    with pytest.raises(RadarImportError, match=r"13h00m\.webp cannot be read \(lines and names .* 10085 px"):
        import_radar("arso", source, tmp_path / "a.zarr")
    _, problems = import_radar("arso", source, tmp_path / "b.zarr", keep_going=True)
    assert [str(path) in problem for problem in problems] == [True]


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

"""A new format is one new file."""

import sys

import numpy as np
import pytest

from hko7env.importers import RadarImportError, available_formats, formats, import_radar, load_format
from tests.helpers.plain_decoders import level_of

MINE = '''
"""Text files of rain rates in mm/h, named by their time."""

import numpy as np

from hko7env.importers import DecodedFrame, Grid, OneFrameFormat, parse_timestamp
from hko7env.importers.levels import describe_conversion, from_rate


class TextGrid(OneFrameFormat):
    def time_of(self, path):
        return parse_timestamp(path.stem) if path.suffix == ".txt" else None

    def grid(self, path):
        height, width = np.loadtxt(path, ndmin=2).shape
        return Grid(
            shape=(height, width),
            cadence=5,
            mask=np.zeros((height, width), np.uint8),
            x=1000.0 * np.arange(width),
            y=-1000.0 * np.arange(height),
            crs="",
            source="a radar of my own",
            licence="CC0",
            attributes=describe_conversion("mm/h", "none: the files hold rain"),
            splits={"test": [("2024-01-01T00:00", "2024-01-02T00:00")]},
        )

    def read(self, path):
        return DecodedFrame(from_rate(np.loadtxt(path, ndmin=2)))


FORMAT = TextGrid()
'''


@pytest.fixture
def rain(tmp_path):
    folder = tmp_path / "rain"
    folder.mkdir()
    for minute in ("00", "05", "10"):
        np.savetxt(folder / f"2024010100{minute}.txt", np.arange(12.0).reshape(3, 4))
    return folder


@pytest.fixture
def package(tmp_path):
    """An empty folder for modules, which are forgotten afterwards."""
    folder, known = tmp_path / "package", set(sys.modules)
    folder.mkdir()
    yield folder
    for name in set(sys.modules) - known:
        del sys.modules[name]


def check(archive, problems):
    assert (problems, len(archive), archive.shape, archive.cadence) == ([], 3, (3, 4), 5)
    np.testing.assert_array_equal(archive.frames(0, 1)[0], level_of(np.arange(12.0).reshape(3, 4)))
    assert archive.splits == {"test": [("2024-01-01T00:00", "2024-01-02T00:00")]}


def test_a_file_in_the_folder_of_formats(rain, package, tmp_path, monkeypatch):
    (package / "text_grid.py").write_text(MINE)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(package)])
    assert "text_grid" in available_formats()
    check(*import_radar("text_grid", rain, tmp_path / "a.zarr"))


def test_a_module_of_another_package(rain, package, tmp_path, monkeypatch):
    (package / "my_radar").mkdir()
    (package / "my_radar" / "text_grid.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(package))
    assert "my_radar.text_grid" not in available_formats()
    check(*import_radar("my_radar.text_grid", rain, tmp_path / "a.zarr"))
    check(*import_radar(load_format("my_radar.text_grid"), rain, tmp_path / "b.zarr"))


def test_modules_that_are_no_formats(package, monkeypatch):
    (package / "empty_radar").mkdir()
    (package / "empty_radar" / "nothing.py").write_text("FORMAT = 'text'\n")
    (package / "empty_radar" / "broken.py").write_text("import a_package_that_is_missing\n")
    monkeypatch.syspath_prepend(str(package))
    with pytest.raises(RadarImportError, match=r"empty_radar\.nothing defines no FORMAT"):
        load_format("empty_radar.nothing")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_missing"):
        load_format("empty_radar.broken")
    for name in ("empty_radar.other", "no_package.text_grid"):
        with pytest.raises(RadarImportError, match=f"there is no import format '{name}', only .*cf, eccc"):
            load_format(name)

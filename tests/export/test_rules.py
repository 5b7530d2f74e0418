"""Which rules of the mlcast specification an archive breaks; the community's validator agrees where it is installed."""

import sys

import numpy as np
import pytest

from hko7env.archive import create
from hko7env.archive.format import minutes
from hko7env.export import ExportConfig, export_archive
from hko7env.export.rules import _holds_square

START = minutes("2018-01-01T00:00")
YEARS = 3 * 366 * 24  # hours
GOOD = {
    "created_by": "A. Person <a.person@example.org>",
    "created_with": "https://github.com/someone/something@v1.0.0",
    "dataset_version": "1.0.0",
    "identifier": "SI-arso-rainfall_flux",
}


def wide(path, *, hours=(0, YEARS), size=256, spacing=1000.0, crs="+proj=aeqd +lat_0=46 +lon_0=15", **options):
    axis = spacing * np.arange(size)
    options = {"licence": "CC-BY-4.0", **options}
    archive = create(str(path), shape=(size, size), cadence=60, x=axis, y=-axis, crs=crs, **options)
    archive.append(START + 60 * np.array(hours), np.zeros((len(hours), size, size), np.uint8))
    return archive


def test_an_archive_that_meets_every_rule(tmp_path):
    pytest.importorskip("pyproj")
    assert export_archive(wide(tmp_path / "a"), tmp_path / "e.zarr", ExportConfig(**GOOD)) == []


@pytest.mark.parametrize(
    "options, config, rule",
    [
        ({"spacing": 2000.0}, {}, "at most 1 km between locations: here 2000 m"),
        ({"size": 255}, {}, "none in 255 x 255"),
        ({"mask": np.eye(256, dtype=np.uint8) * 2}, {}, "none in 256 x 256"),
        ({"hours": (0, 24)}, {}, "at least 3 years: here 1 days"),
        ({"crs": ""}, {}, "has no coordinate reference system"),
        ({"crs": "+proj=nonsense"}, {}, "pyproj does not understand"),
        ({"licence": "free, if the source is named"}, {}, "attribute license, an SPDX identifier"),
        ({}, {"created_by": "me"}, "attribute mlcast_created_by, 'Name <email>': give created_by"),
        ({}, {"created_with": None}, "attribute mlcast_created_with"),
        ({}, {"dataset_version": None}, "attribute mlcast_dataset_version"),
        ({}, {"identifier": "arso"}, "attribute mlcast_dataset_identifier"),
        ({}, {"identifier": "si-arso-rain"}, "attribute mlcast_dataset_identifier"),
        ({"licence": "free"}, {}, "attribute license"),
    ],
)
def test_each_rule_can_be_broken(tmp_path, options, config, rule):
    pytest.importorskip("pyproj")
    broken = export_archive(wide(tmp_path / "a", **options), tmp_path / "e.zarr", ExportConfig(**(GOOD | config)))
    assert len(broken) == 1
    assert rule in broken[0]


def test_times_off_the_step_break_a_rule(tmp_path):
    pytest.importorskip("pyproj")
    archive = wide(tmp_path / "a")
    archive.append([START + 60 * YEARS + 61], np.zeros((1, 256, 256), np.uint8))
    broken = export_archive(archive, tmp_path / "e.zarr", ExportConfig(**GOOD))
    assert broken == ["a regular time step: some frames are not a multiple of 60 min after the first"]


def test_without_pyproj_the_export_works_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyproj", None)
    broken = export_archive(wide(tmp_path / "a"), tmp_path / "e.zarr", ExportConfig(**GOOD))
    assert len(broken) == 1
    assert "pip install 'hko7env[export]'" in broken[0]


def test_a_square_is_found_wherever_it_is():
    inside = np.zeros((9, 11), bool)
    inside[4:7, 5:8] = True
    assert _holds_square(inside, 3)
    assert not _holds_square(inside, 4)
    inside[5, 6] = False
    assert not _holds_square(inside, 3)


@pytest.mark.parametrize("zarr_format", ["3", "2"])
@pytest.mark.parametrize("good", [True, False])
def test_the_community_s_validator_agrees(tmp_path, zarr_format, good):
    """Rule by rule; without created_with, which it would look up in the network."""
    validator = pytest.importorskip("mlcast_dataset_validator.specs.source_data.radar_precipitation")
    import xarray

    archive = wide(tmp_path / "a") if good else wide(tmp_path / "a", hours=(0, 1, 3), size=100, licence="free", crs="")
    given = {**GOOD, "created_with": None} if good else {}
    broken = export_archive(archive, tmp_path / "e.zarr", ExportConfig(zarr_format=zarr_format, **given))
    with xarray.open_zarr(tmp_path / "e.zarr") as data:
        report, _ = validator.validate_dataset(data)
    failed = {(one.section, one.requirement) for one in report.results if one.status == "FAIL"}
    if good:
        assert [rule.split(",")[0] for rule in broken] == ["attribute mlcast_created_with"]
        assert [name for _, name in failed] == ["Global attribute 'mlcast_created_with'"]
    else:
        assert len(broken) == 8
        assert {section for section, _ in failed} == {"3.1", "3.2", "3.3", "4.5", "5.2", "5.4"}

"""The suite for importers, run on our own formats, and on formats with a fault that it must find."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from hko7env.damage import DamagedFile
from hko7env.importers import DecodedFrame, Grid, load_format
from hko7env.importers.formats.fmi import FinnishComposite
from hko7env.importers.testing import START, FormatTests, Written
from tests.helpers.plain_decoders import level_of
from tests.helpers.radar_files import (
    cf_dataset,
    draw_eccc,
    knmi_date,
    stamp_of,
    write_fmi,
    write_hko7,
    write_knmi,
    write_odim,
)

RATES = np.zeros((5, 6))  # mm/h
RATES[0, 5], RATES[1, 2], RATES[3, 4] = 48.0, 1.2, 7.2
GAP = np.zeros((5, 6), bool)
GAP[:, 0] = GAP[4, 1] = True
needs_hdf5 = pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="needs h5py")
needs_xarray = pytest.mark.skipif(importlib.util.find_spec("h5netcdf") is None, reason="needs xarray and h5netcdf")


class TestFmi(FormatTests):
    def make(self):
        return load_format("fmi")

    def write(self, folder, minute):
        values = np.zeros((5, 6), np.uint8)
        values[0, 5], values[1, 2], values[GAP] = 64 + 2 * 30, 64 + 2 * 45, 255  # 30 and 45 dBZ
        levels = np.zeros((5, 6), np.uint8)
        levels[0, 5], levels[1, 2] = level_of((10.0 ** np.array([3, 4.5]) / 223) ** (1 / 1.53))
        return Written(write_fmi(folder, stamp_of(minute), values), levels, GAP)


class TestEccc(FormatTests):
    def make(self):
        return load_format("eccc")

    def write(self, folder, minute):
        path = draw_eccc(folder, minute, [(100, 200, (255, 153, 0)), (300, 150, (153, 204, 255))])
        levels = np.zeros((480, 480), np.uint8)
        levels[100:109, 200:209] = level_of(np.sqrt(32 * 50))
        levels[300:309, 150:159] = level_of(np.sqrt(0.1 * 1))
        return Written(path, levels)


@needs_hdf5
class TestKnmi(FormatTests):
    def make(self):
        return load_format("knmi")

    def write(self, folder, minute):
        counts = np.where(GAP, 65535, np.round(RATES / 0.12)).astype(np.uint16)
        path = write_knmi(folder, stamp_of(minute), counts, knmi_date(minute))
        return Written(path, np.where(GAP, 0, level_of(RATES)).astype(np.uint8), GAP)


@needs_hdf5
class TestOdim(FormatTests):
    def make(self):
        return load_format("odim")

    def write(self, folder, minute):
        data = np.where(GAP, -9999000.0, np.where(RATES > 0, RATES, -8888000.0))
        path = write_odim(folder, f"{stamp_of(minute)}00", data)
        return Written(path, np.where(GAP, 0, level_of(RATES)).astype(np.uint8), GAP)


@needs_xarray
class TestCf(FormatTests):
    checks_names = False

    def make(self):
        return load_format("cf")

    def write(self, folder, minute):
        data = cf_dataset(np.where(GAP, np.nan, RATES)[None], "mm/h", south_up=True)
        path = folder / f"{minute}.nc"
        data.assign_coords(time=[np.datetime64(minute, "m").astype("datetime64[ns]")]).to_netcdf(
            path, engine="h5netcdf"
        )
        return Written(path, np.where(GAP, 0, level_of(RATES)).astype(np.uint8), GAP)


class TestHko7(FormatTests):
    def make(self):
        return load_format("hko7")

    def write(self, folder, minute):
        frame = np.zeros((480, 480), np.uint8)
        frame[100:140, 200:260] = np.arange(100, 160)
        write_hko7(folder, [frame], np.zeros((480, 480)), start=str(np.datetime64(minute, "m")))
        return Written(next(folder.rglob(f"*{stamp_of(minute)[2:]}00.png")), frame)


# ---------------------------------------------------------------- faults


class UpsideDown(FinnishComposite):
    def read(self, path):
        frame = super().read(path)
        return replace(frame, levels=frame.levels[::-1])


class OneLevelMore(FinnishComposite):
    def read(self, path):
        frame = super().read(path)
        return replace(frame, levels=frame.levels + np.uint8(1))


class SouthFirst(FinnishComposite):
    def grid(self, path):
        return replace(super().grid(path), y=super().grid(path).y[::-1])


class GapsAreDry(FinnishComposite):
    def read(self, path):
        return replace(super().read(path), no_data=None)


class GapsAreScored(FinnishComposite):
    def grid(self, path):
        return replace(super().grid(path), mask=np.zeros((5, 6), np.uint8))


class Late(FinnishComposite):
    def time_of(self, path):
        time = super().time_of(path)
        return None if time is None else time + 5


class AnyName(FinnishComposite):
    def time_of(self, path):
        return super().time_of(path) or START


class CoverageByFile(FinnishComposite):
    def coverage_id(self, path):
        return path.name


class DryIfDamaged(FinnishComposite):
    def grid(self, path):
        try:
            return super().grid(path)
        except DamagedFile:
            return Grid((5, 6), 5, np.zeros((5, 6), np.uint8), np.arange(6.0), -np.arange(5.0), "", "", "")

    def read(self, path):
        try:
            return super().read(path)
        except DamagedFile:
            return DecodedFrame(np.zeros((5, 6), np.uint8))


@pytest.mark.parametrize(
    "faulty, test, fault",
    [
        (UpsideDown, "test_levels_come_back", "the north is down"),
        (OneLevelMore, "test_levels_come_back", "other levels"),
        (OneLevelMore, "test_locations_without_data", "has a level above 0"),
        (SouthFirst, "test_the_grid", "y must decrease"),
        (GapsAreDry, "test_locations_without_data", "no_data=None"),
        (GapsAreScored, "test_locations_without_data", "is scored"),
        (Late, "test_time_and_coverage", "times_of gave"),
        (AnyName, "test_other_names_are_refused", "notes.txt"),
        (CoverageByFile, "test_time_and_coverage", "coverage_id differs"),
        (DryIfDamaged, "test_damaged_files_are_refused", "was read as a frame"),
        (Late, "test_an_import", "other times"),
    ],
)
def test_the_suite_finds_faults(tmp_path, monkeypatch, faulty, test, fault):
    suite = TestFmi()
    monkeypatch.setattr(suite, "make", faulty)
    with pytest.raises(AssertionError, match=fault):
        getattr(suite, test)(tmp_path)


def test_the_suite_finds_errors_that_are_not_documented(tmp_path, monkeypatch):
    class Failing(FinnishComposite):
        def coverage_id(self, path):
            raise NameError("a typing error is not damage")

    suite = TestFmi()
    monkeypatch.setattr(suite, "make", Failing)
    with pytest.raises(NameError):
        suite.test_changed_bytes_raise_documented_errors_only(tmp_path)

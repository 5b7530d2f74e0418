"""A test suite for an importer of your own; pytest collects it from a subclass.

from hko7env.importers.testing import FormatTests, Written

class TestMine(FormatTests):
    def make(self):
        return MyFormat()

    def write(self, folder, minute):
        path = folder / f"{minute}.mine"
        ...
        return Written(path, levels, no_data)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hko7env.archive.format import OUT_OF_RANGE
from hko7env.damage import DamagedFile
from hko7env.importers.contract import DecodedFrame, Format, Grid, Levels, Mask, OneFrameFormat, reading
from hko7env.importers.importing import import_radar

START = 24_000_000  # minutes since 1970-01-01, in 2015
STEP = 60  # minutes between the files that are written; a multiple of every cadence of up to an hour
FLIPS = 30  # files with damaged bytes


@dataclass(frozen=True, eq=False)
class Written:
    """A file that :meth:`FormatTests.write` wrote.

    Attributes:
        path: The file.
        levels: (H, W) uint8 levels that reading it must give, northern row first, western column first.
        no_data: (H, W) bool, True where it holds no data; None if the format cannot tell.
    """

    path: Path
    levels: Levels
    no_data: Mask | None = None


class FormatTests:
    """Tests that every format must pass; a subclass implements ``make`` and ``write``.

    Attributes:
        checks_names: Whether the format refuses files by their names.
        detects_truncation: Whether the format detects that the end of a file is missing.
    """

    checks_names = True
    detects_truncation = True

    def make(self) -> Format:
        """Return the format."""
        raise NotImplementedError("define how to make your format: def make(self): return MyFormat()")

    def write(self, folder: Path, minute: int) -> Written:
        """Write a valid file of one frame.

        The frame should not be symmetric, so that swapped and reversed axes show, and should have locations without
        data if the format can have them. All files must have the same coverage and shape.

        Args:
            folder: Where to write.
            minute: Time of the frame in minutes since 1970-01-01 UTC.
        """
        raise NotImplementedError("define how to write a file: def write(self, folder, minute): ...")

    def read_all(self, path: Path) -> tuple[list[int], Grid, DecodedFrame]:
        """Read times, grid and first frame of a file as an import does.

        Raises:
            DamagedFile: The file does not belong to the format, or is damaged.
        """
        reader = self.make()
        with reading(path):
            times = reader.times_of(path)
            if not times:
                raise DamagedFile("not a file of this format")
            reader.coverage_id(path)
            return times, reader.grid(path), reader.read_at(path, 0)

    def test_levels_come_back(self, tmp_path: Path) -> None:
        """A frame is uint8 (H, W) with the levels that were written, north up and west left."""
        written = self.write(tmp_path, START)
        _, grid, frame = self.read_all(written.path)
        assert written.levels.any(), "write a frame with rain"
        for mirrored in (written.levels[::-1], written.levels[:, ::-1]):
            assert not np.array_equal(written.levels, mirrored), "write a frame that is not symmetric"
        assert frame.levels.dtype == np.uint8, f"read_at gave {frame.levels.dtype}, levels are uint8"
        assert frame.levels.shape == grid.shape, f"a frame of {frame.levels.shape} in a grid of {grid.shape}"
        for flipped, axis in ((written.levels[::-1], "the north is down"), (written.levels[:, ::-1], "west is right")):
            assert not np.array_equal(frame.levels, flipped), f"{axis}: the first row is north, the first column west"
        np.testing.assert_array_equal(frame.levels, written.levels, "read_at gave other levels")

    def test_locations_without_data(self, tmp_path: Path) -> None:
        """Locations without data are marked, have level 0, and are out of range in the mask of the grid."""
        written = self.write(tmp_path, START)
        _, grid, frame = self.read_all(written.path)
        if written.no_data is None:
            return
        assert frame.no_data is not None, "read_at gave no_data=None for a file that lacks data"
        assert frame.no_data.dtype == bool, f"no_data is {frame.no_data.dtype}, expected bool"
        np.testing.assert_array_equal(frame.no_data, written.no_data, "read_at gave other locations without data")
        assert not frame.levels[frame.no_data].any(), "a location without data has a level above 0"
        assert (grid.mask[written.no_data] == OUT_OF_RANGE).all(), "a location without data is scored"

    def test_the_grid(self, tmp_path: Path) -> None:
        """Coordinates are finite, x from west to east, y from north to south; mask and shape agree."""
        _, grid, _ = self.read_all(self.write(tmp_path, START).path)
        assert grid.mask.dtype == np.uint8, f"mask is {grid.mask.dtype}, expected uint8"
        assert grid.mask.shape == grid.shape, f"mask of {grid.mask.shape} for a grid of {grid.shape}"
        assert grid.mask.max() <= OUT_OF_RANGE, "mask has codes other than 0, 1 and 2"
        assert (grid.mask == 0).any(), "no location is scored"
        assert (grid.y.shape, grid.x.shape) == ((grid.shape[0],), (grid.shape[1],)), "coordinates do not fit the shape"
        assert np.isfinite(grid.x).all() and np.isfinite(grid.y).all(), "coordinates are not finite"
        assert (np.diff(grid.x) > 0).all(), "x must increase from west to east"
        assert (np.diff(grid.y) < 0).all(), "y must decrease from north to south"
        assert grid.cadence >= 0, f"cadence is {grid.cadence}"

    def test_time_and_coverage(self, tmp_path: Path) -> None:
        """Each file has its own time, all have the same coverage."""
        reader, covered = self.make(), set()
        for minute in (START, START + STEP):
            path = self.write(tmp_path, minute).path
            assert reader.times_of(path) == [minute], f"times_of gave {reader.times_of(path)}, written was {minute}"
            covered.add(reader.coverage_id(path))
        assert len(covered) == 1, f"coverage_id differs between files of one source: {covered}"

    def test_other_names_are_refused(self, tmp_path: Path) -> None:
        """A file with a name of another kind has no time."""
        reader = self.make()
        if not self.checks_names or not isinstance(reader, OneFrameFormat):
            return
        for name in ("notes.txt", "999999999999.h5", "..."):
            assert reader.time_of(tmp_path / name) is None, f"time_of gave a time for a file called {name}"

    def test_damaged_files_are_refused(self, tmp_path: Path) -> None:
        """An empty file, one of other bytes and a truncated one raise an error of ``hko7env.damage.DAMAGE``."""
        path = self.write(tmp_path, START).path
        for name in self._damage(path):
            try:
                _, _, frame = self.read_all(path)
            except DamagedFile:
                continue
            raise AssertionError(f"a file {name} was read as a frame of {frame.levels.shape}")

    def _damage(self, path: Path) -> Iterator[str]:
        """Damage a file in one way after another, and name it."""
        good = path.read_bytes()
        variants = {"without content": b"", "of other bytes": bytes(range(256)) * 8}
        if self.detects_truncation:
            variants |= {f"cut at {share:.0%}": good[: int(len(good) * share)] for share in (0.1, 0.5, 0.9)}
        for name, data in variants.items():
            path.write_bytes(data)
            yield name

    def test_changed_bytes_raise_documented_errors_only(self, tmp_path: Path) -> None:
        """A file with changed bytes is read as a frame of the grid, or raises an error of DAMAGE."""
        path, dice = self.write(tmp_path, START).path, np.random.default_rng(1)
        good = path.read_bytes()
        for _ in range(FLIPS):
            data = bytearray(good)
            for place in dice.integers(len(data), size=4):
                data[place] ^= 1 << int(dice.integers(8))
            path.write_bytes(data)
            try:
                with np.errstate(all="ignore"):
                    _, grid, frame = self.read_all(path)
            except DamagedFile:
                continue
            assert frame.levels.dtype == np.uint8, f"a changed file was read as {frame.levels.dtype}"
            assert frame.levels.shape == grid.shape, f"a changed file was read as {frame.levels.shape}"

    def test_an_import(self, tmp_path: Path) -> None:
        """Files become an archive; a damaged file among them is named and left out."""
        source = tmp_path / "source"
        source.mkdir()
        written = [self.write(source, START + i * STEP) for i in range(3)]
        written[1].path.write_bytes(b"damaged")
        archive, problems = import_radar(self.make(), source, tmp_path / "archive.zarr", keep_going=True)
        assert archive.times.tolist() == [START, START + 2 * STEP], "an import has other times"
        assert len(problems) == 1, f"expected one file to be left out, got {problems}"
        assert written[1].path.name in problems[0], "the file that was left out is not named"
        for frame, one in zip(archive.frames(0, 2), (written[0], written[2]), strict=True):
            np.testing.assert_array_equal(frame, one.levels, "an import has other levels")

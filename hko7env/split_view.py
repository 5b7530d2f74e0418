"""One split of an archive: its frames, its schedule, and the score of one sequence."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.forecast import Forecast
from hko7env.naming import suggest
from hko7env.schedule import MAX_MISSING, Minutes, Schedule, schedule
from hko7env.scores import Levels, Mask, Tally, scored, tally

DEFAULT_SPLIT, ALL = "test", "all"


class SplitView:
    """The frames of one split of an archive; frames of other splits count as missing.

    Args:
        archive: An open archive.
        split: One of its splits or :data:`ALL`; None means :func:`choose_split`'s default.

    Attributes:
        archive: The archive.
        split: The split that was chosen.
        times: (N,) int64 times of the split's good frames, minutes since 1970-01-01, increasing.
        scored: (H, W) bool static mask, True = scored.

    Raises:
        ValueError: If the archive has no such split, or the split holds no good frame (status good).
    """

    def __init__(self, archive: Archive, split: str | None = None) -> None:
        self.archive = archive
        self.split = choose_split(archive, split)
        self.times: Minutes = archive.select(self.split if self.split in archive.splits else None)
        self.scored: Mask = archive.scored

    @cached_property
    def schedule(self) -> Schedule:
        """The sequences of the split in the order of their issue; empty if no window is valid."""
        return schedule(self.times, cadence=self.archive.cadence, max_missing=MAX_MISSING)

    def frames_at(self, slots: npt.NDArray[np.int64]) -> tuple[list[Levels], npt.NDArray[np.bool_]]:
        """Read the frames of the split at given times.

        Args:
            slots: (n,) int64 minutes since 1970-01-01.

        Returns:
            n read-only frames (H, W) uint8, all 0 where missing, and (n,) bool, True where a frame is present.
        """
        frames, present = self.archive.at(slots)
        foreign = present & ~np.isin(slots, self.times)
        for i in np.flatnonzero(foreign):
            frames[i] = np.zeros_like(frames[i])
        return frames, present & ~foreign

    def mask_of(self, truth: list[Levels], present: npt.NDArray[np.bool_]) -> list[Mask]:
        """The scored locations of each frame: those of :func:`hko7env.scores.scored`, and none of a missing frame.

        Args:
            truth: K frames (H, W) uint8.
            present: (K,) bool.

        Returns:
            K masks (H, W) bool, True = scored.
        """
        nothing = np.zeros_like(self.scored)
        return [scored(frame, self.scored) if ok else nothing for frame, ok in zip(truth, present, strict=True)]

    def score(self, slots: npt.NDArray[np.int64], forecast: Forecast) -> Tally:
        """Score one forecast against the frames of the split.

        Args:
            slots: (K,) int64 minutes of the forecast's valid times.
            forecast: (K, H, W) float32 pixels in [0, 1] or uint8 levels.

        Returns:
            The tally of one sequence.

        Raises:
            ForecastError: For any other forecast.
        """
        truth, present = self.frames_at(slots)
        return tally(truth, self.mask_of(truth, present), forecast, zr=self.archive.zr)


def choose_split(archive: Archive, split: str | None) -> str:
    """Resolve the name of a split.

    Args:
        archive: The archive whose splits are meant.
        split: A split of the archive, or :data:`ALL` for all frames (unless the archive has a split of that name).
            None means :data:`DEFAULT_SPLIT`, and :data:`ALL` for an archive without splits.

    Returns:
        The name of a split of the archive, or :data:`ALL`.

    Raises:
        ValueError: If the archive has no such split; the message suggests one.
    """
    if split is None:
        if archive.splits and DEFAULT_SPLIT not in archive.splits:
            raise ValueError(
                f"{archive.name} has no split {DEFAULT_SPLIT!r}: choose one of {', '.join(archive.splits)}, "
                f"or {ALL!r} for all frames"
            )
        return DEFAULT_SPLIT if archive.splits else ALL
    if split != ALL and split not in archive.splits:
        raise ValueError(f"{archive.name} has no split {split!r}, {suggest(str(split), [*archive.splits, ALL])}")
    return split

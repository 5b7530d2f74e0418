"""Diagnostics of a forecast as sums that add up over sequences, as tallies do."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from hko7env.diagnostics.fractions import SCALES, Windows, fss, sums_of_pixels
from hko7env.diagnostics.joint_histogram import LEVELS, counts_at_thresholds, joint_histogram
from hko7env.diagnostics.levels import UNSCORED, Levels, Mask, forecast_levels, mark_unscored
from hko7env.diagnostics.pooling import POOLS, pooled_counts
from hko7env.diagnostics.spectra import Spectrum
from hko7env.forecast import Forecast
from hko7env.units import THRESHOLDS, ZR

Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """Sums over sequences, one row per lead time.

    Attributes:
        sequences: Number of forecasts.
        joint: (K, 256, 256) int64 scored locations by observed and forecast level.
        shares: (K, 6, 5, 2) float64 sums of the fractions skill score by scale and threshold, see
            :func:`hko7env.diagnostics.fractions.fss`.
        pooled: (K, 4, 2, 5) int64 hits, misses, false alarms and correct negatives by size of cell and threshold.
        spectra: (K, 2, R) float64 summed power spectra of truth and forecast.
        spectra_sequences: Number of forecasts in ``spectra``: those whose truth was present at all leads.
    """

    sequences: int
    joint: Counts
    shares: Sums
    pooled: Counts
    spectra: Sums
    spectra_sequences: int

    @staticmethod
    def zero(leads: int, rings: int) -> "Diagnostics":
        """The empty sums for K = ``leads`` lead times and R = ``rings`` rings of wavenumber."""
        return Diagnostics(
            sequences=0,
            joint=np.zeros((leads, LEVELS, LEVELS), np.int64),
            shares=np.zeros((leads, len(SCALES), len(THRESHOLDS), 2)),
            pooled=np.zeros((leads, 4, len(POOLS), len(THRESHOLDS)), np.int64),
            spectra=np.zeros((leads, 2, rings)),
            spectra_sequences=0,
        )

    def __add__(self, other: "Diagnostics") -> "Diagnostics":
        if self.spectra.shape != other.spectra.shape:
            raise ValueError(
                f"cannot add diagnostics of other leads or rings: {self.spectra.shape} and {other.spectra.shape}"
            )
        return Diagnostics(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Diagnostics):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]  # its fields are arrays

    @property
    def fss(self) -> Sums:
        """(K, 6, 5) fractions skill score by lead, scale and threshold."""
        return fss(self.shares)

    def counts(self, zr: ZR) -> Counts:
        """(4, K, 5) hits, misses, false alarms and correct negatives: those of the tallies of the same sequences."""
        return counts_at_thresholds(self.joint, zr)


class Diagnoser:
    """Makes the diagnostics of single forecasts.

    Args:
        scored: (H, W) bool static mask, True = scored.
        zr: Relation between level and rain rate.

    Attributes:
        spectrum: Where the power spectra are taken.
    """

    def __init__(self, scored: Mask, zr: ZR) -> None:
        self.zr, self.spectrum = zr, Spectrum(scored)
        self._windows = Windows((scored.shape[0], scored.shape[1]), zr)

    def measure(
        self, truth: list[Levels], present: npt.NDArray[np.bool_], mask: list[Mask], forecast: Forecast
    ) -> Diagnostics:
        """Diagnose one forecast.

        Args:
            truth: K frames (H, W) uint8.
            present: (K,) bool, False where a frame is missing.
            mask: K frames (H, W) bool, True = scored; nothing of a missing frame.
            forecast: (K, H, W) float32 pixels in [0, 1] or uint8 levels.

        Returns:
            The diagnostics of one sequence.
        """
        complete = bool(present.all())
        result = Diagnostics.zero(len(truth), self.spectrum.rings)
        for k, frame in enumerate(truth):
            observed = mark_unscored(frame, mask[k])
            levels = forecast[k] if forecast.dtype == np.uint8 else forecast_levels(forecast[k], self.zr)
            expected = levels * (observed != UNSCORED)
            result.joint[k] = joint_histogram(observed, expected)
            result.shares[k, 0] = sums_of_pixels(counts_at_thresholds(result.joint[k], self.zr))
            result.shares[k, 1:] = self._windows.sums(observed, expected)
            result.pooled[k] = pooled_counts(observed, expected, self.zr)
            if complete:
                result.spectra[k] = self.spectrum.of(frame, forecast[k])
        return Diagnostics(1, result.joint, result.shares, result.pooled, result.spectra, int(complete))

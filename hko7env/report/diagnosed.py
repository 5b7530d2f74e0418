"""Diagnostics of the runs of a comparison: read, checked against their tallies, and added up by block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hko7env.diagnostics.sums import Diagnostics
from hko7env.evaluation.diagnostics import DiagnosticsFolder
from hko7env.evaluation.journal import RunError
from hko7env.report.bootstrap import draw_blocks
from hko7env.units import HKO7, ZR

if TYPE_CHECKING:
    from hko7env.report.comparison import Comparison, Run

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Diagnosed:
    """Diagnostics of those S runs of a comparison that have them, of the n sequences that all of these have.

    Attributes:
        runs: Positions of the runs in the comparison.
        index: (n,) int64 numbers of the sequences in the schedule.
        totals: Sums of each run.
        shares: (S, B, K, 6, 5, 2) sums of the fractions skill score of B blocks.
        lacking: Positions of the runs without diagnostics.
        zr: Relation between level and rain rate.
    """

    runs: tuple[int, ...]
    index: npt.NDArray[np.int64]
    totals: tuple[Diagnostics, ...]
    shares: Values
    lacking: tuple[int, ...]
    zr: ZR

    @property
    def blocks(self) -> int:
        """Number B of blocks."""
        return len(self.shares[0])

    def draws(self) -> Values:
        """(R, B) float64 numbers of times that each block is in each of R draws, the same for all runs."""
        return draw_blocks(self.blocks)


def read_diagnosed(comparison: "Comparison") -> Diagnosed | None:
    """Read the diagnostics of the runs of a comparison.

    Returns:
        The diagnostics, or None if no run has any, or no two runs with diagnostics have them of the same sequences.

    Raises:
        RunError: If a file is damaged, or diagnostics are not those of the run's tallies or of the same observations.
    """
    folders = [_folder_of(run) for run in comparison.runs]
    have = tuple(i for i, folder in enumerate(folders) if folder.indices())
    if not have:
        return None
    common = set(comparison.index.tolist()).intersection(*(folders[i].indices() for i in have))
    index = np.array(sorted(common), np.int64)
    if len(index) == 0:
        return None
    position = np.searchsorted(comparison.index, index)
    zr = ZR(*comparison.data["z_r"]) if "z_r" in comparison.data else HKO7
    _, block = np.unique(comparison.block[position], return_inverse=True)
    totals, shares = [], []
    for i in have:
        run = comparison.runs[i]
        total, by_block = _add_up(run, folders[i], index.tolist(), position, block, zr)
        totals.append(total)
        shares.append(by_block)
    _check_observations(totals, [comparison.runs[i] for i in have])
    lacking = tuple(i for i in range(len(folders)) if i not in have)
    return Diagnosed(have, index, tuple(totals), np.stack(shares), lacking, zr)


def _folder_of(run: "Run") -> DiagnosticsFolder:
    """The diagnostics of a run, or of one that has the same tallies in the other setting, whichever has more."""
    found = [DiagnosticsFolder(r.path, r.folder.run) for r in (run, *run.same)]
    return max(found, key=lambda folder: len(folder.indices()))


def _add_up(
    run: "Run",
    folder: DiagnosticsFolder,
    index: Sequence[int],
    position: npt.NDArray[np.int64],
    block: npt.NDArray[np.int64],
    zr: ZR,
) -> tuple[Diagnostics, Values]:
    """The sum of a run's diagnostics, and the sums of the fractions skill score of each block."""
    remedy = f"remove {folder.path} and repeat `{run.shown_command} --keep diagnostics`"
    total: Diagnostics | None = None
    shares: Values = np.zeros(0)
    for number, at, of in zip(index, position, block, strict=True):
        one = folder.load(number)
        if one is None:
            raise RunError(f"the diagnostics of sequence {number} in {folder.path} are damaged: {remedy}")
        if len(one.joint) != run.counts.shape[2] or not np.array_equal(one.counts(zr), run.counts[at]):
            raise RunError(
                f"the diagnostics of sequence {number} in {folder.path} are not those of its tally: {remedy}"
            )
        if total is None:
            total, shares = one, np.zeros((int(block.max()) + 1, *one.shares.shape))
        elif total.spectra.shape != one.spectra.shape:
            raise RunError(f"the diagnostics in {folder.path} have spectra of different lengths: {remedy}")
        else:
            total = total + one
        shares[of] += one.shares
    assert total is not None
    return total, shares


def _check_observations(totals: Sequence[Diagnostics], runs: "Sequence[Run]") -> None:
    """Raise RunError if runs were diagnosed against different observations."""
    first = totals[0]
    for run, total in zip(runs, totals, strict=True):
        same = np.array_equal(total.joint.sum(axis=2), first.joint.sum(axis=2))
        same = same and total.spectra.shape == first.spectra.shape
        if not same or not np.allclose(total.spectra[:, 0], first.spectra[:, 0], rtol=1e-3):  # float32, any machine
            raise RunError(
                f"the diagnostics of {run.path} and {runs[0].path} are of different observations: remove the folders "
                "diagnostics in both, and evaluate both with --keep diagnostics again"
            )

"""Counting over whole archives: what became of the echo of every sequence, and the prior that the counts make."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.schedule import INPUTS
from hko7env.scores import scored
from hko7env.split_view import SplitView

from ..optical_flow import segment_motion, variational
from . import features, kept_counts, prior
from .counts import CLASSES, count
from .features import BINS, Features

PART = 20  # sequences between two writes of the counts


@dataclass(eq=False)
class ArchiveCounts:
    """Sums over some sequences of an archive.

    Attributes:
        counts: (K, N, 6) float64 by lead time, bin and class; the K lead times reach at least two hours.
        levels: (2, 6) float64, number of observed levels and their sum, by class.
        sequences: Number of sequences.
    """

    counts: npt.NDArray[np.float64]
    levels: npt.NDArray[np.float64]
    sequences: npt.NDArray[np.int64]


class Source(NamedTuple):
    """A split of an archive that a prior is made from.

    Attributes:
        view: The split.
        weight: Number of times that its mean sequence counts.
    """

    view: SplitView
    weight: float

    def describe(self) -> dict[str, Any]:
        """What a file says about a source that it was made from."""
        archive = self.view.archive
        return {
            "source": archive.attributes.get("source", "unknown"),
            "fingerprint": archive.fingerprint,
            "split": self.view.split,
            "sequences": len(self.view.schedule),
            "weight": self.weight,
        }

    def scale(self, counted: npt.NDArray[np.float64]) -> float:
        """The factor by which counts of all sequences become those of ``weight`` mean sequences.

        Args:
            counted: Number of counted locations, for each lead time.

        Raises:
            ValueError: If there are none.
        """
        if not counted.max() > 0:
            archive = self.view.archive.name
            raise ValueError(f"{archive}, split {self.view.split}, has no observation to count: choose another split")
        return self.weight / float(counted.max())


def make_prior(sources: Sequence[Source], out: Path, cache: Path) -> list[dict[str, Any]]:
    """Count all sources and write the prior that they make.

    Args:
        sources: At least one.
        out: File of the prior, which is replaced.
        cache: Folder in which counts are kept, so that counting continues after an interruption.

    Returns:
        What the prior says about each source: its source, fingerprint, split, number of sequences and weight.

    Raises:
        ValueError: If the archives have different relations of level to rain rate, or one has no sequence
            or no observation.
        OSError: If a file cannot be read or written.
    """
    zr = sources[0].view.archive.zr
    if any(source.view.archive.zr != zr for source in sources):
        raise ValueError("the archives have different relations of level to rain rate: make a prior of each")
    counts, levels, told = np.zeros((prior.LEADS, BINS, CLASSES)), np.zeros((2, CLASSES)), []
    for source in sources:
        found = count_archive(source.view, cache)
        scale = source.scale(found.counts.sum((1, 2)))
        counts += scale * prior.resample_leads(found.counts, source.view.archive.cadence, prior.STEP, prior.LEADS)
        levels += scale * found.levels
        told.append(source.describe())
    means = (levels[1] / np.maximum(levels[0], 1e-9) / 255).astype(np.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    prior.write(out, counts.astype(np.float32), means, zr, {"archives": told, "settings": settings()})
    return told


def settings() -> dict[str, Any]:
    """The constants that define the bins, by the names that a prior stores them under."""
    modules = {"motion": segment_motion, "features": features}
    return {
        stored: {
            name: value
            for name, value in vars(module).items()
            if name.isupper() and isinstance(value, int | float | tuple)
        }
        for stored, module in modules.items()
    }


def count_archive(view: SplitView, cache: Path) -> ArchiveCounts:
    """Count all sequences of a split, from where an earlier call stopped.

    Args:
        view: The split.
        cache: Folder of the counts.

    Raises:
        ValueError: If the split has no sequence, or the file in ``cache`` is damaged.
        OSError: If a file cannot be read or written.
    """
    archive, total = view.archive, len(view.schedule)
    if not total:
        raise ValueError(f"{archive.name}, split {view.split}, holds no sequence: choose another split")
    code = kept_counts.digest_code((variational, segment_motion, features))
    identity = [archive.fingerprint, view.split, view.schedule.sha256, settings(), code]
    file = kept_counts.locate(cache, identity)
    done, known = _load(file, -(-prior.LEADS * prior.STEP // archive.cadence)), Features(archive.scored, archive.zr)
    with progress.bar(total, f"counting {archive.name}", "seq", done=int(done.sequences)) as bar:
        while done.sequences < total:
            for index in range(int(done.sequences), min(int(done.sequences) + PART, total)):
                count_sequence(done, view, known, index)
                bar.update()
            kept_counts.write(file, asdict(done))
    return done


def count_sequence(done: ArchiveCounts, view: SplitView, known: Features, index: int) -> None:
    """Add sequence ``index`` to ``done``; frames after its last slot count too, as far as the lead times reach."""
    archive, leads = view.archive, len(done.counts)
    frames, present = view.frames_at(view.schedule.slots(index)[0] + archive.cadence * np.arange(INPUTS + leads))
    bins = known.bins(np.stack(frames[:INPUTS]), present[:INPUTS], leads).verified()
    for lead in np.flatnonzero(present[INPUTS:]):
        frame = frames[INPUTS + lead]
        truth, seen = known.subsample(frame), known.subsample(scored(frame, archive.scored))
        done.counts[lead] += count(bins[lead], truth, seen, archive.zr)
        classes = archive.zr.classes[truth[seen]]
        done.levels += [np.bincount(classes, values, CLASSES) for values in (None, truth[seen])]
    done.sequences += 1


def _load(file: Path, leads: int) -> ArchiveCounts:
    """The counts in ``file``, or zeros."""
    kept = kept_counts.read(file, [field.name for field in fields(ArchiveCounts)])
    if kept is None:
        return ArchiveCounts(np.zeros((leads, BINS, CLASSES)), np.zeros((2, CLASSES)), np.zeros((), np.int64))
    return ArchiveCounts(**kept)

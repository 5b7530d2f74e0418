"""Diagnostics kept in a run folder: ``diagnostics/NNNNNN.sums``, one file for each sequence that is diagnosed.

Every n-th sequence of the schedule is diagnosed, the same ones for all agents: diagnosing one costs ten times as much
as scoring it, and the next ones forecast nearly the same weather.

A file is written at once and carries a checksum that covers the digest of the run, so a file that is there, sound and
of this run is whole. What is missing or damaged is forecast again. Files are added up in the order of sequences, so
an interrupted run ends with the same bits as an unbroken one.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import Zstd

from hko7env.diagnostics.fractions import SCALES
from hko7env.diagnostics.joint_histogram import LEVELS
from hko7env.diagnostics.pooling import POOLS
from hko7env.diagnostics.sums import Diagnoser, Diagnostics
from hko7env.env import NowcastingEnv
from hko7env.evaluation.journal import RunError, writing
from hko7env.evaluation.sealed_forecasts import SealedForecasts
from hko7env.files import write_atomically
from hko7env.schedule import INPUTS
from hko7env.scores import COUNTS, Tally
from hko7env.units import THRESHOLDS, ZR

EVERY = 19  # of so many sequences one is diagnosed; half-hourly issue times then go through all hours of the day
VERSION = 1  # of the content of the files; another one is diagnosed anew

_FOLDER, _SUFFIX = "diagnostics", ".sums"
_CRC = 4  # bytes
_CODEC = Zstd(level=1)


class DiagnosticsFolder:
    """The diagnostics in a run folder.

    Args:
        run_folder: Path of the run folder, which need not exist.
        run: Digest of the run.
    """

    def __init__(self, run_folder: Path, run: str) -> None:
        self.path = run_folder / _FOLDER
        self._run = run

    def save(self, index: int, diagnostics: Diagnostics) -> None:
        """Keep the diagnostics of sequence ``index``. Raises RunError if the file cannot be written."""
        path = self._file(index)
        with writing(path):
            self.path.mkdir(exist_ok=True)
            write_atomically(path, _encode(index, diagnostics, self._run))

    def load(self, index: int) -> Diagnostics | None:
        """The diagnostics of sequence ``index``, or None if there is no sound file of them."""
        with suppress(OSError):
            return _decode(self._file(index).read_bytes(), index, self._run)
        return None

    def remove_leftovers(self) -> None:
        """Remove what a killed process has left. Raises RunError if that fails."""
        for path in self.path.glob(f"*{_SUFFIX}.*.partial"):
            with writing(path):
                path.unlink()

    def missing(self, wanted: Iterable[int]) -> set[int]:
        """Which of the sequences ``wanted`` have no sound file."""
        return {index for index in wanted if self.load(index) is None}

    def indices(self) -> list[int]:
        """Sequences with a file, sound or not, in order."""
        stems = (path.stem for path in self.path.glob(f"*{_SUFFIX}"))
        return sorted(int(stem) for stem in stems if stem.isdecimal() and len(stem) >= 6)

    def each(self) -> Iterator[tuple[int, Diagnostics]]:
        """All sound diagnostics with the index of their sequence, in its order, one at a time in memory."""
        for index in self.indices():
            diagnostics = self.load(index)
            if diagnostics is not None:
                yield index, diagnostics

    def total(self) -> Diagnostics | None:
        """Sum of all diagnostics, or None if there are none."""
        total: Diagnostics | None = None
        for _, diagnostics in self.each():
            total = diagnostics if total is None else total + diagnostics
        return total

    def _file(self, index: int) -> Path:
        return self.path / f"{index:06d}{_SUFFIX}"


class Diagnosing(SealedForecasts[Diagnostics]):
    """An environment that diagnoses forecasts as they are scored, and keeps the result until their truth is revealed.

    :meth:`keep` belongs where the tallies are recorded.

    Args:
        env: The environment.
        folder: Where diagnostics are kept.
        wanted: Indices of the sequences to diagnose.
    """

    def __init__(self, env: NowcastingEnv, folder: DiagnosticsFolder, wanted: set[int]) -> None:
        super().__init__(env, wanted)
        self._view, self._folder = env.view, folder
        self._diagnoser = Diagnoser(env.view.scored, env.archive.zr)

    def measure(self, index: int, action: Any) -> Diagnostics:
        """Diagnose a forecast."""
        truth, present = self._view.frames_at(self._view.schedule.slots(index)[INPUTS:])
        mask = self._view.mask_of(truth, present)
        return self._diagnoser.measure(truth, present, mask, action)

    def keep(self, index: int, tally: Tally) -> None:
        """Keep the diagnostics of a sequence whose tally was revealed, if it was to be diagnosed.

        Args:
            index: The sequence.
            tally: Its tally in the run folder, which may be that of an earlier forecast.

        Raises:
            RunError: If the diagnostics are not those of the tally, or cannot be written.
        """
        if index not in self._sealed:
            return
        diagnostics = self._sealed.pop(index)
        if not agree(diagnostics, tally, self._view.archive.zr):
            raise RunError(
                f"the forecast of sequence {index} is not the one that was scored, the agent's forecasts cannot be "
                "repeated: evaluate it with diagnostics from the beginning, in another output folder"
            )
        self._folder.save(index, diagnostics)


def agree(diagnostics: Diagnostics, tally: Tally, zr: ZR) -> bool:
    """Whether the joint histogram of one or more sequences gives the counts of their tally."""
    return np.array_equal(diagnostics.counts(zr), [getattr(tally, name) for name in COUNTS])


def _layout(leads: int, rings: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name, dtype and shape of the arrays in a file, in order, before the joint histogram."""
    events = len(THRESHOLDS)
    return [
        ("shares", "<f8", (leads, len(SCALES), events, 2)),
        ("pooled", "<i4", (leads, len(COUNTS), len(POOLS), events)),
        ("spectra", "<f4", (leads, 2, rings)),
    ]


def _encode(index: int, diagnostics: Diagnostics, run: str) -> bytes:
    """The content of a file: checksum, then compressed header and arrays."""
    leads, _, rings = diagnostics.spectra.shape
    joint = diagnostics.joint.reshape(-1)
    cells = np.flatnonzero(joint)
    header = {
        "version": VERSION,
        "sequence": index,
        "leads": leads,
        "rings": rings,
        "complete": diagnostics.spectra_sequences,
        "cells": len(cells),
    }
    parts = [json.dumps(header).encode(), b"\n"]
    parts += [getattr(diagnostics, name).astype(dtype).tobytes() for name, dtype, _ in _layout(leads, rings)]
    parts += [_planes(np.diff(cells, prepend=0)), _planes(joint[cells])]
    packed: bytes = _CODEC.encode(b"".join(parts))
    return _checksum(packed, run) + packed


def _decode(data: bytes, index: int, run: str) -> Diagnostics | None:
    """Read what :func:`_encode` wrote; None if it is damaged, or of another sequence, run or version."""
    packed = data[_CRC:]
    if len(packed) == 0 or _checksum(packed, run) != data[:_CRC]:
        return None
    content = bytes(_CODEC.decode(packed))
    head, _, body = content.partition(b"\n")
    header = json.loads(head)
    if header["version"] != VERSION or header["sequence"] != index:
        return None
    leads, rings, cells = header["leads"], header["rings"], header["cells"]
    arrays, at = [], 0
    for _, dtype, shape in _layout(leads, rings):
        arrays.append(np.frombuffer(body, dtype, int(np.prod(shape)), at).reshape(shape))
        at += arrays[-1].nbytes
    shares, pooled, spectra = arrays
    joint = np.zeros(leads * LEVELS * LEVELS, np.int64)
    joint[np.cumsum(_values(body, cells, at))] = _values(body, cells, at + 4 * cells)
    return Diagnostics(
        sequences=1,
        joint=joint.reshape(leads, LEVELS, LEVELS),
        shares=shares.astype(np.float64),
        pooled=pooled.astype(np.int64),
        spectra=spectra.astype(np.float64),
        spectra_sequences=header["complete"],
    )


def _planes(values: npt.NDArray[np.int64]) -> bytes:
    """Values below 2^32 as four planes of bytes, of which the higher ones, mostly 0, compress well."""
    return np.ascontiguousarray(values.astype("<u4").view(np.uint8).reshape(-1, 4).T).tobytes()


def _values(body: bytes, count: int, at: int) -> npt.NDArray[np.int64]:
    planes = np.frombuffer(body, np.uint8, 4 * count, at).reshape(4, count)
    return np.ascontiguousarray(planes.T).view("<u4")[:, 0].astype(np.int64)


def _checksum(packed: bytes, run: str) -> bytes:
    return int(google_crc32c.extend(google_crc32c.value(run.encode()), packed)).to_bytes(_CRC, "little")

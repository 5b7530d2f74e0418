"""Forecasts kept in a run folder: ``forecasts.zarr``, some sequences as uint8 levels, to be looked at.

The sequences are evenly spread over the schedule, so all agents keep the same ones. The store has the layout of
:mod:`hko7env.forecast_files`. Each forecast is one chunk, written at once and with a checksum, so an interrupted run
goes on where it was; what is missing or damaged is forecast again.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import zarr

from hko7env.damage import DAMAGE
from hko7env.evaluation.journal import RunError, writing
from hko7env.evaluation.sealed_forecasts import SealedForecasts
from hko7env.forecast_files.writing import VARIABLE, make_store
from hko7env.schedule import INPUTS, evenly
from hko7env.scores import Tally
from hko7env.split_view import SplitView
from hko7env.units import level

Levels = npt.NDArray[np.uint8]

STORE = "forecasts.zarr"
_RUN, _SEQUENCES = "run", "sequences"  # attributes of the store


def choose(count: int, number: int) -> list[int]:
    """Indices of ``number`` of ``count`` sequences, evenly spaced from the first to the last."""
    return [int(index) for index in evenly(count, number)]


class KeptForecasts:
    """The forecasts that a run folder keeps.

    Args:
        run_folder: Path of the run folder.
        run: Digest of the run.
    """

    def __init__(self, run_folder: Path, run: str) -> None:
        self.path, self._run = Path(run_folder) / STORE, run

    def prepare(self, view: SplitView, wanted: list[int]) -> None:
        """Make the store for the sequences ``wanted``, unless it is there; remove what a killed process has left.

        Raises:
            RunError: If the store is damaged, of another run or for other sequences, or cannot be written.
        """
        if self.path.exists():
            if self.sequences() != wanted:
                raise RunError(
                    f"{self.path} keeps forecasts of {len(self.sequences())} sequences, {len(wanted)} are asked for: "
                    "ask for as many, or remove it"
                )
            with writing(self.path):
                for left in self.path.rglob("*.partial"):  # of zarr, in a process that was killed
                    left.unlink()
            return
        temporary = self.path.with_name(f"{STORE}.{os.getpid()}.partial")
        times = [int(view.schedule.slots(index)[INPUTS - 1]) for index in wanted]
        attributes = {"Conventions": "CF-1.11", _RUN: self._run, _SEQUENCES: wanted}
        with writing(self.path):
            for left in self.path.parent.glob(f"{STORE}.*.partial"):
                shutil.rmtree(left)
            leads = view.schedule.leads
            make_store(temporary, view.archive, leads, issue_times=times, levels=True, attributes=attributes)
            temporary.rename(self.path)

    def sequences(self) -> list[int]:
        """Indices of the sequences that the store is for, increasing; none without a store.

        Raises:
            RunError: If the store is damaged or of another run.
        """
        return self._open()[1] if self.path.exists() else []

    def missing(self, wanted: Iterable[int]) -> set[int]:
        """Which of the sequences ``wanted`` have no sound forecast here."""
        return {index for index in wanted if self.load(index) is None}

    def save(self, index: int, levels: Levels) -> None:
        """Keep the forecast of a sequence, (K, H, W) uint8. Raises RunError if it cannot be written."""
        array, sequences = self._open()
        with writing(self.path):  # a forecast of no rain at all is written too
            array.with_config({"write_empty_chunks": True})[sequences.index(index)] = levels

    def load(self, index: int) -> Levels | None:
        """The forecast of a sequence, (K, H, W) uint8, or None if it is not kept, not there yet, or damaged.

        Raises:
            RunError: If the store is damaged or of another run.
        """
        if not self.path.exists():
            return None
        array, sequences = self._open()
        if index not in sequences:
            return None
        place = sequences.index(index)
        if not (self.path / VARIABLE / array.metadata.encode_chunk_key((place, 0, 0, 0))).is_file():
            return None
        try:
            return np.asarray(array[place])
        except DAMAGE:
            return None

    def _open(self) -> tuple[Any, list[int]]:
        """The array of forecasts and the indices of its sequences."""
        try:
            group: Any = zarr.open_group(self.path, mode="r+")
            array, run, sequences = group[VARIABLE], group.attrs[_RUN], group.attrs[_SEQUENCES]
            whole = isinstance(sequences, list) and all(isinstance(index, int) for index in sequences)
            if not whole or array.dtype != np.uint8 or array.ndim != 4 or array.chunks != (1, *array.shape[1:]):
                raise ValueError("it is no store of kept forecasts")
            if run != self._run or len(sequences) != array.shape[0]:
                raise ValueError("it belongs to another run")
        except DAMAGE as error:
            raise RunError(
                f"{self.path} is damaged ({error}): remove it, and evaluate with --keep-forecasts again"
            ) from error
        return array, sequences


class Keeping(SealedForecasts[Levels]):
    """An environment that remembers forecasts until their truth is revealed; :meth:`keep` then writes them.

    Args:
        env: The environment, wrapped or not.
        folder: Where forecasts are kept.
        wanted: Indices of the sequences to keep.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], folder: KeptForecasts, wanted: set[int]) -> None:
        super().__init__(env, wanted)
        self._folder = folder

    def measure(self, index: int, action: Any) -> Levels:
        """The levels of a forecast."""
        levels: Levels = level(action)
        return levels

    def keep(self, index: int, tally: Tally, recorded: Tally) -> None:
        """Keep the forecast of a sequence whose tally was revealed, if it is to be kept.

        Args:
            index: The sequence.
            tally: The tally of this forecast.
            recorded: Its tally in the run folder, which may be that of an earlier forecast.

        Raises:
            RunError: If the forecast is not the one that was scored, or cannot be written.
        """
        if index not in self._sealed:
            return
        levels = self._sealed.pop(index)
        if tally != recorded:
            raise RunError(
                f"the forecast of sequence {index} is not the one that was scored, the agent's forecasts cannot be "
                "repeated: keep forecasts from the beginning, in another output folder"
            )
        self._folder.save(index, levels)

"""The log of a training: one row of ``log.csv`` for each step, and TensorBoard where it is installed."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import torch

from hko7env.files import write_atomically

from .checkpoint import CheckpointError

COLUMNS = ("step", "loss", "rate", "seconds", "valid")


@dataclass
class LogRow:
    """One step: its number from 1, loss, learning rate, seconds of training so far and, if validated, the score."""

    step: int
    loss: torch.Tensor  # scalar, still on the device: reading it would wait for the step
    rate: float
    seconds: float
    valid: float | None = None


class Board(Protocol):
    """What is used of a TensorBoard writer."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """Record one value."""


class TrainingLog:
    """Rows of ``log.csv``, kept in memory until they are written.

    Args:
        path: The file.

    Raises:
        CheckpointError: If the file exists and is damaged or not a log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[LogRow] = []
        self._board: Board | None = None
        self._read()

    def open_board(self) -> None:
        """Write to TensorBoard too, beside the log, if TensorBoard is installed."""
        self._board = _tensorboard(self.path.parent / "tensorboard")

    def add(self, row: LogRow) -> None:
        """Add the row of a step."""
        self._rows.append(row)

    def add_validation(self, score: float) -> None:
        """Add the validation score of the newest step."""
        self._rows[-1].valid = score
        if self._board:
            self._board.add_scalar("valid", score, self._rows[-1].step)

    def clear(self) -> None:
        """Drop the rows that have not been written."""
        self._rows.clear()

    def write(self, next_step: int) -> None:
        """Add the new rows to the file; older rows of the same or later steps are dropped.

        Args:
            next_step: The step after the last one done, which no row of the file may have if there are no new rows.
        """
        rows = self._rows
        losses = torch.stack([row.loss for row in rows]).tolist() if rows else []
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        first = rows[0].step if rows else next_step
        lines.writerows(row for row in self._read() if int(row[0]) < first)
        for row, loss in zip(rows, losses, strict=True):
            valid = "" if row.valid is None else repr(row.valid)
            lines.writerow([row.step, f"{loss:.9g}", f"{row.rate:.6g}", f"{row.seconds:.2f}", valid])
            if self._board:
                self._board.add_scalar("loss", loss, row.step)
        write_atomically(self.path, text.getvalue().encode())
        rows.clear()

    def _read(self) -> list[list[str]]:
        """The rows of the file; none if there is no file."""
        if not self.path.exists():
            return []
        try:
            head, *rows = csv.reader(self.path.read_text(encoding="utf-8").splitlines(), strict=True)
            if tuple(head) != COLUMNS:
                raise ValueError(f"its first line is not {','.join(COLUMNS)}")
            numbers = list(_parse(rows))
            if any(len(row) != len(COLUMNS) for row in numbers) or any(b[0] <= a[0] for a, b in pairwise(numbers)):
                raise ValueError("a row is incomplete, or steps are not in order")
        except (ValueError, csv.Error, IsADirectoryError) as error:
            raise CheckpointError(
                f"{self.path} is no log of a training, or damaged ({error}): "
                "move it away and give the same command again"
            ) from error
        return rows


def _parse(rows: list[list[str]]) -> Iterator[list[float]]:
    for step, *cells in rows:
        yield [int(step), *(float(cell or "0") for cell in cells)]


def _tensorboard(folder: Path) -> Board | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    board: Board = SummaryWriter(str(folder))
    return board

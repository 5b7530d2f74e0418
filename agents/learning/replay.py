"""The newest frames of the stream, compressed, as windows to learn from online."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numcodecs import Zstd

from hko7env.contract import Observation

Frames = npt.NDArray[np.uint8]
Present = npt.NDArray[np.bool_]


class Segment(NamedTuple):
    """The J frames of one observation.

    Attributes:
        frames: (J, H, W) uint8 levels, compressed by zstd.
        present: (J,) bool.
        episode: Number of the episode in the stream.
    """

    frames: bytes
    present: Present
    episode: int


class ReplayBuffer:
    """The newest segments of the stream, as windows of consecutive frames of one episode.

    Args:
        shape: (J, H, W) of a segment.
        length: J + K, frames of a window.
        past: Keep older windows too, those of earlier episodes included. Otherwise the buffer holds no more than the
            newest window, and a new episode empties it (Algorithm 1).
        limit: Compressed bytes to hold at most, though never less than one window; used with ``past`` only.

    Attributes:
        segments: The segments, oldest first.
        span: Segments that a window touches.
    """

    def __init__(self, shape: tuple[int, int, int], length: int, *, past: bool = False, limit: float = 0) -> None:
        self.shape, self.length, self.past, self.limit = shape, length, past, limit
        self.span = -(-length // shape[0])
        self.segments: list[Segment] = []
        self._codec = Zstd(level=1)

    @property
    def nbytes(self) -> int:
        """Compressed bytes held."""
        return sum(len(segment.frames) for segment in self.segments)

    def append(self, observation: Observation) -> None:
        """Add a copy of the J newest frames, with 0 for missing ones."""
        present = observation["present"].astype(bool)
        frames = np.where(present[:, None, None], observation["frames"], np.uint8(0))
        begins = bool(observation["new_episode"])
        last = self.segments[-1].episode if self.segments else 0
        if begins and not self.past:
            self.segments.clear()
        self.segments.append(Segment(self._codec.encode(frames), present, last + begins))
        held = self.nbytes
        while len(self.segments) > self.span and (not self.past or held > self.limit):
            held -= len(self.segments.pop(0).frames)

    def newest(self, least: int | None = None) -> list[Segment] | None:
        """The newest segments of the episode, those of a window at most.

        Args:
            least: Segments that there must be; default: those of a window.

        Returns:
            The segments, or None if the episode has fewer.
        """
        found = [part for part in self.segments[-self.span :] if part.episode == self.segments[-1].episode]
        return found if found and len(found) >= (least or self.span) else None

    def draw(self, count: int, newest: list[Segment], random: np.random.Generator) -> list[list[Segment]]:
        """Up to ``count`` different windows that begin before ``newest``."""
        first = next((i for i, segment in enumerate(self.segments) if segment is newest[0]), 0)
        starts = [start for start in self._starts() if start < first]
        chosen = random.permutation(len(starts))[:count]
        return [self.segments[starts[i] : starts[i] + self.span] for i in chosen]

    def _starts(self) -> list[int]:
        """Indices of the segments at which a window of one episode begins."""
        ends = range(self.span - 1, len(self.segments))
        last = self.span - 1
        return [i - last for i in ends if self.segments[i - last].episode == self.segments[i].episode]

    def frames(self, segments: Iterable[Segment]) -> tuple[Frames, Present]:
        """The window (length, H, W) uint8 at the end of ``segments``, and (length,) bool which frames are present."""
        parts = list(segments)
        decoded = [np.frombuffer(self._codec.decode(part.frames), np.uint8).reshape(self.shape) for part in parts]
        present = np.concatenate([part.present for part in parts])
        return np.concatenate(decoded)[-self.length :], present[-self.length :]

    def window(self, segments: Sequence[Segment]) -> tuple[Frames, Present]:
        """As :meth:`frames`, for the window that begins with ``segments``: frames that they lack are missing."""
        frames, present = self.frames(segments)
        lacking = self.length - len(frames)
        if lacking == 0:
            return frames, present
        return np.pad(frames, ((0, lacking), (0, 0), (0, 0))), np.pad(present, (0, lacking))

    def pack(self, segments: Sequence[Segment]) -> dict[str, torch.Tensor]:
        """``segments`` as tensors for a checkpoint."""
        packed = np.frombuffer(b"".join(segment.frames for segment in segments), np.uint8)
        present = np.array([segment.present for segment in segments], bool).reshape(len(segments), self.shape[0])
        return {
            "frames": torch.from_numpy(packed.copy()),
            "sizes": torch.tensor([len(segment.frames) for segment in segments], dtype=torch.int64),
            "present": torch.from_numpy(present),
            "episodes": torch.tensor([segment.episode for segment in segments], dtype=torch.int64),
        }

    def unpack(self, tensors: Mapping[str, torch.Tensor]) -> list[Segment]:
        """The segments that :meth:`pack` packed. Raises ValueError if they cannot be decoded."""
        try:
            packed, sizes = tensors["frames"].numpy().tobytes(), tensors["sizes"].tolist()
            present, episodes = tensors["present"].bool().numpy(), tensors["episodes"].tolist()
            ends = np.cumsum([0, *sizes]).tolist()
            kept = [
                Segment(packed[start:end], *rest)
                for (start, end), *rest in zip(itertools.pairwise(ends), present, episodes, strict=True)
            ]
            windows = [self.frames([segment]) for segment in kept]
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(str(error)) from error
        if ends[-1] != len(packed) or any(len(p) != self.shape[0] for _, p in windows):
            raise ValueError("another number of frames")
        return kept

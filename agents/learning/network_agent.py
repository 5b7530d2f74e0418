"""Networks as agents that learn while they forecast: Algorithm 1 and section 3.4 of Shi et al. 2017.

After each segment one step of AdaGrad is made on the newest 25 consecutive frames: five in, twenty to be forecast,
missing frames and unscored pixels left out of the loss. Weights and the optimiser's sums live on across episodes.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numcodecs import Zstd

from hko7env.contract import Observation, OptionError, Task
from hko7env.scores import scored

from ..networks.encoder_forecaster import PRECISIONS
from ..networks.registry import Network, build, check_facts, facts, fitting, load_weights, shipped
from .checkpoint import CheckpointError, check, fill, named, number, read, under, write
from .cuda_graph import gradients
from .loss import loss

Tensor = torch.Tensor
ORDERS = ("paper", "official")
CLIP = 50.0  # norm of the gradients of each of a network's parts


@dataclass(frozen=True)
class Config:
    """How a network forecasts and, online, learns; the defaults are those of the paper."""

    checkpoint: str | None = None  # of tools/train.py; default: those shipped; "none": weights drawn by the seed
    device: str = "cpu"  # or "cuda"
    seed: int = 0
    size: str = "small"  # "full": as wide as in the paper
    balanced: bool = True  # learn by B-MSE + B-MAE, else by MSE + MAE
    online_rate: float = 1e-4
    order: str = "paper"  # "official": learn from the segments before the newest, as the released code does
    precision: str = "float32"  # or "bf16"
    compile: bool = False
    graph: bool = False  # one CUDA graph of a step of learning
    replay_windows: int = 0  # windows of the past that are learned from with the newest one
    updates: int = 1  # steps after each segment
    replay_megabytes: float = 64.0  # of compressed frames kept for replay


class Segment(NamedTuple):
    """The J frames of one observation, compressed; ``episode`` counts those seen."""

    frames: bytes  # zstd of (J, H, W) uint8
    present: npt.NDArray[np.bool_]  # (J,)
    episode: int


class ReplayBuffer:
    """The newest segments of the stream, within ``limit`` bytes, as windows of ``length`` consecutive frames.

    With ``past`` False it holds no more than the newest window, and a new episode empties it (Algorithm 1); with
    ``past`` True older windows stay, those of earlier episodes too, until the room is needed.
    """

    def __init__(self, shape: tuple[int, int, int], length: int, *, past: bool = False, limit: float = 0) -> None:
        self.shape, self.length, self.past, self.limit = shape, length, past, limit
        self.span = -(-length // shape[0])  # segments that a window touches
        self.segments: list[Segment] = []
        self._codec = Zstd(level=1)

    @property
    def nbytes(self) -> int:
        """Compressed bytes held."""
        return sum(len(segment.frames) for segment in self.segments)

    def append(self, observation: Observation) -> None:
        """Take in a copy of the J newest frames; those that are missing become 0."""
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

    def newest(self) -> list[Segment] | None:
        """The segments of the newest window, or None if the episode is not that long yet."""
        starts = self._starts()
        last = len(self.segments) - self.span
        return self.segments[last:] if starts and starts[-1] == last else None

    def draw(self, count: int, newest: list[Segment], random: np.random.Generator) -> list[list[Segment]]:
        """Up to ``count`` different windows that begin before ``newest``."""
        first = next((i for i, segment in enumerate(self.segments) if segment is newest[0]), 0)
        starts = [start for start in self._starts() if start < first]
        chosen = random.permutation(len(starts))[:count]
        return [self.segments[starts[i] : starts[i] + self.span] for i in chosen]

    def _starts(self) -> list[int]:
        """Where the windows that lie in one episode begin."""
        ends = range(self.span - 1, len(self.segments))
        last = self.span - 1
        return [i - last for i in ends if self.segments[i - last].episode == self.segments[i].episode]

    def frames(self, segments: Iterable[Segment]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """The window (J + K, H, W) of ``segments`` and (J + K,) which of its frames are present."""
        parts = list(segments)
        decoded = [np.frombuffer(self._codec.decode(part.frames), np.uint8).reshape(self.shape) for part in parts]
        present = np.concatenate([part.present for part in parts])
        return np.concatenate(decoded)[-self.length :], present[-self.length :]


def objective(
    forward: Any, frames: Tensor, present: Tensor, where: Tensor, task: Task, *, balanced: bool, lead_power: float = 0
) -> Tensor:
    """The loss of ``forward`` on windows: ``frames`` (B, J + K, H, W) uint8 levels, missing ones 0.

    ``present`` (B, J + K) bool, and ``where`` bool, True where a pixel of the truth is scored, (B, K, H, W). The loss
    of a CNN is a sum over the leads, that of a recurrent network a mean, as in the released code.
    """
    seen, truth = frames[:, : task.inputs], frames[:, task.inputs :]
    mask = where & present[:, task.inputs :, None, None]
    net = getattr(forward, "module", forward)  # DistributedDataParallel and torch.compile wrap it
    net = getattr(net, "_orig_mod", net)
    return loss(
        forward(seen / 255),
        truth,
        mask,
        task.zr,
        balanced=balanced,
        lead_power=lead_power,
        summed=net.sums_leads,
    )


class NetworkAgent:
    """A network that forecasts from the newest J frames and learns online from the newest J + K.

    Batch normalisation keeps the statistics of its training. On the CPU, a restored agent is bit by bit the saved one.
    """

    def __init__(self, task: Task, net: Network, config: Config, bound: dict[str, Any] | None = None) -> None:
        _check(config)
        self.task, self.net, self.config, self._bound = task, net, config, bound or {}
        self.device = next(net.parameters()).device
        self._forward: Any = torch.compile(net) if config.compile else net
        self._descend = gradients(net, self._value, graph=config.graph)
        self._static = torch.from_numpy(task.scored.copy()).to(self.device)
        self._optimiser = torch.optim.Adagrad(
            net.parameters(), lr=config.online_rate, lr_decay=0, initial_accumulator_value=net.epsilon, eps=0
        )  # MXNet's epsilon is under the root: the sums of squares begin with it
        shape = (task.inputs, task.height, task.width)
        limit = config.replay_megabytes * 1e6
        self.buffer = ReplayBuffer(shape, task.inputs + task.leads, past=config.replay_windows > 0, limit=limit)
        self._due: list[Segment] | None = None  # the window to learn from at the next update
        self._steps = 0
        self._frames = np.zeros(shape, np.uint8)

    def store(self, observation: Observation) -> None:
        """Keep the J frames; a missing frame is no rain."""
        before = self.buffer.newest()
        self.buffer.append(observation)
        self._due = before if self.config.order == "official" else self.buffer.newest()
        self._frames, _ = self.buffer.frames(self.buffer.segments[-1:])

    def update(self) -> None:
        """Learn from the window that is due, if the episode is long enough to have one."""
        newest, self._due = self._due, None
        if newest is None:
            return
        with fitting("choose fewer --replay-windows, --size small, or --precision bf16"):
            for _ in range(self.config.updates):
                self._step(newest)

    def _step(self, newest: list[Segment]) -> None:
        random = np.random.Generator(np.random.Philox(key=self.config.seed, counter=[0, 0, 0, self._steps]))
        windows = [newest, *self.buffer.draw(self.config.replay_windows, newest, random)]
        pairs = [self.buffer.frames(window) for window in windows]
        frames, present = (torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*pairs, strict=True))
        self.net.train(False)
        self._descend((frames, present))
        clip(self.net, CLIP)
        self._optimiser.step()
        self._steps += 1

    def _value(self, windows: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of windows: frames (B, J + K, H, W), and (B, J + K) which of them are present."""
        frames, present = windows
        where = scored(frames[:, self.task.inputs :], self._static)
        return objective(self._forward, frames, present, where, self.task, balanced=self.config.balanced)

    def predict(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32 pixels in [0, 1]."""
        self.net.train(False)
        with torch.no_grad(), fitting("choose --size small, or --precision bf16"):
            frames = torch.from_numpy(self._frames).to(self.device)[None] / 255
            ahead = self._forward(frames)[0].clamp_(0, 1)
        forecast: npt.NDArray[np.float32] = ahead.float().contiguous().cpu().numpy()
        return forecast

    def save(self, path: Path) -> None:
        """Write weights, optimiser, stored frames and counters."""
        due = self._due or []
        kept = [*self.buffer.segments, *due]
        present = np.array([segment.present for segment in kept], bool).reshape(len(kept), self.task.inputs)
        packed = np.frombuffer(b"".join(segment.frames for segment in kept), np.uint8)
        tensors = {
            **named("net", self.net.state_dict()),
            **named("adagrad", {n: self._optimiser.state[p]["sum"] for n, p in self.net.named_parameters()}),
            "buffer.frames": torch.from_numpy(packed.copy()),
            "buffer.sizes": torch.tensor([len(segment.frames) for segment in kept], dtype=torch.int64),
            "buffer.present": torch.from_numpy(present),
            "buffer.episodes": torch.tensor([segment.episode for segment in kept], dtype=torch.int64),
            "frames": torch.from_numpy(self._frames.copy()),
        }
        write(path, tensors, {"kind": "online", **self._bound, "steps": self._steps, "due": len(due)})

    def restore(self, path: Path) -> None:
        """Become the agent that :meth:`save` wrote. Raises CheckpointError, a ValueError, for a file that is none."""
        tensors, found = read(path)
        check_facts(found, {"kind": "online", **self._bound}, path)
        steps, due = (number(found, name, path) for name in ("steps", "due"))
        sums = {name: self._optimiser.state[p]["sum"] for name, p in self.net.named_parameters()}
        held = under("adagrad", tensors)
        check(held, sums, path)
        frames = tensors.get("frames", torch.zeros(0)).numpy()
        if (frames.shape, frames.dtype) != (self._frames.shape, np.uint8):
            raise CheckpointError(f"{path} is of frames {frames.shape}, not {self._frames.shape}: resume its own run")
        kept = self._segments(under("buffer", tensors), path)
        if due not in (0, self.buffer.span) or due > len(kept):
            raise CheckpointError(f"{path} has {due} segments due of {len(kept)}: remove it, and the run begins anew")
        fill(self.net, under("net", tensors), path)
        for name, total in sums.items():
            total.copy_(held[name])
        first = len(kept) - due
        self.buffer.segments, self._due = kept[:first], kept[first:] or None
        self._steps, self._frames = steps, frames.copy()

    def _segments(self, tensors: dict[str, Tensor], path: Path) -> list[Segment]:
        """The segments of a checkpoint's buffer. Raises CheckpointError for what cannot be decoded."""
        try:
            packed, sizes = tensors["frames"].numpy().tobytes(), tensors["sizes"].tolist()
            present, episodes = tensors["present"].bool().numpy(), tensors["episodes"].tolist()
            ends = np.cumsum([0, *sizes]).tolist()
            kept = [
                Segment(packed[start:end], *rest)
                for (start, end), *rest in zip(itertools.pairwise(ends), present, episodes, strict=True)
            ]
            windows = [self.buffer.frames([segment]) for segment in kept]
            if ends[-1] != len(packed) or any(len(p) != self.task.inputs for _, p in windows):
                raise ValueError("another number of frames")
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"{path} holds stored frames that cannot be read ({error}): remove it, and the run begins anew"
            ) from error
        return kept


def clip(net: Any, norm: float) -> None:
    """Scale the gradients of each part of ``net`` down to ``norm``. Raises FloatingPointError if one is not finite."""
    for part in net.parts():
        total = torch.nn.utils.clip_grad_norm_(part, norm)
        if not torch.isfinite(total):
            raise FloatingPointError(
                "a gradient is not finite, the weights are kept: choose a lower rate, or --precision float32"
            )


def _check(config: Config) -> None:
    if config.order not in ORDERS:
        raise OptionError(f"there is no order {config.order!r} of updates, only {', '.join(ORDERS)}")
    if config.precision not in PRECISIONS:
        raise OptionError(f"there is no precision {config.precision!r}, only {', '.join(PRECISIONS)}")
    for name, least in (("online_rate", 0), ("replay_windows", 0), ("updates", 1), ("replay_megabytes", 0)):
        if not getattr(config, name) >= least:
            raise OptionError(f"{name} must be at least {least}, got {getattr(config, name)}")


def agent(model: str, task: Task, config: Config) -> NetworkAgent:
    """The agent of one of :data:`agents.networks.registry.MODELS`, with the weights that ``config`` names.

    Raises OptionError for a grid, device or checkpoint that does not fit, FileNotFoundError if there is none.
    """
    _check(config)
    net = build(model, config.size, task, seed=config.seed, precision=config.precision, device=config.device)
    bound = facts(model, config.size, task)
    if config.checkpoint != "none":
        path = Path(config.checkpoint) if config.checkpoint else shipped(model, config.size)
        load_weights(net, path, bound)
    return NetworkAgent(task, net, config, bound)

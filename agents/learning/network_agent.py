"""Networks as agents that learn while they forecast: Algorithm 1 and section 3.4 of Shi et al. 2017.

After each segment, the five frames of one observation, AdaGrad takes one step on the newest 25 consecutive frames: five
inputs and twenty to forecast. Missing frames and locations that are not scored are left out of the loss. Weights and
the state of the optimiser are kept across episodes. Options go beyond the paper: other windows to learn from, fewer
weights to learn, a new start in each episode, and a correction of the frequency bias at each lead time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import Observation, OptionError, Task

from ..networks.devices import explain_out_of_memory
from ..networks.network import Network
from ..networks.paper_tables import total_stride
from ..networks.registry import build, find_network
from ..networks.transition import Fused
from .checkpoint import CheckpointError, check, fill, named, number, read, under, write
from .clipping import CLIP_NORM, clip_gradients
from .cuda_graph import GraphedForecast, loss_and_gradients
from .forecasting import forecast_frames
from .lead_bias import LeadBias
from .loss import Forward, window_loss
from .padding import pad_maps, pad_task
from .replay import ReplayBuffer, Segment
from .weights import check_metadata, find_shipped_weights, load_weights

Tensor = torch.Tensor
Unpacked = TypeVar("Unpacked")
Order = Literal["paper", "official"]
Precision = Literal["float32", "bf16"]
Learned = Literal["all", "last"]


@dataclass(frozen=True)
class Config:
    """How a network forecasts and, online, learns; the defaults are those of the paper.

    Raises:
        OptionError: If a value is out of range.
    """

    checkpoint: Annotated[
        str | None,
        "file of weights, such as the best.safetensors of a training; none for random weights; "
        "not given: the weights that come with the package",
    ] = None
    device: Annotated[str, "auto (a GPU if there is one), cpu or cuda"] = "auto"
    seed: Annotated[int, "seed of random weights and of the choice of windows to replay"] = 0
    size: Annotated[str, "small, or full: as wide as in the paper"] = "small"
    balanced: Annotated[bool, "learn by B-MSE + B-MAE, otherwise by MSE + MAE"] = True
    online_rate: Annotated[float, "learning rate of AdaGrad online"] = 1e-4
    order: Annotated[
        Order, "learn from the newest window (paper), or from the one before it, as the released code does (official)"
    ] = "paper"
    precision: Annotated[Precision, "number format of convolutions"] = "float32"
    compile: Annotated[bool, "compile the network with torch.compile"] = False
    graph: Annotated[bool, "record a forecast and a step of learning as one CUDA graph each, on a GPU"] = False
    fused: Annotated[Fused, "one kernel for a transition of TrajGRU, on a GPU; auto: if it is faster"] = "auto"
    learn: Annotated[Learned, "weights to learn: all, or those of the last layers"] = "all"
    due_leads: Annotated[
        bool, "also learn from the windows of the newest 10, 15 and 20 frames, whose later leads are not yet there"
    ] = False
    reset: Annotated[bool, "return to the trained weights when an episode begins"] = False
    lead_bias: Annotated[
        bool,
        "match how often each level is forecast, lead by lead, to how often it was observed when forecasts came due",
    ] = False
    replay_windows: Annotated[int, "earlier windows to learn from together with the newest"] = 0
    updates: Annotated[int, "steps of learning after each segment"] = 1
    replay_megabytes: Annotated[float, "MB of compressed frames kept for replay"] = 64.0

    def __post_init__(self) -> None:
        choices_of = {"order": Order, "precision": Precision, "fused": Fused, "learn": Learned}
        for name, choices in ((name, get_args(kind)) for name, kind in choices_of.items()):
            if getattr(self, name) not in choices:
                raise OptionError(f"{name} is one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name, least in (("online_rate", 0), ("replay_windows", 0), ("updates", 1), ("replay_megabytes", 0)):
            if not getattr(self, name) >= least:
                raise OptionError(f"{name} must be at least {least}, got {getattr(self, name)}")


class NetworkAgent:
    """A network that forecasts from the newest J frames and learns online from the newest J + K.

    Batch normalisation keeps the statistics of the training. On the CPU a restored agent equals the saved one bit by
    bit. On a grid that is no multiple of the network's total stride, frames are padded with no echo at the south and
    east edge; the padding is not scored in the loss and cut off the forecast.

    Args:
        task: The frames to forecast.
        net: The network, with its weights.
        config: The options.
        metadata: Stored in checkpoints of this agent; one with other values cannot be restored.
    """

    def __init__(self, task: Task, net: Network, config: Config, metadata: Mapping[str, Any] | None = None) -> None:
        self.task, self.net, self.config, self._metadata = task, net, config, dict(metadata or {})
        self.device = next(net.parameters()).device
        self._forward: Forward = torch.compile(net) if config.compile else net
        self._foresee: Forward = GraphedForecast(self._forward) if config.graph else self._forward
        self._loss_and_gradients = loss_and_gradients(net, self._loss, graph=config.graph)
        self._static = pad_maps(torch.from_numpy(task.scored.copy()).to(self.device), net.total_stride)
        self._learned = _select_parameters(net, config.learn)
        self._optimiser = torch.optim.Adagrad(
            self._learned.values(), lr=config.online_rate, lr_decay=0, initial_accumulator_value=net.epsilon, eps=0
        )  # MXNet has epsilon under the root: the sums of squares begin with it
        self._trained = {name: p.detach().clone() for name, p in self._learned.items()} if config.reset else {}
        shape = (task.inputs, task.height, task.width)
        limit = config.replay_megabytes * 1e6
        self.buffer = ReplayBuffer(shape, task.inputs + task.leads, past=config.replay_windows > 0, limit=limit)
        self._least = 2 if config.due_leads else self.buffer.span  # segments to learn from
        self._due: list[Segment] | None = None  # what to learn from at the next update
        self._bias = LeadBias(task) if config.lead_bias else None
        self._unverified = False  # whether the newest frames are still to be compared with forecasts
        self._steps = 0
        self._frames = np.zeros(shape, np.uint8)

    def store(self, observation: Observation) -> None:
        """Keep the J frames; a missing frame counts as no rain."""
        begins = bool(observation["new_episode"])
        before = self.buffer.newest(self._least)
        self.buffer.append(observation)
        self._due = before if self.config.order == "official" else self.buffer.newest(self._least)
        self._frames, _ = self.buffer.frames(self.buffer.segments[-1:])
        if begins and self.config.reset:
            self._reset()
        if self._bias:
            self._bias.advance(new_episode=begins)
            self._unverified = True

    def _reset(self) -> None:
        """Forget what has been learned, and what an update of the last episode would have learned from."""
        self._due = None
        for name, parameter in self._learned.items():
            parameter.data.copy_(self._trained[name])
            self._optimiser.state[parameter]["sum"].fill_(self.net.epsilon)
        if self._bias:
            self._bias.reset()

    def update(self) -> None:
        """Learn from the window that is due, if the episode is long enough to have one.

        Raises:
            MemoryError: If the memory does not suffice, with what to do.
            FloatingPointError: If a gradient is not finite; the weights are unchanged.
        """
        if self._bias and self._unverified:
            self._bias.learn(self._frames, self.buffer.segments[-1].present)
            self._unverified = False
        newest, self._due = self._due, None
        if newest is None:
            return
        with explain_out_of_memory("choose fewer replay_windows, size small or precision bf16"):
            for _ in range(self.config.updates):
                self._step(newest)

    def _step(self, newest: list[Segment]) -> None:
        random = np.random.Generator(np.random.Philox(key=self.config.seed, counter=[0, 0, 0, self._steps]))
        windows = [newest, *(newest[-n:] for n in range(len(newest) - 1, self._least - 1, -1))]
        windows += self.buffer.draw(self.config.replay_windows, newest, random)
        pairs = [self.buffer.window(window) for window in windows]
        frames, present = (torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*pairs, strict=True))
        self.net.train(False)
        self._loss_and_gradients((pad_maps(frames, self.net.total_stride), present))
        clip_gradients(self.net, CLIP_NORM)
        self._optimiser.step()
        self._steps += 1

    def _loss(self, windows: tuple[Tensor, ...]) -> Tensor:
        """The loss of windows: frames (B, J + K, H, W), and (B, J + K) which of them are present."""
        frames, present = windows
        balanced = self.config.balanced
        return window_loss(self.net, self._forward, frames, present, self._static, self.task, balanced=balanced)

    def predict(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32 pixels in [0, 1]. Raises MemoryError if the memory does not suffice."""
        with explain_out_of_memory("choose size small or precision bf16"):
            forecast = forecast_frames(self.net, self._foresee, self._frames)
        return self._bias.correct(forecast) if self._bias else forecast

    def save(self, path: Path) -> None:
        """Write weights, state of the optimiser, stored frames and counters."""
        due = self._due or []
        tensors = {
            **named("net", self.net.state_dict()),
            **named("adagrad", {n: self._optimiser.state[p]["sum"] for n, p in self._learned.items()}),
            **named("buffer", self.buffer.pack([*self.buffer.segments, *due])),
            "frames": torch.from_numpy(self._frames.copy()),
        }
        counters = {"steps": self._steps, "due": len(due)}
        if self._bias:
            tensors |= named("bias", self._bias.pack())
            counters["unverified"] = int(self._unverified)
        write(path, tensors, {"kind": "online", **self._metadata, **counters})

    def restore(self, path: Path) -> None:
        """Restore the state that :meth:`save` wrote.

        Raises:
            CheckpointError: If the file is damaged or of another agent; nothing is changed then.
        """
        tensors, found = read(path)
        check_metadata(found, {"kind": "online", **self._metadata}, path)
        steps, due = (number(found, name, path) for name in ("steps", "due"))
        sums = {name: self._optimiser.state[p]["sum"] for name, p in self._learned.items()}
        held = under("adagrad", tensors)
        check(held, sums, path)
        frames = tensors.get("frames", torch.zeros(0)).numpy()
        if frames.shape != self._frames.shape or frames.dtype != np.uint8:
            raise CheckpointError(f"{path} is of frames {frames.shape}, not {self._frames.shape}: resume its run")
        kept = _unpack("stored frames", partial(self.buffer.unpack, under("buffer", tensors)), path)
        if due not in (0, *range(self._least, self.buffer.span + 1)) or due > len(kept):
            raise CheckpointError(f"{path} has {due} of {len(kept)} segments due: remove it, and the run starts anew")
        bias, unverified = self._bias, False
        if self._bias:
            unverified = bool(number(found, "unverified", path))
            bias = _unpack("stored forecasts", partial(self._bias.unpack, under("bias", tensors)), path)
        fill(self.net, under("net", tensors), path)
        for name, total in sums.items():
            total.copy_(held[name])
        first = len(kept) - due
        self.buffer.segments, self._due = kept[:first], kept[first:] or None
        self._steps, self._frames = steps, frames.copy()
        self._bias, self._unverified = bias, unverified


def _unpack(what: str, unpack: Callable[[], Unpacked], path: Path) -> Unpacked:
    try:
        return unpack()
    except ValueError as error:
        raise CheckpointError(
            f"{path} holds {what} that cannot be read ({error}): remove it, and the run starts anew"
        ) from error


def _select_parameters(net: Network, learn: Learned) -> dict[str, torch.nn.Parameter]:
    """The parameters to learn, by name; the others are made constants."""
    last = {id(parameter) for parameter in net.output_parameters()} if learn == "last" else set()
    chosen = {name: p for name, p in net.named_parameters() if learn == "all" or id(p) in last}
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in chosen)
    return chosen


def make_agent(model: str, task: Task, config: Config) -> NetworkAgent:
    """Make the agent of a network.

    Args:
        model: One of :data:`agents.networks.registry.NETWORKS`.
        task: The frames to forecast, on any grid.
        config: The options; ``checkpoint`` names the weights.

    Raises:
        OptionError: If device or checkpoint do not fit.
        MissingCheckpointError: If there is no such checkpoint; it is an OptionError too.
    """
    stride = total_stride(find_network(model).select_table(config.size))
    grid = pad_task(task, stride)
    precision, device, fused = config.precision, config.device, config.fused
    net = build(model, config.size, grid, seed=config.seed, precision=precision, device=device, fused=fused)
    if config.checkpoint != "none":
        load_weights(net, Path(config.checkpoint) if config.checkpoint else find_shipped_weights(model, config.size))
    return NetworkAgent(task, net, config, net.metadata)

"""Offline training: random windows of an archive, or any source of batches by step, through one loop.

Everything that moves the weights is a function of (seed, step): the data, the rate and, on the CPU, the arithmetic. So
a training that is stopped in any way and goes on ends with the weights of one that was not stopped.
"""

import csv
import dataclasses
import io
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn

from hko7env import progress
from hko7env.contract import OptionError
from hko7env.evaluation.journal import writing
from hko7env.files import write_atomically

from ..networks.recurrent import TrajGRU
from ..networks.registry import fitting
from .checkpoint import CheckpointError, check, fill, named, number, read, under, write
from .cuda_graph import alike, gradients
from .network_agent import CLIP, clip

Tensor = torch.Tensor


class Batch(NamedTuple):
    """Windows to learn from: what a source of rain gives for a step."""

    frames: npt.NDArray[np.uint8]  # (B, J + K, H, W) levels, missing ones 0
    present: npt.NDArray[np.bool_]  # (B, J + K)
    scored: npt.NDArray[np.bool_]  # (B, H, W) or (H, W), the static mask


class Source(Protocol):
    """Anything that gives the batch of a step, a tuple of arrays or tensors, always the same one for a step.

    With several processes each has a source of its own, which gives that process's share.
    """

    def batch(self, step: int) -> Any:
        """The batch of ``step``, counted from 0. Called from one background thread, in order."""


@dataclass(frozen=True)
class Settings:
    """How a training goes; the defaults are those of the released code for HKO-7."""

    steps: int = 100_000
    rate: float = 1e-4
    link_rate: float = 1.0  # share of the rate at which the generators of TrajGRU's links learn
    decay: float = 0.7  # of the rate, every so many steps, not below the floor
    decay_every: int = 20_000
    floor: float = 1e-6
    clip: float = CLIP  # norm of the gradients of each part of the network
    ema: float = 0.0  # share that a step leaves of the average of the weights, which is then what is kept; 0: none
    valid_every: int = 10_000  # steps
    patience: int = 0  # validations in a row without a better one, after which to stop; 0: never
    save_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Raise ValueError for what no training can have."""
        for name in ("steps", "decay_every", "valid_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("rate", "link_rate", "floor", "clip", "patience"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be from 0 to below 1, got {self.ema}")

    def rate_at(self, step: int) -> float:
        """The rate of ``step``, counted from 0."""
        return max(self.rate * self.decay ** (step // self.decay_every), min(self.floor, self.rate))


STEER = ("steps", "valid_every", "patience", "save_seconds")  # may differ when a training goes on
COLUMNS = ("step", "loss", "rate", "seconds", "valid")
LAST, BEST, LOG = "last.safetensors", "best.safetensors", "log.csv"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of Adam, for each parameter


class Ranks:
    """The processes of a ``torchrun``, or the one there is: which one this is, and sums over all."""

    def __init__(self) -> None:
        self.many = dist.is_initialized()
        self.rank, self.count = (dist.get_rank(), dist.get_world_size()) if self.many else (0, 1)
        self._group = dist.new_group(backend="gloo") if self.many else None  # for numbers on the CPU

    def share(self, batch: int) -> range:
        """The rows of a batch that are this process's. Raises ValueError if they cannot be shared equally."""
        if batch < 1 or batch % self.count:
            raise ValueError(f"a batch of {batch} cannot be shared by {self.count} processes: choose a multiple")
        size = batch // self.count
        return range(self.rank * size, (self.rank + 1) * size)

    def total(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Sum of float64 ``values`` over all processes."""
        tensor = torch.tensor(np.asarray(values, np.float64))
        if self.many:
            dist.all_reduce(tensor, group=self._group)
        return tensor.numpy()

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process: all must stop at one step."""
        return bool(self.total([flag])[0]) if self.many else flag


class Trainer:
    """Trains ``net`` on the batches of ``source``, by Adam, into a folder; made anew on that folder, it goes on.

    ``loss(forward, batch)`` gives the mean over the batch; ``graph`` makes one CUDA graph of it and its gradients, see
    :mod:`agents.learning.cuda_graph`. ``facts`` are what the weights are bound to and what the training is made of:
    other ones in the folder are an error. ``validate()`` gives a score, less being better, of the network as it stands.
    ``out`` holds ``last.safetensors``, with the optimiser, ``best.safetensors``, the weights of the best validation
    (without one, the newest), and ``log.csv``. With ``ema`` the best ones, and those that are validated, are the
    average.
    """

    def __init__(
        self,
        net: Any,
        source: Source,
        loss: Callable[[Any, Any], Tensor],
        settings: Settings,
        out: Path,
        facts: dict[str, Any],
        *,
        validate: Callable[[], float] | None = None,
        ranks: Ranks | None = None,
        compiled: bool = False,
        graph: bool = False,
        remedy: str = "choose a smaller batch",
    ) -> None:
        self.net, self.source, self.loss, self.settings = net, source, loss, settings
        self.out, self.validate, self.remedy = out, validate, remedy
        self.ranks = ranks or Ranks()
        fixed = {name: value for name, value in dataclasses.asdict(settings).items() if name not in STEER}
        self.facts = {**facts, **fixed}
        self.device = next(net.parameters()).device
        self.adam = torch.optim.Adam(_groups(net, settings.link_rate), lr=settings.rate, betas=(0.5, 0.999), eps=1e-8)
        self.step, self.best, self.waited, self.seconds = 0, float("inf"), 0, 0.0
        self._mean = {name: p.detach().clone() for name, p in net.named_parameters()} if settings.ema else {}
        self._rows: list[list[Any]] = []  # of the log, not written yet; losses still on the device
        self._resume()
        if self.ranks.rank == 0:
            _remove_leftovers(out)
        self._forward = self._wrapped(torch.compile(net) if compiled else net)
        if graph and self.ranks.many:
            raise OptionError("several processes have no graph of their step: choose --graph false")
        self._descend = gradients(net, lambda batch: self.loss(self._forward, batch), graph=graph)
        self._board = _tensorboard(out) if self.ranks.rank == 0 else None

    def _wrapped(self, net: Any) -> Any:
        if not self.ranks.many:
            return net
        return nn.parallel.DistributedDataParallel(
            net, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    # ------------------------------------------------------------ the loop

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Train until ``steps``, patience or ``stop()``; True if it is finished. What was done is saved."""
        begun, saved = time.monotonic() - self.seconds, time.monotonic()
        settings = self.settings
        with (
            prefetched(self.source, self.step, settings.steps, self.device) as batches,
            progress.bar(settings.steps, self.out.name, "step", done=self.step) as bar,
        ):
            while self.step < settings.steps and not self._waited_enough():
                if self.ranks.any(stop()):
                    self.save()
                    return False
                rate = settings.rate_at(self.step)
                value = self._learn(next(batches), rate)
                self.step += 1
                self.seconds = time.monotonic() - begun
                self._rows.append([self.step, value, rate, self.seconds, None])
                bar.update()
                if self.step % settings.valid_every == 0 or self.step == settings.steps:
                    self._judge()
                    self.seconds = time.monotonic() - begun
                    self.save()
                    saved = time.monotonic()
                elif time.monotonic() - saved >= settings.save_seconds:
                    self.save()
                    saved = time.monotonic()
                if self.step % 50 == 0:
                    bar.set_postfix(loss=f"{float(value):.4g}", best=f"{self.best:.6g}")
        return True

    def _waited_enough(self) -> bool:
        return 0 < self.settings.patience <= self.waited

    def _learn(self, batch: Any, rate: float) -> Tensor:
        """One step, on this process's share of the batch; the loss of all of it, still on the device."""
        self.net.train()
        for group in self.adam.param_groups:
            group["lr"] = rate * group["share"]
        with fitting(self.remedy):
            value = self._descend(batch)
            clip(self.net, self.settings.clip)
            self.adam.step()
        self._average()
        if self.ranks.many:
            dist.all_reduce(value)
            value /= self.ranks.count
        return value

    def _average(self) -> None:
        """Move the average of the weights; it is a short one at first, as it begins with weights of no worth."""
        left = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for name, mean in self._mean.items():
            mean.lerp_(self.net.get_parameter(name).detach(), 1 - left)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Inside, the network has the average of its weights, if there is one."""
        own = {name: self.net.get_parameter(name).detach().clone() for name in self._mean}
        self.net.load_state_dict(self._mean, strict=False)  # not the statistics of batch normalisation
        try:
            yield
        finally:
            self.net.load_state_dict(own, strict=False)

    def _judge(self) -> None:
        """Validate, and keep the weights if they are the best."""
        if self.validate is None:
            return
        with self._averaged():
            score = self.validate()
        self._rows[-1][-1] = score
        if self._board:
            self._board.add_scalar("valid", score, self.step)
        if score < self.best:
            self.best, self.waited = score, 0
            self._keep_best()
        else:
            self.waited += 1

    # ------------------------------------------------------------ what is kept

    def _keep_best(self) -> None:
        if self.ranks.rank == 0:
            facts = {"kind": "weights", **self.facts, "step": self.step, "score": _plain(self.best)}
            with writing(self.out / BEST):
                self.out.mkdir(parents=True, exist_ok=True)
                write(self.out / BEST, named("net", self.net.state_dict() | self._mean), facts)

    def save(self) -> None:
        """Write the log and ``last.safetensors``, from which a training goes on."""
        if self.ranks.rank:
            self._rows.clear()
            return
        with writing(self.out / LOG):
            self.out.mkdir(parents=True, exist_ok=True)
            self._write_log()
        if self.validate is None:
            self._keep_best()
        tensors = named("net", self.net.state_dict()) | named("ema", self._mean)
        for name, parameter in self.net.named_parameters():
            for part, value in self.adam.state.get(parameter, {}).items():
                tensors[f"adam.{part}.{name}"] = value.detach().clone()
        counters = {"step": self.step, "score": _plain(self.best), "waited": self.waited, "seconds": self.seconds}
        with writing(self.out / LAST):
            write(self.out / LAST, tensors, {"kind": "training", **self.facts, **counters})

    def _resume(self) -> None:
        """Become what ``last.safetensors`` holds, if it is there. Raises CheckpointError, and then changes nothing."""
        path = self.out / LAST
        if self.out.exists() and not self.out.is_dir():
            raise CheckpointError(f"{self.out} is no folder: choose another --out")
        _read_log(self.out / LOG)
        if not path.exists():
            return
        tensors, found = read(path)
        wanted = {"kind": "training", **self.facts}
        other = [f"{name} {found.get(name)}, not {value}" for name, value in wanted.items() if found.get(name) != value]
        if other:
            raise CheckpointError(
                f"{path} is of a training with {'; '.join(other)}: give the same options to go on with it, or choose "
                "another --out for a new one"
            )
        step, waited = (number(found, name, path) for name in ("step", "waited"))
        seconds = number(found, "seconds", path, (int, float))
        best = float("inf") if found.get("score", "") is None else number(found, "score", path, (int, float))
        parameters = dict(self.net.named_parameters())
        moments = {part: under(f"adam.{part}", tensors) for part in MOMENTS}
        for part, values in moments.items():  # at step 0 there are none
            each = {n: torch.zeros(()) if part == "step" else p for n, p in parameters.items()}
            check(values, each if step else {}, path)
        averages = under("ema", tensors)
        check(averages, self._mean, path)
        fill(self.net, under("net", tensors), path)
        for name, value in averages.items():
            self._mean[name].copy_(value)
        for part, values in moments.items():
            for name, value in values.items():
                place = "cpu" if part == "step" else parameters[name].device
                self.adam.state[parameters[name]][part] = value.to(place)
        self.step, self.waited, self.seconds, self.best = step, waited, seconds, best

    def _write_log(self) -> None:
        """Add the rows since the last time to ``log.csv``; rows of steps that were lost are dropped."""
        path, rows = self.out / LOG, self._rows
        losses = torch.stack([row[1] for row in rows]).tolist() if rows else []
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        first = rows[0][0] if rows else self.step + 1
        lines.writerows(row for row in _read_log(path) if int(row[0]) < first)
        for (step, _, rate, seconds, score), value in zip(rows, losses, strict=True):
            lines.writerow(
                [step, f"{value:.9g}", f"{rate:.6g}", f"{seconds:.2f}", "" if score is None else repr(score)]
            )
            if self._board:
                self._board.add_scalar("loss", value, step)
        write_atomically(path, text.getvalue().encode())
        rows.clear()


def _groups(net: nn.Module, link_rate: float) -> list[dict[str, Any]]:
    """What Adam moves, each group at its share of the rate."""
    links = {p: None for layer in net.modules() if isinstance(layer, TrajGRU) for p in layer.generator()}
    others = [p for p in net.parameters() if p not in links]
    return [{"params": others, "share": 1.0}, {"params": list(links), "share": link_rate}]


def _read_log(path: Path) -> list[list[str]]:
    """The rows of a log, none if there is no file. Raises CheckpointError for a file that is none, or damaged."""
    if not path.exists():
        return []
    try:
        head, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines(), strict=True)
        if tuple(head) != COLUMNS:
            raise ValueError(f"its first line is not {','.join(COLUMNS)}")
        numbers = [[int(step), *(float(cell or "0") for cell in cells)] for step, *cells in rows]
        if any(len(row) != len(COLUMNS) for row in numbers) or any(b[0] <= a[0] for a, b in pairwise(numbers)):
            raise ValueError("a row is torn, or steps do not follow each other")
    except (ValueError, csv.Error, IsADirectoryError) as error:
        raise CheckpointError(
            f"{path} is no log of a training, or damaged ({error}): move it away, and the same command goes on"
        ) from error
    return rows


def _remove_leftovers(out: Path) -> None:
    """Remove what a training that was killed while it wrote has left in its folder, see ``write_atomically``."""
    for name in (LAST, BEST, LOG):
        for path in out.glob(f"{name}.*.partial"):
            path.unlink(missing_ok=True)


def _plain(score: float) -> float | None:
    return None if score == float("inf") else score


def _tensorboard(out: Path) -> Any:
    """A TensorBoard writer beside the log, if TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))


@contextmanager
def interruptible(*, once: bool = True) -> Iterator[Callable[[], bool]]:
    """Inside, SIGINT and SIGTERM ask to stop: gives whether one came. A second one stops at once if ``once``."""
    stopping: list[int] = []

    def stop(signum: int, _: Any) -> None:
        if stopping and once:
            raise KeyboardInterrupt
        stopping.append(signum)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(stopping)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def prefetched(source: Source, start: int, stop: int, device: torch.device, ahead: int = 4) -> Iterator[Iterator[Any]]:
    """Batches ``start`` to ``stop`` - 1 of ``source`` on ``device``, read by a thread up to ``ahead`` in advance."""
    ready: queue.Queue[Any] = queue.Queue(ahead)
    over = threading.Event()

    def put(item: Any) -> None:
        while not over.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        if device.type == "cuda":
            torch.cuda.set_device(device)  # each thread has its own
        try:
            for step in range(start, stop):
                if over.is_set():
                    return
                put(_pinned(source.batch(step), device))
        except BaseException as error:
            put(error)

    def taken() -> Iterator[Any]:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield alike(item, [part.to(device, non_blocking=True) for part in item])

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        over.set()
        thread.join()


def _pinned(batch: Any, device: torch.device) -> Any:
    """``batch`` as tensors, in memory from which a GPU can copy while the processor goes on."""
    parts = [torch.as_tensor(part) for part in batch]
    if device.type == "cuda":
        parts = [part if part.is_cuda else part.pin_memory() for part in parts]
    return alike(batch, parts)

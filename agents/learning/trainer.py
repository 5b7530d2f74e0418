"""Offline training of any network on any source of batches, which can be stopped at any step and continued.

Whatever changes the weights is a function of (seed, step): the data, the learning rate and, on the CPU, the arithmetic.
So a training that is stopped and continued ends with the same weights as one that is not.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from hko7env import progress
from hko7env.contract import OptionError
from hko7env.evaluation.journal import writing

from ..networks.devices import explain_out_of_memory
from ..networks.network import TrainableNetwork
from .averaging import WeightAverage
from .batch import Source, Tensors
from .checkpoint import CheckpointError, check, fill, named, number, read, under, write
from .clipping import raise_if, scale_gradients
from .cuda_graph import loss_and_gradients
from .distributed import Ranks
from .loss import Loss
from .prefetch import prefetched
from .train_config import Optimisation
from .training_log import LogRow, TrainingLog

Tensor = torch.Tensor

REPORT_EVERY = 50  # steps between looks at the loss, which wait for the device
LAST, BEST, LOG = "last.safetensors", "best.safetensors", "log.csv"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of Adam, for each parameter


class Trainer:
    """Trains a network by Adam into a folder; a trainer made on the folder of another one continues its training.

    The folder holds ``last.safetensors`` (with the state of the optimiser), ``best.safetensors`` (the weights of the
    best validation, or the newest ones without validation) and ``log.csv``. With ``weight_averaging`` the best weights,
    and those that are validated, are the average.

    Args:
        net: The network.
        source: Provides the batch of each step.
        loss: Returns the loss of a batch, given a function that calls the network, and the batch.
        config: How to optimise.
        out: The folder; it is made when something is written.
        metadata: What the weights are made for and from, stored in checkpoints; all of it must match to continue.
        validate: Returns the score of the network with its current weights; lower is better.
        ranks: The processes that share the training.
        compiled: Compile the network.
        graph: Record the loss and its gradients as one CUDA graph.
        asynchronous: Read nothing back from the device in a step. A step with a gradient that is not finite then
            changes no weight, and the error comes some steps later. Default: on a GPU.
        remedy: What to do if memory does not suffice.

    Raises:
        CheckpointError: If the folder holds another training or is damaged; nothing is changed then.
        OptionError: If a step cannot be recorded as a graph.
        ValueError: If the network has no parameters to which an option applies.
    """

    def __init__(
        self,
        net: TrainableNetwork,
        source: Source,
        loss: Loss,
        config: Optimisation,
        out: Path,
        metadata: Mapping[str, Any],
        *,
        validate: Callable[[], float] | None = None,
        ranks: Ranks | None = None,
        compiled: bool = False,
        graph: bool = False,
        asynchronous: bool | None = None,
        remedy: str = "choose a smaller batch",
    ) -> None:
        self.net, self.source, self.loss, self.config = net, source, loss, config
        self.out, self.validate, self.remedy = out, validate, remedy
        self.ranks = ranks or Ranks()
        self.metadata = {**metadata, **config.metadata()}
        self.device = next(net.parameters()).device
        self.asynchronous = self.device.type == "cuda" if asynchronous is None else asynchronous
        fused = self.asynchronous or None  # only the fused step can be left out by a number on the device
        groups = _groups(net, config)
        self.adam: Any = torch.optim.Adam(groups, lr=config.rate, betas=net.betas, eps=1e-8, fused=fused)
        self._not_finite = torch.zeros((), dtype=torch.bool, device=self.device)
        self.step, self.best, self.waited, self.seconds = 0, float("inf"), 0, 0.0
        self.average = WeightAverage(net, config.weight_averaging)
        if out.exists() and not out.is_dir():
            raise CheckpointError(f"{out} is not a folder: choose another one")
        self.log = TrainingLog(out / LOG)
        self._resume()
        if self.ranks.rank == 0:
            _remove_leftovers(out)
        self._forward = self.ranks.wrap(net, compiled=compiled)
        if graph and self.ranks.many:
            raise OptionError("a training by several processes cannot record its step: choose graph off")
        self._loss_and_gradients = loss_and_gradients(net, lambda batch: self.loss(self._forward, batch), graph=graph)
        if self.ranks.rank == 0:
            self.log.open_board()

    # ------------------------------------------------------------ the loop

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Train and save.

        Args:
            stop: Called before each step; the training is saved and ends early if it returns True.

        Returns:
            True if the training is finished: all steps are done, or ``patience`` is used up.

        Raises:
            MemoryError: If the memory does not suffice, with what to do.
            FloatingPointError: If a gradient is not finite.
            RunError: If a file cannot be written.
        """
        start, saved = time.monotonic() - self.seconds, time.monotonic()
        config = self.config
        with (
            prefetched(self.source, self.step, config.steps, self.device) as batches,
            progress.bar(config.steps, self.out.name, "step", done=self.step) as bar,
        ):
            while self.step < config.steps and not 0 < config.patience <= self.waited:
                if self.ranks.any(stop()):
                    self.save()
                    return False
                rate = config.rate_at(self.step)
                value = self._learn(next(batches), rate)
                self.step += 1
                self.seconds = time.monotonic() - start
                self.log.add(LogRow(self.step, value, rate, self.seconds))
                bar.update()
                if self.step % config.valid_every == 0 or self.step == config.steps:
                    raise_if(self._not_finite)
                    self._judge()
                    self.seconds = time.monotonic() - start
                    self.save()
                    saved = time.monotonic()
                elif time.monotonic() - saved >= config.save_seconds:
                    self.save()
                    saved = time.monotonic()
                if self.step % REPORT_EVERY == 0:
                    raise_if(self._not_finite)
                    bar.set_postfix(loss=f"{float(value):.4g}", best=f"{self.best:.6g}")
        return True

    def _learn(self, batch: Tensors, rate: float) -> Tensor:
        """One step on this process's rows of the batch; the loss of all rows, still on the device."""
        self.net.train()
        for group in self.adam.param_groups:
            group["lr"] = rate * group["share"]
        with explain_out_of_memory(self.remedy):
            value = self._loss_and_gradients(batch)
            not_finite = scale_gradients(self.net, self.config.clip_norm)
            if self.asynchronous:
                self._not_finite |= not_finite
                self.adam.found_inf = not_finite.float()  # of 1 the fused step changes nothing
            else:
                raise_if(not_finite)
            self.adam.step()
        self.average.update(self.step)
        return self.ranks.mean(value)

    def _judge(self) -> None:
        """Validate, and keep the weights if they are the best."""
        if self.validate is None:
            return
        with self.average.applied():
            score = self.validate()
        self.log.add_validation(score)
        if score < self.best:
            self.best, self.waited = score, 0
            self._save_best()
        else:
            self.waited += 1

    # ------------------------------------------------------------ what is kept

    def _save_best(self) -> None:
        if self.ranks.rank == 0:
            metadata = {"kind": "weights", **self.metadata, "step": self.step, "score": _finite(self.best)}
            with writing(self.out / BEST):
                self.out.mkdir(parents=True, exist_ok=True)
                write(self.out / BEST, named("net", self.net.state_dict() | self.average.values), metadata)

    def save(self) -> None:
        """Write the log and ``last.safetensors``, from which a training continues.

        Raises:
            RunError: If a file cannot be written.
            FloatingPointError: If a gradient was not finite; nothing is written then.
        """
        raise_if(self._not_finite)
        if self.ranks.rank:
            self.log.clear()
            return
        with writing(self.out / LOG):
            self.out.mkdir(parents=True, exist_ok=True)
            self.log.write(self.step + 1)
        if self.validate is None:
            self._save_best()
        tensors = named("net", self.net.state_dict()) | named("ema", self.average.values)
        for name, parameter in self.net.named_parameters():
            for part, value in self.adam.state.get(parameter, {}).items():
                tensors[f"adam.{part}.{name}"] = value.detach().clone()
        counters = {"step": self.step, "score": _finite(self.best), "waited": self.waited, "seconds": self.seconds}
        with writing(self.out / LAST):
            write(self.out / LAST, tensors, {"kind": "training", **self.metadata, **counters})

    def _resume(self) -> None:
        """Continue from ``last.safetensors`` if it exists. Raises CheckpointError, and then changes nothing."""
        path = self.out / LAST
        if not path.exists():
            return
        tensors, found = read(path)
        self._check_metadata(found, path)
        step, waited = (number(found, name, path) for name in ("step", "waited"))
        seconds = number(found, "seconds", path, (int, float))
        best = float("inf") if found.get("score", "") is None else number(found, "score", path, (int, float))
        parameters = dict(self.net.named_parameters())
        moments = {part: under(f"adam.{part}", tensors) for part in MOMENTS}
        for part, values in moments.items():  # at step 0 there are none
            each = {n: torch.zeros(()) if part == "step" else p for n, p in parameters.items()}
            check(values, each if step else {}, path)
        averages = under("ema", tensors)
        self.average.check(averages, path)
        fill(self.net, under("net", tensors), path)
        self.average.restore(averages)
        for part, values in moments.items():
            for name, value in values.items():
                place = "cpu" if part == "step" and not self.asynchronous else parameters[name].device
                self.adam.state[parameters[name]][part] = value.to(place)
        self.step, self.waited, self.seconds, self.best = step, waited, seconds, best

    def _check_metadata(self, found: Mapping[str, Any], path: Path) -> None:
        wanted = {"kind": "training", **self.metadata}
        other = [f"{name} {found.get(name)}, not {value}" for name, value in wanted.items() if found.get(name) != value]
        if other:
            raise CheckpointError(
                f"{path} is of a training with {'; '.join(other)}: give the same options to continue it, or choose "
                "another folder for a new one"
            )


def _groups(net: TrainableNetwork, config: Optimisation) -> list[dict[str, Any]]:
    """Groups of parameters for Adam. Raises ValueError if a rate of the links is set but there are none."""
    groups = net.parameter_groups(config.link_rate_share)
    if any(group["share"] != 1 and not group["params"] for group in groups):
        raise ValueError("link_rate_share applies to layers with links, such as TrajGRU, and this network has none")
    return groups


def _remove_leftovers(out: Path) -> None:
    """Remove the partial files of a training that was killed while it wrote, see ``write_atomically``."""
    for name in (LAST, BEST, LOG):
        for path in out.glob(f"{name}.*.partial"):
            path.unlink(missing_ok=True)


def _finite(score: float) -> float | None:
    return None if score == float("inf") else score

"""All options of a training: one definition for the command, the metadata of checkpoints and the documentation."""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from ..networks.flow_net import FLOW_NET
from ..networks.registry import find_network
from ..networks.transition import Fused
from .clipping import CLIP_NORM

FLOW_NET_DEFAULTS: dict[str, Any] = {
    "steps": 5000,
    "batch": 8,
    "crop": 160,
    "rate": 1.5e-3,
    "schedule": "one-cycle",
    "clip_norm": 1.0,
    "weight_averaging": 0.998,
    "valid_every": 500,
}
WARM_UP = 0.1  # share of the steps of one cycle in which the learning rate rises


class Stored(NamedTuple):
    """Marks an option that determines the weights a training ends with: checkpoints store it.

    Attributes:
        name: Its name in checkpoints, where that of an earlier version is kept; empty: the name of the field.
    """

    name: str = ""


@dataclass(frozen=True)
class Optimisation:
    """How a network is optimised and its weights are kept; the defaults are those of the released code for HKO-7.

    Raises:
        ValueError: If a value is out of range.
    """

    steps: Annotated[int, "number of optimiser steps (CNNs: 80000, flow_net: 5000)"] = 100_000
    rate: Annotated[float, "learning rate of Adam", Stored()] = 1e-4
    link_rate_share: Annotated[
        float, "share of the learning rate for the parameters that generate TrajGRU's links", Stored("link_rate")
    ] = 1.0
    decay: Annotated[float, "factor of the learning rate, applied after every decay_every steps", Stored()] = 0.7
    decay_every: Annotated[int, "steps between decays of the learning rate", Stored()] = 20_000
    rate_floor: Annotated[float, "learning rate below which it does not decay", Stored("floor")] = 1e-6
    schedule: Annotated[
        Literal["decay", "one-cycle"],
        "decay in steps, or one cycle: up to the learning rate in the first tenth of the steps, then down to 0",
        Stored(),
    ] = "decay"
    clip_norm: Annotated[float, "largest norm of the gradients of each part of the network", Stored("clip")] = CLIP_NORM
    weight_averaging: Annotated[
        float,
        "decay of a moving average of the weights, such as 0.998, which is validated and kept; 0 for none",
        Stored("ema"),
    ] = 0.0
    valid_every: Annotated[int, "steps between validations"] = 10_000
    patience: Annotated[int, "validations without improvement after which training stops; 0 for no limit"] = 0
    save_seconds: Annotated[float, "seconds between checkpoints"] = 120.0

    def __post_init__(self) -> None:
        for name in ("steps", "decay_every", "valid_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("rate", "link_rate_share", "rate_floor", "clip_norm", "patience"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.weight_averaging < 1:
            raise ValueError(f"weight_averaging must be at least 0 and below 1, got {self.weight_averaging}")

    def rate_at(self, step: int) -> float:
        """The learning rate of ``step``, counted from 0; one cycle rises linearly and falls as a cosine."""
        if self.schedule == "one-cycle":
            done = (step + 1) / self.steps
            falling = (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
            return self.rate * (done / WARM_UP if done < WARM_UP else falling)
        return max(self.rate * self.decay ** (step // self.decay_every), min(self.rate_floor, self.rate))

    def metadata(self) -> dict[str, Any]:
        """The options that determine the weights a training ends with, by their names in checkpoints."""
        values = {stored: getattr(self, name) for name, stored in stored_names(type(self)).items()}
        if self.schedule == "decay":  # earlier versions had no other and did not store it
            del values["schedule"]
        else:
            values["steps"] = self.steps
        return values


@dataclass(frozen=True)
class TrainConfig(Optimisation):
    """All options of a training on radar frames.

    Raises:
        ValueError: If a value is out of range, or two options do not go together.
    """

    split: Annotated[str, "split of each archive to learn from", Stored()] = "train"
    valid: Annotated[str, "split to validate on, of those archives that have it, or none", Stored()] = "valid"
    valid_limit: Annotated[int | None, "sequences to validate on, evenly spaced; none for all", Stored()] = None
    batch: Annotated[int, "windows in a step, of all processes together (CNNs and flow_net: 8)", Stored()] = 4
    crop: Annotated[int | None, "side in px of the part of a frame to learn from; none for all of it", Stored()] = None
    rain_candidates: Annotated[
        int, "windows to draw, of which the one with the rainiest newest input is learned from", Stored("draws")
    ] = 1
    varied: Annotated[
        bool,
        "vary orientation, intensity, classes and time step of the windows (flow_net always does)",
        Stored(),
    ] = False
    synthetic_size: Annotated[
        int | None,
        "learn from synthetic rain made during the training, this many px a side; validate on the archive",
        Stored("generate"),
    ] = None
    synthetic_rows: Annotated[
        int | None,
        "with synthetic_size: windows of each batch that are synthetic, the others are of the archives; none for all",
        Stored(),
    ] = None
    resident: Annotated[bool, "keep all frames of the split on the device and cut the windows there"] = False
    seed: Annotated[int, "seed of initial weights and windows", Stored()] = 0
    size: Annotated[str, "small, or full: as wide as in the paper"] = "small"
    checkpoint: Annotated[Path | None, "file of the weights to begin with; none for random ones"] = None
    update_gate_bias: Annotated[
        float, "initial bias of the update gates of recurrent layers; states last longer above 0", Stored("memory")
    ] = 0.0
    link_spacing: Annotated[
        float,
        "spacing in px of the spiral on which the links of TrajGRU are initialised; 0 to leave them as they are",
        Stored("spread"),
    ] = 0.0
    balanced: Annotated[bool, "learn by B-MSE + B-MAE, otherwise by MSE + MAE", Stored()] = True
    lead_weighting: Annotated[float, "P: lead k = 1 to 20 has the weight k^-P in the loss", Stored("lead_power")] = 0.0
    precision: Annotated[Literal["float32", "bf16"], "number format of convolutions", Stored()] = "float32"
    device: Annotated[str, "auto (a GPU if there is one), cpu or cuda"] = "auto"
    compile: Annotated[bool, "compile the network with torch.compile"] = False
    graph: Annotated[bool, "record a step as one CUDA graph, on a GPU"] = False
    fused: Annotated[Fused, "one kernel for a transition of TrajGRU, on a GPU; auto: if it is faster"] = "auto"
    threads: Annotated[int | None, "threads of the CPU; none for torch's choice"] = None
    out: Annotated[Path | None, "folder of checkpoints and log; none for training/MODEL-SIZE"] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("valid_limit", "synthetic_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.synthetic_rows is not None:
            self._check_synthetic_rows(self.synthetic_rows)
        elif self.synthetic_size is not None:
            archive = ("split", "crop", "rain_candidates", "varied", "resident")
            self._refuse("synthetic_size", "does not learn from the archive", archive)
        if self.schedule == "one-cycle":
            self._refuse("schedule one-cycle", "has no decay in steps", ("decay", "decay_every", "rate_floor"))
        if self.valid == "none":
            self._refuse("valid none", "validates on nothing", ("valid_limit", "patience"))

    def _check_synthetic_rows(self, rows: int) -> None:
        if self.synthetic_size is None:
            raise ValueError("synthetic_rows needs synthetic_size: give the side of the windows, or leave it out")
        if not 1 <= rows < self.batch:
            raise ValueError(f"synthetic_rows must be at least 1 and below the batch of {self.batch}, got {rows}")
        if self.crop not in (None, self.synthetic_size):
            raise ValueError(
                f"windows of a batch are of one size, got synthetic_size {self.synthetic_size} and crop {self.crop}: "
                "leave crop out"
            )

    def refuse_for(self, model: str, options: tuple[str, ...]) -> None:
        """Raise ValueError if one of ``options``, which a network has no use for, does not have its default."""
        self._refuse(model, "has no use for it", options)

    def _refuse(self, chosen: str, reason: str, others: tuple[str, ...]) -> None:
        """Raise ValueError if one of ``others`` does not have its default."""
        for field in fields(self):
            if field.name in others and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{chosen} and {field.name} do not go together: {chosen} {reason}; leave one of them out"
                )

    def metadata(self) -> dict[str, Any]:
        """As :meth:`Optimisation.metadata`; earlier versions lacked ``varied`` and ``synthetic_rows``."""
        values = super().metadata()
        if not self.varied:
            del values["varied"]
        if self.synthetic_rows is None:
            del values["synthetic_rows"]
        return values

    @classmethod
    def for_model(cls, model: str, given: Mapping[str, Any]) -> Self:
        """The options of a training of one network, with its own defaults: those of the released code, or flow_net's.

        Args:
            model: One of :data:`agents.networks.registry.NETWORKS`, or flow_net.
            given: Values of fields.

        Raises:
            ValueError: If there is no such network, or as the class raises it.
        """
        if model == FLOW_NET:
            if "varied" in given:
                raise ValueError("flow_net always learns from varied windows: leave varied out")
            return cls(**{**FLOW_NET_DEFAULTS, **given})
        network = find_network(model)
        return cls(**{"steps": network.steps, "batch": network.batch, **given})


def stored_names(config: type[Optimisation]) -> dict[str, str]:
    """Name in checkpoints of each option that is stored, by the name of its field."""
    names = {}
    for name, hint in typing.get_type_hints(config, include_extras=True).items():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, Stored):
                names[name] = mark.name or name
    return names

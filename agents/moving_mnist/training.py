"""Training of the networks of Table 1 on MovingMNIST++."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ..learning.train_config import Optimisation
from ..learning.trainer import Trainer
from ..networks.devices import select_device
from ..networks.registry import DIGIT_NETWORKS, find_network
from .data import PAPER_ROTATION, ROTATION
from .experiment import RATE, DigitSource, Images, build_network, digest_images, squared_error

OUT = Path("mnist")  # default folder of all trainings


@dataclass(frozen=True)
class DigitConfig:
    """Options of a training on MovingMNIST++; the defaults are the paper's, with the data of the released code."""

    seed: Annotated[int, "seed of initial weights and sequences"] = 0
    schedule: Annotated[Literal["paper", "short"], "paper: 200000 steps, CNNs 100000; short: a fifth of them"] = "paper"
    steps: Annotated[int | None, "number of steps, with the decay of the rate scaled to it; none: by schedule"] = None
    batch: Annotated[int | None, "sequences in a step; none: 4, CNNs 32"] = None
    rate: Annotated[float, "learning rate of Adam"] = RATE
    decay_every: Annotated[
        int | None, "steps after which the learning rate is multiplied by 0.7; none: a tenth of all, CNNs a fifth"
    ] = None
    rotation: Annotated[
        float, f"largest rotation in degrees per frame; the paper prints {PAPER_ROTATION:g}, the test file has 30"
    ] = ROTATION
    precision: Annotated[Literal["float32", "bf16"], "number format of convolutions"] = "float32"
    graph: Annotated[bool, "record a step as one CUDA graph, on a GPU"] = False
    device: Annotated[Literal["auto", "cpu", "cuda"], "device; auto is cuda where it is available"] = "auto"
    save_seconds: Annotated[float, "seconds between checkpoints"] = 120.0
    out: Annotated[Path | None, "folder of checkpoints and log; none: mnist/MODEL-STEPS-seedSEED"] = None


def make_optimisation(model: str, config: DigitConfig) -> Optimisation:
    """How to optimise one of ``DIGIT_NETWORKS``.

    As in the paper the learning rate is multiplied by 0.7 every 20,000 steps of 200,000, for CNNs of 100,000. With
    fewer or more steps the decay is as much faster or slower, unless ``decay_every`` is given. There is no validation:
    the last weights count.

    Raises:
        ValueError: If there is no such network, or a value is out of range.
    """
    spec = find_network(model, DIGIT_NETWORKS)
    steps = config.steps
    if steps is None:
        steps = spec.steps if config.schedule == "paper" else spec.steps // 5
    decays = spec.steps // Optimisation.decay_every
    return Optimisation(
        steps,
        config.rate,
        decay_every=max(1, steps // decays) if config.decay_every is None else config.decay_every,
        clip_norm=spec.clip,
        valid_every=max(1, steps),
        save_seconds=config.save_seconds,
    )


def make_trainer(model: str, widths: Sequence[int] | None, config: DigitConfig, images: Images) -> Trainer:
    """The training of one network, which continues one that is already in its folder.

    Args:
        model: One of ``DIGIT_NETWORKS``.
        widths: Of a smaller network, see ``narrow_table``; None: as in the paper.
        config: Options.
        images: (N, 28, 28) uint8, the training images of MNIST.

    Raises:
        ValueError: If an option does not fit, or the folder holds another training.
    """
    narrow = None if widths is None else list(widths)
    optimisation = make_optimisation(model, config)
    batch = DIGIT_NETWORKS[model].batch if config.batch is None else config.batch
    device = select_device(config.device)
    net = build_network(model, narrow, seed=config.seed, precision=config.precision, device=str(device))
    source = DigitSource(images, batch, seed=config.seed, rotation=config.rotation, device=device)
    metadata = net.metadata | {
        "digits": digest_images(images),
        "batch": batch,
        "seed": config.seed,
        "rotation": config.rotation,
        "precision": config.precision,
    }
    name = [model, *(["w" + ".".join(map(str, narrow))] if narrow else [])]
    out = config.out or OUT / "-".join([*name, str(optimisation.steps), f"seed{config.seed}"])
    remedy = f"choose a batch below {batch}, the precision bf16 or a narrower network"
    return Trainer(net, source, squared_error, optimisation, out, metadata, graph=config.graph, remedy=remedy)

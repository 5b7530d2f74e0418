"""Train a network: ``python tools/train.py agents.trajgru --archive radar.zarr``, on many GPUs by ``torchrun``.

Stopped and started again with the same command, a training goes on where it was, and ends with the same weights.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(Path.cwd())]  # our `agents`, whatever else is installed under that name

from tools.interrupts import importing  # noqa: E402

with importing("train"):
    import gymnasium
    import numpy as np
    import torch
    import torch.distributed as dist

    from agents.learning.archive_sampler import Windows
    from agents.learning.checkpoint import digest
    from agents.learning.torch_rain import Generator
    from agents.learning.trainer import BEST, LAST, Ranks, Settings, Trainer, interruptible
    from agents.learning.validation import Validation, rain_loss
    from agents.networks.encoder_forecaster import PRECISIONS
    from agents.networks.paper_tables import total_stride
    from agents.networks.recurrent import ConvGRU, TrajGRU
    from agents.networks.registry import BATCH, MODELS, SIZES, STEPS, build, facts, load_weights, table, usable
    from hko7env.archive import Archive
    from hko7env.contract import Task
    from hko7env.naming import suggest
    from hko7env.schedule import INPUTS, LEADS

SETTINGS = (  # options that are fields of Settings
    "steps", "rate", "link_rate", "decay", "decay_every", "ema", "valid_every", "patience", "save_seconds",
)  # fmt: skip
BOUND = (  # options that, beside those, decide what a training ends with
    "split", "batch", "crop", "draws", "generate", "seed", "memory", "spread", "balanced", "lead_power", "precision",
    "valid", "valid_limit",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, print; the exit status is 0, 1 for an error and 130 for an interrupt."""
    torchrun = "LOCAL_RANK" in os.environ  # it passes on what its processes have had already
    try:
        words = parser().parse_args(arguments)
        with interruptible(once=not torchrun) as stopped:
            device = join(words.device)
            ranks = Ranks()
            trainer = prepare(words, device, ranks)
            finished = trainer.run(stopped)
    except KeyboardInterrupt:
        print("\nstopped at once; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError, FloatingPointError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    if ranks.rank == 0:
        best = "" if trainer.best == float("inf") else f", best validation B-MSE + B-MAE {trainer.best:.1f}"
        state = "finished" if finished else "stopped; the same command goes on from there"
        print(f"{state}: {trainer.step} steps in {trainer.seconds:.0f} s{best}")
        weights = next(path for path in (trainer.out / BEST, trainer.out / LAST) if path.exists())
        print(f"Weights: {weights}, for --checkpoint of tools/evaluate.py")
    return 0 if finished else 130


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = result.add_argument
    add("agent", metavar="AGENT", help="; ".join(f"agents.{name}" for name in MODELS))
    add("--archive", required=True, help="path or URL of an archive")
    add("--split", default="train", help="the split to learn from; default: train")
    add("--valid", default="valid", help="the split to validate on, or none; default: valid")
    add("--valid-every", type=int, default=10_000, metavar="STEPS", help="default: 10000")
    add("--valid-limit", type=int, metavar="N", help="validate on N sequences, spread evenly; default: all")
    add("--patience", type=int, default=0, metavar="N", help="stop after N validations without a better one")
    add("--out", type=Path, help="folder of checkpoints and log; default: training/MODEL-SIZE")
    add("--size", default="small", help=f"{' or '.join(SIZES)} (as wide as in the paper); default: small")
    add("--checkpoint", type=Path, metavar="FILE", help="begin with its weights; default: drawn from --seed")
    add("--steps", type=int, help="default: 100000, CNNs 80000")
    add("--batch", type=int, help="windows a step, of all processes together; default: 4, CNNs 8")
    add("--crop", type=int, help="px a side of the part of a frame that is learned from; default: whole frames")
    add(
        "--generate",
        type=int,
        metavar="PX",
        help="learn from synthetic rain made as it goes, PX a side",
    )
    add("--draws", type=int, default=1, metavar="N", help="learn from the rainiest of N windows drawn; default: 1")
    add("--seed", type=int, default=0, help="of weights and windows; default: 0")
    add("--memory", type=float, default=0, metavar="BIAS", help="of the update gates at the start; default: 0")
    add("--spread", type=float, default=0, metavar="PX", help="of the links at the start; default: 0")
    add("--rate", type=float, default=1e-4, help="of Adam; default: 1e-4")
    add("--link-rate", type=float, default=1.0, metavar="SHARE", help="of --rate, for links' generators; default: 1")
    add("--decay", type=float, default=0.7, help="factor of the rate, every --decay-every; default: 0.7")
    add("--decay-every", type=int, default=20_000, metavar="STEPS", help="default: 20000")
    add("--ema", type=float, default=0.0, metavar="SHARE", help="keep an average of the weights, as 0.998; default: 0")
    add("--balanced", type=flag, default=True, metavar="BOOL", help="B-MSE + B-MAE, else MSE + MAE; default: true")
    add("--lead-power", type=float, default=0.0, metavar="P", help="lead k weighs k^-P in the loss; default: 0")
    add("--precision", default="float32", choices=PRECISIONS, help="default: float32")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: cuda if there is one")
    add("--compile", type=flag, default=False, metavar="BOOL", help="by torch.compile; default: false")
    add("--graph", type=flag, default=False, metavar="BOOL", help="one CUDA graph of a step; default: false")
    add("--threads", type=int, help="of the processor; default: torch's choice")
    add("--save-seconds", type=float, default=120.0, help="between checkpoints; default: 120")
    return result


def flag(text: str) -> bool:
    """A truth value as a word."""
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"true or false is expected, got {text!r}")
    return text.lower() in ("true", "1", "yes")


def join(device: str) -> str:
    """Join the processes of a ``torchrun``, if this is one of them, and return the device that is its own."""
    usable(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    warnings.filterwarnings("ignore", message="Grad strides do not match")  # of 1 x 1 weights, channels last
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def prepare(words: argparse.Namespace, device: str, ranks: Ranks) -> Trainer:
    """The training that the words of the command ask for."""
    model = words.agent.removeprefix("agents.")
    if model not in MODELS:
        raise ValueError(
            f"{words.agent!r} cannot be trained, {suggest(words.agent, [f'agents.{name}' for name in MODELS])}"
        )
    words.steps = STEPS[model] if words.steps is None else words.steps
    words.batch = BATCH[model] if words.batch is None else words.batch
    if words.threads:
        torch.set_num_threads(words.threads)
    archive = Archive(words.archive)
    cut = words.generate or words.crop
    side = (cut, cut) if cut else archive.shape
    task = Task(INPUTS, LEADS, *side, archive.cadence, np.ones(side, bool), archive.zr)
    stride = total_stride(table(model, words.size))
    rows = ranks.share(words.batch)
    source: Any
    if words.generate:
        own = words.seed * ranks.count + ranks.rank  # weather of its own for each process
        source = Generator(side, INPUTS + LEADS, len(rows), seed=own, cadence=archive.cadence, device=device)
    else:
        where = {"crop": words.crop, "stride": stride, "draws": words.draws}
        source = Windows(archive, words.split, rows, seed=words.seed, **where)
    net: Any = build(model, words.size, task, seed=words.seed, precision=words.precision, device=device)
    bound = facts(model, words.size, task)
    begun = begin(net, words, bound)
    if ranks.many and device.startswith("cuda"):
        net = torch.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    bound |= {
        "checkpoint": begun,
        "cadence": archive.cadence,
        "archive": archive.fingerprint,
        **{name: getattr(words, name) for name in BOUND},
    }
    if net.sums_leads:  # earlier versions took the mean: a training of theirs is another one
        bound["loss"] = "sum over leads"
    validate = None
    if words.valid != "none":
        env = gymnasium.make("HKO7-Offline-v0", archive=words.archive, split=words.valid).unwrapped
        validate = Validation(env, net, ranks, words.valid_limit)
    remedy = f"choose a --batch below {words.batch}, a --crop below {min(side)}, --size small or --precision bf16"
    return Trainer(
        net,
        source,
        rain_loss(task, balanced=words.balanced, lead_power=words.lead_power),
        Settings(**{name: getattr(words, name) for name in SETTINGS}),
        words.out or Path("training") / f"{model}-{words.size}",
        bound,
        validate=validate,
        ranks=ranks,
        compiled=words.compile,
        graph=words.graph,
        remedy=remedy,
    )


def begin(net: Any, words: argparse.Namespace, bound: dict[str, Any]) -> str | None:
    """Give ``net`` the weights that training begins with, and return their digest, or None if they are drawn."""
    begun = None
    if words.checkpoint is not None:
        load_weights(net, words.checkpoint, bound)
        begun = digest(net.state_dict())
    for name, kind, start in (("memory", ConvGRU, ConvGRU.prolong), ("spread", TrajGRU, TrajGRU.spread)):
        if value := getattr(words, name):
            layers = [layer for layer in net.modules() if isinstance(layer, kind)]
            if not layers:
                raise ValueError(f"--{name} is of {kind.__name__} layers, and {words.agent} has none")
            for layer in layers:
                start(layer, value)
    return begun


if __name__ == "__main__":
    sys.exit(main())

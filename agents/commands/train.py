"""Train a network: ``hko7env train agents.trajgru --archive radar.zarr``, on several GPUs by ``torchrun``.

A training that is stopped continues when the same command is given again, and ends with the same weights.
"""

import dataclasses
import os

import torch

from hko7env.allocator import keep_freed_memory
from hko7env.archive import Archive
from hko7env.command_line import Parser, weighted_archive
from hko7env.loading import available
from hko7env.naming import suggest
from hko7env.options import add_options, given

from ..learning.distributed import Ranks, join_processes, leave_processes
from ..learning.interrupts import interruptible
from ..learning.radar_training import TRAINABLE, make_trainer
from ..learning.train_config import TrainConfig
from ..learning.trainer import BEST, LAST, Trainer

PROGRAM = "hko7env train"
RENAMED = {
    "--memory": "--update-gate-bias",
    "--spread": "--link-spacing",
    "--draws": "--rain-candidates",
    "--generate": "--synthetic-size",
    "--ema": "--weight-averaging",
    "--lead-power": "--lead-weighting",
    "--link-rate": "--link-rate-share",
}


def main(arguments: list[str] | None = None) -> int:
    """Train the network that ``arguments`` name, and print where its weights are.

    Returns:
        The exit status: 0 if the training is finished, 130 if it was stopped.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If options, archive, checkpoint and network do not fit.
        OSError: If a file cannot be read or written.
        MemoryError: If the memory does not suffice.
        FloatingPointError: If a gradient is not finite.
        KeyboardInterrupt: If a second signal comes.
    """
    model, archives, config = parse(arguments)
    keep_freed_memory()
    torchrun = "LOCAL_RANK" in os.environ  # it passes on a signal that its processes have received already
    try:
        with interruptible(once=not torchrun) as stopped:
            if config.threads:
                torch.set_num_threads(config.threads)
            config = dataclasses.replace(config, device=join_processes(config.device))
            trainer = make_trainer(model, [(Archive(name), share) for name, share in archives], config, Ranks())
            finished = trainer.run(stopped)
    finally:
        leave_processes()
    if trainer.ranks.rank == 0:
        _report(trainer, finished)
    return 0 if finished else 130


def parse(arguments: list[str] | None = None) -> tuple[str, list[tuple[str, float]], TrainConfig]:
    """The name of the network, the archives with their shares and the options of a command line.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If an option has a value that it cannot have.
    """
    args = make_parser().parse_args(arguments)
    model = args.agent.removeprefix("agents.")
    if model not in TRAINABLE:
        networks = [f"agents.{name}" for name in TRAINABLE]
        hint = f"only {', '.join(networks)} can" if args.agent in available() else suggest(args.agent, networks)
        raise ValueError(f"{args.agent!r} cannot be trained, {hint}")
    return model, args.archive, TrainConfig.for_model(model, given(args, TrainConfig))


def make_parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(PROGRAM, __doc__ or "", renamed=RENAMED)
    parser.add_argument("agent", metavar="AGENT", help=", ".join(f"agents.{name}" for name in TRAINABLE))
    help_text = "paths or URLs of archives, each with its share of the windows to learn from; without a share: 1"
    parser.add_argument(
        "--archive", nargs="+", required=True, type=weighted_archive, metavar="PATH[=SHARE]", help=help_text
    )
    add_options(parser, TrainConfig)
    return parser


def _report(trainer: Trainer, finished: bool) -> None:
    best = "" if trainer.best == float("inf") else f", best validation score {trainer.best:.6g}"
    state = "finished" if finished else "stopped; the same command continues from there"
    print(f"{state}: {trainer.step} steps in {trainer.seconds:.0f} s{best}")
    weights = next(path for path in (trainer.out / BEST, trainer.out / LAST) if path.exists())
    print(f"Weights: {weights}, for the option --checkpoint of hko7env evaluate")

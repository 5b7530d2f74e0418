"""Table 1 of Shi et al. 2017, ten networks on MovingMNIST++: train and test them, print the table, draw forecasts.

A training that is stopped continues when the same command is given again, and ends with the same weights.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hko7env.command_line import Parser, UsageError, add_out, integer
from hko7env.files import write_atomically
from hko7env.naming import suggest
from hko7env.options import add_options, given

from ..learning.interrupts import interruptible
from ..moving_mnist.animation import draw_film, encode_webp
from ..moving_mnist.experiment import TRIVIAL, Run, digest_images, measure_errors
from ..moving_mnist.files import read_mnist, read_official
from ..moving_mnist.rendering import render
from ..moving_mnist.results import Result, describe_result, format_differences, format_table, read_results
from ..moving_mnist.training import OUT, DigitConfig, make_trainer
from ..networks.devices import select_device
from ..networks.registry import DIGIT_NETWORKS, find_network

PROGRAM = "hko7env moving-mnist"
DEVICES = ("auto", "cpu", "cuda")
RENAMED = {"test": {"--root": "--out"}, "table": {"--root": "the folder without an option"}}


def main(arguments: list[str] | None = None) -> int:
    """Run the part of the command that the first of ``arguments`` names, with the rest.

    Returns:
        The exit status: 0, or 130 if a training was stopped.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If a value, a file or a checkpoint cannot be used.
        OSError: If a file cannot be read or written.
        MemoryError: If the memory does not suffice.
        FloatingPointError: If a gradient is not finite.
        KeyboardInterrupt: If a second signal comes.
    """
    words = sys.argv[1:] if arguments is None else arguments
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    parser = Parser(PROGRAM, "\n".join([__doc__ or "", "commands:", *rows]))
    parser.usage = f"{PROGRAM} COMMAND ..."
    parser.add_argument("command", metavar="COMMAND", help="one of the commands above, followed by its options")
    name = parser.parse_args(words[:1]).command
    if name not in COMMANDS:
        parser.error(f"there is no command {name!r}, {suggest(name, COMMANDS)}")
    run, _ = COMMANDS[name]
    return run(words[1:])


def train(arguments: list[str]) -> int:
    """Train a network until the end or a signal."""
    parser = _make_parser("train")
    parser.add_argument("model", metavar="MODEL", help=", ".join(DIGIT_NETWORKS))
    help_text = "numbers of channels of a smaller network, 4 for recurrent networks, 1 for CNNs; default: the paper's"
    parser.add_argument("--narrow", type=int, nargs="+", metavar="WIDTH", help=help_text)
    add_options(parser, DigitConfig)
    _add_mnist(parser)
    args = _parse(parser, arguments)
    find_network(args.model, DIGIT_NETWORKS)  # a misspelt name is reported before missing files are
    with interruptible() as stopped:
        config = DigitConfig(**given(args, DigitConfig))
        trainer = make_trainer(args.model, args.narrow, config, read_mnist(args.mnist))
        finished = trainer.run(stopped)
    state = "finished" if finished else "stopped; the same command continues from there"
    print(f"{state}: {trainer.step} steps in {trainer.seconds:.0f} s")
    print(f"Test it: {PROGRAM} test {trainer.out}")
    return 0 if finished else 130


def test(arguments: list[str]) -> int:
    """Score trainings, or trivial forecasts, on the official sequences and write each result."""
    parser = _make_parser("test")
    help_text = f"folders of trainings; {' and '.join(TRIVIAL)} are the trivial forecasts"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=help_text)
    parser.add_argument("--limit", type=integer(1), metavar="N", help="the first N sequences; default: all 10000")
    parser.add_argument("--batch", type=integer(1), default=32, metavar="N", help="sequences at a time; default: 32")
    add_out(parser, f"folder for the results of {' and '.join(TRIVIAL)}", str(OUT))
    _add_device(parser)
    _add_mnist(parser)
    args = _parse(parser, arguments)
    images, parameters = read_mnist(args.mnist), read_official(args.mnist)[: args.limit]
    device = str(select_device(args.device))
    for name in args.runs:
        run = None if name in TRIVIAL else Run.read(Path(name), device)
        forecast = TRIVIAL[name] if run is None else run.net
        title = Path(name).name
        errors = measure_errors(forecast, images, parameters, device=device, batch=args.batch, title=title)
        result = Result.summarise(run or name, errors, digest_images(images))
        path = result.write(args.out / name if run is None else Path(name))
        leads = " ".join(f"{100 * lead:.2f}" for lead in result.leads)
        print(f"{describe_result(result)}: {100 * result.mse:.3f}e-2 on {len(errors)} sequences; leads {leads}")
        print(f"  {path}")
    return 0


def print_table(arguments: list[str]) -> int:
    """Print Table 1 of all results in a folder, and paired differences."""
    parser = _make_parser("table")
    help_text = f"folder of the trainings; default: {OUT}"
    parser.add_argument("root", nargs="?", type=Path, default=OUT, metavar="FOLDER", help=help_text)
    args = parser.parse_args(arguments)
    results = read_results(args.root)
    print(format_table(results))
    print()
    print(format_differences(results))
    return 0


def draw(arguments: list[str]) -> int:
    """Draw forecasts of some official sequences as an animation."""
    parser = _make_parser("draw")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a training")
    help_text = "rows of the official test file; default: 0 1 2"
    parser.add_argument("--rows", type=integer(0), nargs="+", default=[0, 1, 2], metavar="ROW", help=help_text)
    add_out(parser, "a .webp file", "digits.webp")
    _add_device(parser)
    _add_mnist(parser)
    args = _parse(parser, arguments)
    if args.out.suffix != ".webp":
        raise UsageError(f"--out ends in .webp, got {args.out}")
    parameters = read_official(args.mnist)
    if max(args.rows) >= len(parameters):
        raise UsageError(f"--rows are 0 to {len(parameters) - 1}, got {max(args.rows)}")
    images = read_mnist(args.mnist)
    run = Run.read(args.run, str(select_device(args.device)))
    frames = torch.cat([render(images, parameters[row : row + 1]) for row in args.rows])
    write_atomically(args.out, encode_webp(draw_film(run.net, frames)))
    print(f"{args.out}: {run.metadata['model']} after {run.metadata['step']} steps")
    return 0


COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "train": (train, "train a network, or continue its training"),
    "test": (test, "score trainings and trivial forecasts on the official 10,000 sequences"),
    "table": (print_table, "print Table 1 of what was tested, and paired differences"),
    "draw": (draw, "draw inputs, truth, forecast and the links of a TrajGRU as an animation"),
}


def _make_parser(name: str) -> Parser:
    about = COMMANDS[name][1]
    return Parser(f"{PROGRAM} {name}", f"{about[0].upper()}{about[1:]}.", renamed=RENAMED.get(name))


def _add_device(parser: Any) -> None:
    help_text = "auto (cuda where it is available), cpu or cuda; default: auto"
    parser.add_argument("--device", choices=DEVICES, default="auto", help=help_text)


def _add_mnist(parser: Any) -> None:
    help_text = "folder of MNIST and the official test file; default: the environment variable HKO7ENV_MNIST"
    parser.add_argument("--mnist", metavar="FOLDER", help=help_text)
    parser.add_argument("--threads", type=integer(1), metavar="N", help="threads of the CPU; default: torch's choice")


def _parse(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    """The values of a command that computes."""
    args: argparse.Namespace = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    return args

"""Table 1 of Shi et al. 2017, ten networks on MovingMNIST++: train, test, table, draw.

A training that is stopped and started again by the same command goes on where it was, and ends with the same weights.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(Path.cwd())]  # our `agents`, whatever else is installed under that name

from tools.interrupts import importing  # noqa: E402

with importing("moving_mnist"):
    import torch

    from agents.learning.interrupts import interruptible
    from agents.learning.trainer import Trainer
    from agents.moving_mnist import animation as digit_film
    from agents.moving_mnist import experiment as digits
    from agents.moving_mnist import results as digit_results
    from agents.moving_mnist.data import PAPER_ROTATION, ROTATION, official, read_mnist, render
    from agents.networks.registry import PRECISIONS
    from hko7env.files import write_atomically

OUT = Path("mnist")


def main(arguments: list[str] | None = None) -> int:
    """Parse, call, print; the exit status is 0, 1 for an error and 130 for an interrupt."""
    work: dict[str, Callable[[argparse.Namespace], int]] = {
        "train": train,
        "test": test,
        "table": table,
        "draw": draw,
    }
    try:
        words = parser().parse_args(arguments)
        if getattr(words, "threads", None):
            torch.set_num_threads(words.threads)
        return work[words.work](words)
    except KeyboardInterrupt:
        print("\nstopped at once", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError, FloatingPointError) as error:
        print(f"moving_mnist: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The options of the commands."""
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = result.add_subparsers(dest="work", required=True)

    def command(name: str, text: str, *, computes: bool = True) -> Callable[..., argparse.Action]:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if computes:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            added.add_argument("--mnist", metavar="FOLDER", help="of MNIST and the test file; default: $HKO7ENV_MNIST")
            added.add_argument("--device", default=device, help="default: cuda if there is one")
            added.add_argument("--threads", type=int, help="of the processor; default: torch's choice")
        return added.add_argument

    add = command("train", "train a network, or go on with it")
    add("model", metavar="MODEL", help=", ".join(digits.MODELS))
    add("--seed", type=int, default=0, help="of weights and sequences; default: 0")
    add("--out", type=Path, help="folder of checkpoints and log; default: mnist/MODEL-STEPS-seedSEED")
    add("--schedule", default="paper", help="paper (200,000 steps, CNNs 100,000) or short, a fifth; default: paper")
    add("--steps", type=int, help="another number of steps, the rate's decay as much faster or slower")
    add("--batch", type=int, help="sequences a step; default: 4, CNNs 32")
    add("--rate", type=float, default=1e-4, help="of Adam; default: 1e-4")
    add("--decay-every", type=int, metavar="STEPS", help="rate times 0.7; default: a tenth of the steps, CNNs a fifth")
    add("--narrow", type=int, nargs="+", metavar="WIDTH", help="a small network: 4 widths, CNNs 1")
    text = f"degrees a frame at most; the paper prints {PAPER_ROTATION:g}; default: {ROTATION:g}, as in the test file"
    add("--rotation", type=float, default=ROTATION, help=text)
    add("--precision", default="float32", choices=PRECISIONS, help="default: float32")
    add("--save-seconds", type=float, default=120.0, help="between checkpoints; default: 120")

    add = command("test", "score trainings, or zero or last, on the official 10,000 sequences")
    add("runs", nargs="+", metavar="RUN", help="folder of a training; zero and last are the trivial forecasts")
    add("--limit", type=int, metavar="N", help="the first N sequences only")
    add("--batch", type=int, default=32, help="sequences at a time; default: 32")
    add("--root", type=Path, default=OUT, help="where the results of zero and last go; default: mnist")

    add = command("table", "print Table 1 of what was tested, and paired differences", computes=False)
    add("--root", type=Path, default=OUT, help="folder of the trainings; default: mnist")

    add = command("draw", "draw input, truth, forecast and the links of a TrajGRU as an animation")
    add("run", type=Path, metavar="RUN", help="folder of a training")
    add("--rows", type=int, nargs="+", default=[0, 1, 2], metavar="ROW", help="of the test file; default: 0 1 2")
    add("--out", type=Path, default=Path("digits.webp"), help="a .webp file; default: digits.webp")
    return result


def train(words: argparse.Namespace) -> int:
    """Train until the end or a signal."""
    with interruptible() as stopped:
        trainer = prepare(words)
        finished = trainer.run(stopped)
    state = "finished" if finished else "stopped; the same command goes on from there"
    print(f"{state}: {trainer.step} steps in {trainer.seconds:.0f} s")
    print(f"Test it: python tools/moving_mnist.py test {trainer.out}")
    return 0 if finished else 130


def prepare(words: argparse.Namespace) -> Trainer:
    """The training that the words of the command ask for."""
    model, narrow, seed = words.model, words.narrow, words.seed
    settings = digits.schedule(
        model,
        words.schedule,
        steps=words.steps,
        rate=words.rate,
        decay_every=words.decay_every,
        save_seconds=words.save_seconds,
    )
    batch = digits.batch_size(model) if words.batch is None else words.batch
    net = digits.build(model, narrow, seed=seed, precision=words.precision, device=words.device)
    images = read_mnist(words.mnist)
    source = digits.Digits(images, batch, seed=seed, rotation=words.rotation, device=words.device)
    bound = digits.describe_weights(model, narrow) | {
        "digits": digits.digest(images),
        "batch": batch,
        "seed": seed,
        "rotation": words.rotation,
        "precision": words.precision,
    }
    parts = [model, *(["w" + ".".join(map(str, narrow))] if narrow else []), str(settings.steps), f"seed{seed}"]
    remedy = f"choose a --batch below {batch}, --precision bf16 or a --narrow network"
    out = words.out or OUT / "-".join(parts)
    return Trainer(net, source, digits.squared_error, settings, out, bound, remedy=remedy)


def test(words: argparse.Namespace) -> int:
    """Score every run, and write each result as soon as it is there."""
    if words.limit is not None and words.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {words.limit}")
    images, parameters = read_mnist(words.mnist), official(words.mnist)[: words.limit]
    device = str(digits.select_device(words.device))
    for name in words.runs:
        run = None if name in digits.TRIVIAL else digits.Run.read(Path(name), device)
        forecast = digits.TRIVIAL[name] if run is None else run.net
        errors = digits.errors(forecast, images, parameters, device=device, batch=words.batch, title=Path(name).name)
        result = digit_results.Result.of(name if run is None else run, errors, digits.digest(images))
        path = result.write(words.root / name if run is None else Path(name))
        leads = " ".join(f"{100 * lead:.2f}" for lead in result.leads)
        print(f"{digit_results.name(result)}: {100 * result.mse:.3f}e-2 on {len(errors)} sequences; leads {leads}")
        print(f"  {path}")
    return 0


def table(words: argparse.Namespace) -> int:
    """Print what lies in the folder."""
    found = digit_results.results(words.root)
    print(digit_results.table(found))
    print()
    print(digit_results.differences(found))
    return 0


def draw(words: argparse.Namespace) -> int:
    """Draw some of the official sequences."""
    if words.out.suffix != ".webp":
        raise ValueError(f"--out ends in .webp, got {words.out}")
    parameters = official(words.mnist)
    wrong = [row for row in words.rows if not 0 <= row < len(parameters)]
    if wrong:
        raise ValueError(f"--rows are 0 to {len(parameters) - 1}, got {wrong[0]}")
    images = read_mnist(words.mnist)
    run = digits.Run.read(words.run, words.device)
    frames = torch.cat([render(images, parameters[row : row + 1]) for row in words.rows])
    write_atomically(words.out, digit_film.encoded(digit_film.film(run.net, frames)))
    print(f"{words.out}: {run.facts['model']} after {run.facts['step']} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())

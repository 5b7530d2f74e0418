"""Forty minutes on a GPU, in commands of less than ten minutes that can be repeated: docs/gpu.md.

Each step runs some commands of ``hko7env``, stops them in time and leaves what is worth keeping in a folder of small
files. The same command continues. ``--dry-run`` prints the commands only, ``--toy`` tries them with tiny sizes.
"""

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

ARCHIVES = {"arso": 2.0, "casgo": 1.0, "casmb": 1.0, "fmi2016": 0.5}  # real rain, and its share of the windows
SIDE, BATCH, SYNTHETIC_ROWS = 240, 8, 3  # px, windows of a step, those of them that are synthetic
RESERVE = 45.0  # s of each command for starting, for saving and for packing
STARTING = 25.0  # s that a command takes at most before its own clock runs
PATIENCE = 40.0  # s that a stopped command has to save
DEFAULT_STEPS = 4000  # where no speed has been measured
CAUTION = 0.7  # share of the measured speed that is counted on; validations and checkpoints take time too
VALIDATIONS = 15  # of a training
EXACT = "float32"  # precision on digits, as in the paper
SHORT = 40_000  # steps of the short schedule on digits


class Command(NamedTuple):
    """A command of ``hko7env``: its words, and the share of the step's time after which it is stopped."""

    words: list[str]
    share: float = 1.0


@dataclass(frozen=True)
class Choices:
    """What was chosen on the command line; see its help."""

    minutes: float
    commands: int
    data: Path
    mnist: Path
    work: Path
    device: str
    precision: str
    toy: bool

    @property
    def seconds(self) -> float:
        """For the commands of one step."""
        return max(60 * self.minutes - RESERVE, 1.0)

    def steps(self, measured: str, share: float = 1.0) -> int:
        """Steps of a training that all its commands have time for, by the benchmark's steps a second.

        Args:
            measured: What the name of the benchmark's line contains.
            share: Of the time that the training has.
        """
        if self.toy:
            return 2
        path = self.work / "benchmark/results.json"
        items = json.loads(path.read_text(encoding="utf-8"))["items"] if path.exists() else {}
        lines = [line for found in items.values() for line in found["lines"] if "value" in line]
        fitting = [line for line in lines if measured in line["name"]]
        if not fitting:
            return DEFAULT_STEPS
        rate = float(fitting[0]["value"])
        return max(int(CAUTION * rate * self.seconds * self.commands * share), 100)


def plan_benchmark(choices: Choices) -> list[Command]:
    """Everything that can be checked and measured."""
    minutes = f"{max(choices.seconds - STARTING, 1) / 60:.2f}"
    words = ["benchmark", "gpu", "--out", str(choices.work / "benchmark"), "--minutes", minutes]
    return [Command([*words, "--device", choices.device, *(["--tiny"] if choices.toy else [])])]


def plan_training(model: str) -> Callable[[Choices], list[Command]]:
    """A training of the full-size network on real and synthetic rain."""

    def plan(choices: Choices) -> list[Command]:
        archives = [f"{choices.data / name}.zarr={share:g}" for name, share in ARCHIVES.items()
                    if (choices.data / f"{name}.zarr").is_dir()]  # fmt: skip
        first = []
        if not archives:
            made = choices.work / "rain.zarr"
            shape = ["--shape", "60", "60"] if choices.toy else []
            archives = [str(made)]
            if not made.exists():
                first = [Command(["archive", "synthetic", "--out", str(made), *shape])]
        out = choices.work / model
        side, batch, rows, size = (60, 2, 1, "small") if choices.toy else (SIDE, BATCH, SYNTHETIC_ROWS, "full")
        measured = f"training with data, hko7 {model}, {side} x {side} px, batch {batch}, {choices.precision}"
        steps = begun_steps(out) or choices.steps(measured)
        options: dict[str, object] = {
            "size": size, "synthetic-size": side, "synthetic-rows": rows, "batch": batch, "rain-candidates": 2,
            "update-gate-bias": 2, "schedule": "one-cycle", "rate": 6e-4, "weight-averaging": 0.998,
            "steps": steps, "valid-every": max(steps // VALIDATIONS, 1), "valid-limit": 2 if choices.toy else 16,
            "precision": choices.precision, "device": choices.device, "save-seconds": 120, "out": out,
        }  # fmt: skip
        if model == "trajgru":
            options |= {"link-spacing": 1, "link-rate-share": 0.1}
        flags = ["--varied", "--resident", *(["--graph"] if choices.device != "cpu" else [])]
        pairs = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [*first, Command(["train", f"agents.{model}", "--archive", *archives, *pairs, *flags])]

    return plan


def begun_steps(folder: Path) -> int | None:
    """The number of steps of the training in ``folder``, which must be given again to continue it."""
    path = folder / "last.safetensors"
    if not path.exists():
        return None
    from agents.learning.checkpoint import read

    return int(read(path)[1]["steps"])


def plan_digits(choices: Choices) -> list[Command]:
    """Two networks of the paper's Table 1 on MovingMNIST++, and their errors on the official test sequences."""
    steps = min(choices.steps(f"training with data, mnist trajgru L13, 64 x 64 px, batch 4, {EXACT}", 0.4), SHORT)
    commands, folders = [], []
    for model in ("trajgru-L13", "convgru-K5D1"):
        out = choices.work / f"digits-{model}"
        words = ["moving-mnist", "train", model, "--steps", str(steps), "--seed", "1", "--device", choices.device]
        words += ["--mnist", str(choices.mnist), "--out", str(out), "--precision", EXACT]
        small = ["--narrow", "2", "2", "2", "2", "--batch", "1"] if choices.toy else []
        commands.append(Command([*words, *small, *(["--graph"] if choices.device != "cpu" else [])], 0.4))
        folders.append(str(out))
    limit = ["--limit", "4"] if choices.toy else ["--batch", "256"]
    given = ["--mnist", str(choices.mnist), "--device", choices.device]
    test = ["moving-mnist", "test", *folders, "last", "--out", str(choices.work / "digits"), *given, *limit]
    return [*commands, Command(test)]


STEPS = {
    "benchmark": plan_benchmark,
    "trajgru": plan_training("trajgru"),
    "convgru": plan_training("convgru"),
    "digits": plan_digits,
}


def keep(step: str, choices: Choices, out: Path) -> list[Command]:
    """Copy what is worth keeping of a step to ``out``, and the commands that pack its trainings there."""
    out.mkdir(parents=True, exist_ok=True)
    if step == "benchmark":
        for path in sorted((choices.work / "benchmark").glob("*.*")):
            shutil.copy(path, out)
        return []
    folders = [choices.work / step] if step != "digits" else sorted(choices.work.glob("digits-*"))
    commands = []
    for folder in (each for each in folders if (each / "last.safetensors").exists()):
        for result in folder.glob("*.json"):
            shutil.copy(result, out / f"{folder.name}-{result.name}")
        shutil.rmtree(out / folder.name, ignore_errors=True)
        commands.append(Command(["checkpoint", "pack", str(folder), "--out", str(out / folder.name), "--compact"]))
    return commands


def run(command: Command, end: float) -> int:
    """Run a command of this working tree until ``end`` (monotonic seconds) at most; returns its exit status.

    It is told to stop as by Ctrl-C, so that it saves, and ended if it does not.
    """
    print("$ hko7env", shlex.join(command.words), flush=True)
    process = subprocess.Popen([sys.executable, "-m", "hko7env", *command.words], cwd=ROOT)
    try:
        return process.wait(max(end - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main(arguments: list[str] | None = None) -> int:
    """Run one step of the plan; returns 0 if all its commands ended well or were stopped in time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("step", choices=STEPS)
    add("--minutes", type=float, default=9.5, help="after which the command has ended; default: 9.5")
    add("--commands", type=int, default=1, help="how often the step will be repeated to go on; default: 1")
    add("--data", type=Path, default=Path("data"), help="folder of the archives NAME.zarr; default: data")
    add("--mnist", type=Path, default=Path("data"), help="folder of MNIST and the official test file; default: data")
    add("--work", type=Path, default=Path("training/plan"), help="folder of all trainings; default: training/plan")
    add(
        "--out",
        type=Path,
        default=Path("training/carried"),
        help="folder of small files to keep; default: training/carried",
    )
    add("--parts", type=Path, help="folder of parts from which the training of this step goes on")
    add("--device", default="cuda", help="default: cuda")
    add("--precision", default="bf16", choices=("float32", "bf16"), help="for radar; default: bf16")
    add("--toy", action="store_true", help="sizes for a processor, to try the plan")
    add("--dry-run", action="store_true", help="print the commands only")
    args = parser.parse_args(arguments)
    end = time.monotonic() + 60 * args.minutes - RESERVE
    places = {name: getattr(args, name).resolve() for name in ("data", "mnist", "work", "out")}
    choices = Choices(
        args.minutes, args.commands, places["data"], places["mnist"], places["work"], args.device, args.precision,
        args.toy,
    )  # fmt: skip
    target = places["work"] / args.step
    if args.parts and not args.dry_run and not target.exists():
        run(Command(["checkpoint", "unpack", str(args.parts.resolve()), "--out", str(target)]), end)
    commands = STEPS[args.step](choices)
    if args.dry_run:
        for command in commands:
            print("hko7env", shlex.join(command.words))
        return 0
    states = []
    for command in commands:
        begun = time.monotonic()
        states.append(run(command, min(end, begun + command.share * choices.seconds)))
    states += [run(command, time.monotonic() + RESERVE) for command in keep(args.step, choices, places["out"])]
    return 0 if set(states) <= {0, 130} else 1


if __name__ == "__main__":
    # This working tree, whatever else is installed as `agents`.
    sys.path[:1] = [str(ROOT)]
    sys.exit(main())

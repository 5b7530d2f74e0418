"""Results on MovingMNIST++: one JSON file a test, and the paper's Table 1 made of such files."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.files import write_atomically

from .experiment import MODELS, TRIVIAL, Run, unlike_paper

FORMAT, VERSION = "hko7env-moving-mnist-test", 1
PAPER = {  # Shi et al. 2017, Table 1: test MSE x 1e-2, mean over three seeds
    "conv2d": 1.681,
    "conv3d": 1.637,
    "convgru-K3D2": 1.495,
    "convgru-K5D1": 1.310,
    "convgru-K7D1": 1.254,
    "trajgru-L5": 1.351,
    "trajgru-L9": 1.247,
    "trajgru-L13": 1.170,
    "trajgru-L17": 1.138,
    "dfn": 1.461,
}
ORDER = (*PAPER, *TRIVIAL)


@dataclass(frozen=True)
class Result:
    """The test of one training, or of a trivial forecast."""

    model: str
    digits: str  # digest of the images
    leads: list[float]  # mean squared error of each
    errors: list[float]  # of each sequence, mean over leads and pixels, in the order of the official file
    parameters: int = 0
    seed: int | None = None
    steps: int = 0
    seconds: float = 0.0  # of training
    training: str = ""  # all but the seed: results that differ by the seed alone are one line of the table

    @property
    def mse(self) -> float:
        """Mean over the leads, the number of Table 1."""
        return float(np.mean(self.leads))

    @classmethod
    def of(cls, run: Run | str, errors: npt.NDArray[np.float64], digits: str) -> "Result":
        """That of a training, or of one of TRIVIAL, from its ``errors`` (N, 10) on ``digits``."""
        leads = errors.mean(0).tolist()
        each = [float(f"{error:.9g}") for error in errors.mean(1)]
        if isinstance(run, str):
            return cls(run, digits, leads, each)
        found = run.facts
        count = sum(parameter.numel() for parameter in run.net.parameters())
        training = unlike_paper(found)
        return cls(found["model"], digits, leads, each, count, found["seed"], found["step"], found["seconds"], training)

    def write(self, folder: Path) -> Path:
        """Into ``folder``, as a whole, one file for each number of sequences; its path. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"test-{len(self.errors)}.json"
        content = {"format": FORMAT, "version": VERSION, "mse": self.mse, **asdict(self)}
        write_atomically(path, (json.dumps(content) + "\n").encode())
        return path

    @classmethod
    def read(cls, path: Path) -> "Result":
        """What :meth:`write` wrote. Raises ValueError for a file that is damaged, or another one."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content.pop("format"), content.pop("version")) != (FORMAT, VERSION):
                raise ValueError("another format")
            content.pop("mse")
            result = cls(**content)
            if result.model not in ORDER or not np.isfinite([*result.leads, *result.errors]).all():
                raise ValueError("no such forecast")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is no result of this hko7env ({error}): test again") from error
        return result


def results(root: Path) -> list[Result]:
    """Of each folder in ``root`` the test on the most sequences. Raises FileNotFoundError if there is none."""
    newest: dict[Path, Result] = {}
    for path in sorted(root.glob("*/test-*.json")):
        result = Result.read(path)
        if path.parent not in newest or len(result.errors) > len(newest[path.parent].errors):
            newest[path.parent] = result
    if not newest:
        raise FileNotFoundError(f"no result in {root}: python tools/moving_mnist.py test RUN makes one")
    if len({result.digits for result in newest.values()}) > 1:
        raise ValueError(f"the results in {root} are of different copies of MNIST: test all on one")
    return list(newest.values())


def groups(found: Iterable[Result]) -> list[list[Result]]:
    """Results that differ by the seed alone together, in the order of Table 1."""
    together: dict[tuple[str, str, int, int], list[Result]] = {}
    for result in found:
        together.setdefault((result.model, result.training, result.steps, len(result.errors)), []).append(result)
    return [together[key] for key in sorted(together, key=lambda key: (ORDER.index(key[0]), key[1:]))]


def table(found: Iterable[Result]) -> str:
    """Table 1 in Markdown: errors in hundredths, deviation over seeds, training time in hours, the paper's value."""
    rows = []
    for group in groups(found):
        one, scores = group[0], 100 * np.array([result.mse for result in group])
        deviation = f"{scores.std(ddof=1):.3f}" if len(group) > 1 else ""
        published = f"{PAPER[one.model]:.3f}" if one.model in PAPER else ""
        trained = one.model in MODELS
        rows.append(
            [
                name(one),
                f"{one.parameters:,}" if trained else "",
                f"{scores.mean():.3f}",
                deviation,
                str(len(group)) if trained else "",
                f"{one.steps:,}" if trained else "",
                f"{np.mean([result.seconds for result in group]) / 3600:.2f}" if trained else "",
                f"{len(one.errors):,}",
                published,
            ]
        )
    head = ["model", "parameters", "MSE, e-2", "over seeds", "seeds", "steps", "hours", "sequences", "the paper's MSE"]
    return _markdown(head, rows)


def name(result: Result) -> str:
    """The model, and what of its training is not the paper's."""
    return f"{result.model}, {result.training}" if result.training else result.model


def differences(found: Iterable[Result]) -> str:
    """Every line of the table against the best and against the next better one, sequence by sequence, in hundredths.

    A line's error of a sequence is the mean over its seeds. The standard error is that of the mean over the sequences,
    the first ones that all have; what another seed would have changed is not in it.
    """
    lines = groups(found)
    count = min(len(result.errors) for group in lines for result in group)
    mean = {i: np.mean([result.errors[:count] for result in group], 0) for i, group in enumerate(lines)}
    ranked = sorted(mean, key=lambda i: float(mean[i].mean()))
    rows = [
        [name(lines[i][0]), f"{100 * mean[i].mean():.3f}"]
        + [_difference(mean[i], mean[other]) if i != other else "" for other in (ranked[0], ranked[max(place - 1, 0)])]
        for place, i in enumerate(ranked)
    ]
    head = [f"the first {count:,} sequences", "MSE, e-2", "minus the best", "minus the line above"]
    return _markdown(head, rows)


def _difference(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> str:
    """Mean of a - b (N,), and its standard error, in hundredths."""
    off = 100 * (a - b)
    error = off.std(ddof=1) / np.sqrt(len(off)) if len(off) > 1 else float("nan")
    return f"{off.mean():+.3f} ± {error:.3f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

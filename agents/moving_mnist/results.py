"""Results on MovingMNIST++: one JSON file per test, and Table 1 of Shi et al. 2017 made from such files."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.files import write_atomically

from ..networks.registry import DIGIT_NETWORKS
from .experiment import TRIVIAL, Run, describe_deviations

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
    """The test of one training or of a trivial forecast.

    Attributes:
        model: The network or the trivial forecast.
        digits: Digest of the images of digits.
        leads: Mean squared error of each lead.
        errors: Mean squared error of each sequence, in the order of the official file.
        parameters: Number of parameters.
        seed: Of the training.
        steps: Of the training.
        seconds: Duration of the training.
        training: How the training differs from the paper's, apart from steps and seed. Results that differ in the seed
            only make one row of the table.
    """

    model: str
    digits: str
    leads: list[float]
    errors: list[float]
    parameters: int = 0
    seed: int | None = None
    steps: int = 0
    seconds: float = 0.0
    training: str = ""

    @property
    def mse(self) -> float:
        """Mean squared error over all leads, the figure of Table 1."""
        return float(np.mean(self.leads))

    @classmethod
    def summarise(cls, run: Run | str, errors: npt.NDArray[np.float64], digits: str) -> "Result":
        """The result of a training or of one of ``TRIVIAL``.

        Args:
            run: The training, or the name of the trivial forecast.
            errors: (N, 10), the mean squared error of each sequence and lead.
            digits: Digest of the images of digits.
        """
        leads = errors.mean(0).tolist()
        each = [float(f"{error:.9g}") for error in errors.mean(1)]
        if isinstance(run, str):
            return cls(run, digits, leads, each)
        of = run.metadata
        count = sum(parameter.numel() for parameter in run.net.parameters())
        training = describe_deviations(of)
        return cls(of["model"], digits, leads, each, count, of["seed"], of["step"], of["seconds"], training)

    def write(self, folder: Path) -> Path:
        """Write the result atomically into ``folder``, one file per number of sequences. Returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"test-{len(self.errors)}.json"
        content = {"format": FORMAT, "version": VERSION, "mse": self.mse, **asdict(self)}
        write_atomically(path, (json.dumps(content) + "\n").encode())
        return path

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read a file that :meth:`write` made.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is damaged or another file.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content.pop("format"), content.pop("version")) != (FORMAT, VERSION):
                raise ValueError("another format")
            content.pop("mse")
            result = cls(**content)
            if result.model not in ORDER or not np.isfinite([*result.leads, *result.errors]).all():
                raise ValueError("no such forecast")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a result of this hko7env ({error}): test again") from error
        return result


def read_results(root: Path) -> list[Result]:
    """Read one result from each folder in ``root``, that on the largest number of sequences.

    Raises:
        FileNotFoundError: If there is no result.
        ValueError: If a file is damaged, or the results are of different copies of MNIST.
    """
    newest: dict[Path, Result] = {}
    for path in sorted(root.glob("*/test-*.json")):
        result = Result.read(path)
        if path.parent not in newest or len(result.errors) > len(newest[path.parent].errors):
            newest[path.parent] = result
    if not newest:
        raise FileNotFoundError(f"no result in {root}: test a training first")
    if len({result.digits for result in newest.values()}) > 1:
        raise ValueError(f"the results in {root} are of different copies of MNIST: test all on one")
    return list(newest.values())


def group_results(found: Iterable[Result]) -> list[list[Result]]:
    """Groups of results that differ in the seed only, in the order of Table 1."""
    together: dict[tuple[str, str, int, int], list[Result]] = {}
    for result in found:
        together.setdefault((result.model, result.training, result.steps, len(result.errors)), []).append(result)
    return [together[key] for key in sorted(together, key=lambda key: (ORDER.index(key[0]), key[1:]))]


def format_table(found: Iterable[Result]) -> str:
    """Table 1 in Markdown.

    Columns: model, number of parameters, mean squared error x 1e-2, its standard deviation over seeds, numbers of seeds
    and steps, hours of training, number of sequences, the paper's mean squared error.
    """
    rows = []
    for group in group_results(found):
        one, scores = group[0], 100 * np.array([result.mse for result in group])
        deviation = f"{scores.std(ddof=1):.3f}" if len(group) > 1 else ""
        published = f"{PAPER[one.model]:.3f}" if one.model in PAPER else ""
        trained = one.model in DIGIT_NETWORKS
        rows.append(
            [
                describe_result(one),
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


def describe_result(result: Result) -> str:
    """The model, and how its training differs from the paper's."""
    return f"{result.model}, {result.training}" if result.training else result.model


def format_differences(found: Iterable[Result]) -> str:
    """Paired differences of each row of Table 1 to the best and to the next better row, x 1e-2, in Markdown.

    They are means over the first sequences, as many as all results have, with their standard error; the error of a
    sequence is the mean over seeds. The standard error does not contain the variation between seeds.
    """
    lines = group_results(found)
    count = min(len(result.errors) for group in lines for result in group)
    mean = {i: np.mean([result.errors[:count] for result in group], 0) for i, group in enumerate(lines)}
    ranked = sorted(mean, key=lambda i: float(mean[i].mean()))
    rows = [
        [describe_result(lines[i][0]), f"{100 * mean[i].mean():.3f}"]
        + [_difference(mean[i], mean[other]) if i != other else "" for other in (ranked[0], ranked[max(place - 1, 0)])]
        for place, i in enumerate(ranked)
    ]
    head = [f"the first {count:,} sequences", "MSE, e-2", "minus the best", "minus the line above"]
    return _markdown(head, rows)


def _difference(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> str:
    """Mean and standard error of a - b (N,), x 1e-2."""
    each = 100 * (a - b)
    error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else float("nan")
    return f"{each.mean():+.3f} ± {error:.3f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

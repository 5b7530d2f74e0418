"""The list of all items, in the order of their worth, each with the seconds after which it is stopped."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import hko7env

from ..timing import Line
from . import checks, data_checks, speed, throughput
from .settings import FIRST, NETWORKS, Settings

ROOT = Path(hko7env.__file__).resolve().parent.parent
MARK = "pytest.mark.gpu"
TESTS_SECONDS = 150.0
LONGEST_OUTPUT = 6000  # characters of what failing tests print


class Item(NamedTuple):
    """One item.

    Attributes:
        name: Its name, which is unique.
        seconds: After which it is stopped.
        run: Yields its lines.
    """

    name: str
    seconds: float
    run: Callable[[Settings], Iterator[Line]]


def list_items(settings: Settings) -> list[Item]:
    """All items; of a tiny benchmark fewer networks."""
    learning = [name for name in FIRST if not settings.tiny] or ["hko7 trajgru"]
    items = [
        Item("device", 60, throughput.describe_device),
        Item("gpu-marked tests", TESTS_SECONDS, run_tests),
        Item("check waiting", 60, data_checks.check_waiting),
        Item("check graphs", 60, checks.check_graphs),
        Item("check fused transition", 120, checks.check_fused),
        *(Item(f"speed of {step}, {learning[0]}", 120, _speed(learning[0], step)) for step in speed.STEPS),
        Item("check gradients", 90, checks.check_gradients),
        Item("check forecasts", 90, checks.check_forecasts),
        Item("check training", 60, checks.check_training),
        Item("check online learning", 60, checks.check_online),
        Item("whole trainings", 150, throughput.measure_trainings),
        Item("evaluation", 120, throughput.measure_evaluation),
        Item("check rain", 60, data_checks.check_rain),
        Item("check sampler", 60, data_checks.check_sampler),
        Item("check digits", 30, data_checks.check_digits),
        Item("check flow", 60, data_checks.check_flow),
        Item("check batch normalisation", 40, checks.check_batch_normalisation),
        Item("ROVER", 60, throughput.measure_rover),
        Item("sources", 60, throughput.measure_sources),
        Item("choice of the transition", 60, throughput.describe_choices),
        Item("check compiled", 150, checks.check_compiled),
    ]
    rest = [] if settings.tiny else [name for name in (*learning[1:], *NETWORKS) if name != learning[0]]
    pairs = [(name, step) for name in dict.fromkeys(rest) for step in speed.STEPS if _applies(name, step)]
    items += [Item(f"speed of {step}, {name}", 60, _speed(name, step)) for name, step in pairs]
    if not settings.tiny:
        for name, step in ((learning[0], "forecast"), (learning[1], "training"), (learning[0], "training")):
            run = partial(speed.measure_network, name=name, step=step, compiled=True)
            items.append(Item(f"speed of {step}, {name}, compiled", 240, run))
    return items


def _speed(name: str, step: str) -> Callable[[Settings], Iterator[Line]]:
    return partial(speed.measure_network, name=name, step=step)


def _applies(name: str, step: str) -> bool:
    """Online learning is for radar."""
    return not (name.startswith("mnist") and step == "online")


def run_tests(settings: Settings) -> Iterator[Line]:
    """The tests that are marked as needing a GPU, in a process of their own; of a tiny benchmark one file of them."""
    files = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if MARK in path.read_text(encoding="utf-8"))
    if not files:
        yield checks.skipped("tests", "there is no folder of tests: run the benchmark in a checkout")
        return
    chosen = [path for path in files if path.stem == "test_torch_rain"] if settings.tiny else files
    options = ["-q", "-m", "gpu", "--tb=short", "-p", "no:cacheprovider", "-W", "default", "-rfEs"]
    words = [sys.executable, "-m", "pytest", *options, *map(str, chosen)]
    search = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(search)}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=TESTS_SECONDS - 5
    )
    printed = (done.stdout + done.stderr).strip()
    last = printed.splitlines()[-1] if printed else "nothing was printed"
    result = {"name": f"tests, {len(chosen)} files", "fact": last, "passed": done.returncode == 0}
    yield result | ({} if result["passed"] else {"output": printed[-LONGEST_OUTPUT:]})

"""Measure speed, memory and skill, compared with a reference in the same run, as JSON lines.

Rounds of all competitors alternate and the median is printed, because machines are noisy: compare the ratios.
"""

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from hko7env.command_line import Parser, integer
from hko7env.naming import suggest

TOPICS = {  # name: module of ..benchmarks, what it measures
    "scores": ("scores", "scoring one step of 20 frames"),
    "diagnostics": ("diagnostics", "what evaluate --keep diagnostics adds to scoring a step"),
    "watch": ("watch", "memory and time of archive watch over 5,000 files, and of a poll of a folder of 100,000"),
    "stream": ("stream", "reading frames from an archive"),
    "pass": ("whole_pass", "all 6053 sequences of a test split of HKO-7's size, with the last-frame agent"),
    "synthetic": ("synthetic", "making short and long synthetic archives"),
    "import": ("imports", "import hko7env"),
    "denoise": ("denoise", "counting levels by location, and finding outliers"),
    "moving-mnist": ("moving_mnist", "rendering MovingMNIST++; with --mnist also errors of trivial forecasts"),
    "flow": ("flow", "time and skill of the last frame, ROVER and its variants, on each --archive"),
    "rover": ("rover", "a forecast by ROVER, compared with a plain ROVER that has the same result"),
    "steps": ("steps", "time and memory of an online step of ROVER, agents.calibrated_flow and agents.flow_net"),
    "calibrated-flow-scores": (
        "calibrated_flow_scores",
        "scores of agents.calibrated_flow and its ratios to ROVER's on each --archive, or with --ablation of variants",
    ),
    "flow-net": ("flow_net", "what each choice in agents.flow_net is worth: short trainings on each --archive"),
    "real-rain": ("real_rain", "scores of agents and their ratios to ROVER's on each --archive"),
    "online-learning": ("online_learning", "scores of ways to learn online, on the split valid of each --archive"),
    "radar-year": (
        "radar_year",
        "memory of an import of a year of 5-minute frames from an mlcast dataset",
    ),
    "report": ("report", "intervals of a report of ten runs at HKO-7's size, and how often they hold the truth"),
    "transition": ("transition", "a transition of TrajGRU on a GPU, in PyTorch and fused; with --list what it moves"),
    "live": (
        "live",
        "memory and latency of a live run on the first --archive; with --files, --rounds days with kill -9",
    ),
    "nets": ("nets", "forecast, training step and online step of every network, or of --models, on the CPU"),
    "allocator": ("allocator", "training steps of the small networks, with and without keeping freed memory"),
    "gpu": ("gpu.runner", "everything on a GPU: agreement with the CPU, times, throughput; resumable, in --out"),
}
MODELS_HELP = (
    "for nets: networks such as 'hko7 trajgru'; default: all; for online-learning: networks such as trajgru; default: "
    "trajgru and convgru"
)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks that ``arguments`` name and print one JSON line for each figure; returns 0."""
    parser = _parser()
    args = parser.parse_args(arguments)
    for topic in args.topics:
        if topic not in TOPICS:
            parser.error(f"there is no topic {topic!r}, {suggest(topic, TOPICS)}")
    for topic in args.topics:
        module: Any = importlib.import_module(f"..benchmarks.{TOPICS[topic][0]}", __package__)
        for line in module.measure(args):
            print(json.dumps(line), flush=True)
    return 0


def _parser() -> Parser:
    width = max(map(len, TOPICS))
    rows = [f"  {name:<{width}}  {about}" for name, (_, about) in TOPICS.items()]
    description = "\n".join([__doc__ or "", "topics:", *rows])
    parser = Parser("hko7env benchmark", description, renamed={"--archives": "--archive"})
    add = parser.add_argument
    add("topics", nargs="+", metavar="TOPIC", help="what to measure, from the list above")
    add("--rounds", type=integer(1), default=15, metavar="N", help="timed rounds of each competitor; default: 15")
    help_text = "paths or URLs of archives; default: the synthetic archive"
    add("--archive", nargs="+", metavar="PATH", help=f"for topics that read archives: {help_text}")
    _add_scores(add)
    _add_gpu(add)
    help_text = "for live: format and folder of a weather service's files, to be replayed; default: none, no kills"
    add("--files", nargs=2, metavar=("FORMAT", "FOLDER"), help=help_text)
    add(
        "--mnist",
        metavar="FOLDER",
        help="for moving-mnist: folder of MNIST and the official test file; default: noise as digits",
    )
    add("--models", nargs="+", metavar="MODEL", help=MODELS_HELP)
    help_text = "for nets: float32, bf16 or both; default: both"
    add("--precisions", nargs="+", choices=("float32", "bf16"), default=["float32", "bf16"], help=help_text)
    help_text = "for nets and transition: print parameters or counts and measure nothing; default: no"
    add("--list", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    return parser


def _add_gpu(add: Any) -> None:
    """Add the options of the topic gpu."""
    help_text = "for gpu: minutes after which it ends; the same command goes on; default: 9.5"
    add("--minutes", type=_minutes, default=9.5, metavar="N", help=help_text)
    add("--device", default="auto", help="for gpu: auto (a GPU if there is one), cpu or cuda; default: auto")
    help_text = "for gpu: small networks and frames, to try the benchmark itself; default: no, on a CPU always"
    add("--tiny", action=argparse.BooleanOptionalAction, default=False, help=help_text)


def _minutes(word: str) -> float:
    try:
        value = float(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expects a number, got {word!r}") from error
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0 and finite, got {word}")
    return value


def _add_scores(add: Any) -> None:
    """Add the options of the topics that run agents."""
    add("--agents", nargs="+", metavar="AGENT", help="for real-rain: agents to compare; default: all that come trained")
    topics = "for real-rain, calibrated-flow-scores and online-learning:"
    add("--split", help=f"{topics} split of each archive, or all; default: test or, for online-learning, valid")
    help_text = "for online-learning: the first N sequences only; default: all"
    add("--limit", type=integer(1), metavar="N", help=help_text)
    topic = "for calibrated-flow-scores:"
    help_text = f"{topic} vary the parts of the agent instead of comparing agents; default: no"
    add("--ablation", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    help_text = f"{topic} the highest CSI that its features allow, with hindsight; default: no"
    add("--hindsight", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    add(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="PATH",
        help=f"{topics} run folders; for gpu: results; default: results",
    )

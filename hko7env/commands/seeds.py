"""``--seeds 0 1 2``: the options of each agent that has one called ``seed``, once for each seed."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hko7env.command_line import Parser, UsageError, integer
from hko7env.loading import find

OPTION, FIELD = "seed", "{seed}"


def add_seeds(parser: Parser) -> None:
    """Add ``--seeds N ...`` to a parser."""
    help_text = (
        "run each agent that has an option --seed once for each seed, and print mean and standard deviation over "
        f"them; {FIELD} in another option, such as --checkpoint trajgru-{FIELD}.safetensors, becomes the seed; "
        "default: one run with the agent's own seed"
    )
    parser.add_argument("--seeds", type=integer(0), nargs="+", default=(), metavar="N", help=help_text)


def vary_seed(agent: str, options: dict[str, Any], seeds: Sequence[int]) -> list[tuple[int | None, dict[str, Any]]]:
    """The runs of one agent: pairs of seed and options.

    Args:
        agent: Name of the agent.
        options: Its options as they were given.
        seeds: The seeds; an agent without an option ``seed`` runs once, whatever they are.

    Returns:
        One pair for each seed, or (None, ``options``).

    Raises:
        UsageError: If a seed is given twice, or both as ``--seed`` and ``--seeds``.
        ValueError: If there is no such agent.
    """
    config = find(agent)[1]
    if not seeds or config is None or OPTION not in {field.name for field in fields(config)}:
        return [(None, options)]
    if OPTION in options:
        raise UsageError("--seed and --seeds exclude each other: give --seeds only")
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds names a seed twice: {' '.join(map(str, seeds))}")
    return [(seed, {name: _fill(value, seed) for name, value in options.items()} | {OPTION: seed}) for seed in seeds]


def _fill(value: Any, seed: int) -> Any:
    if isinstance(value, str | Path):
        return type(value)(str(value).replace(FIELD, str(seed)))
    return value

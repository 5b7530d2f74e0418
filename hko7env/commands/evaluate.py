"""Evaluate agents and print the table of Shi et al. 2017: ``hko7env evaluate agents.last_frame``.

Each agent runs offline, where sequences are independent, and online, where it sees them in order and may learn.
A run that is interrupted continues when the same command is given again. The fields of an agent's ``Config`` are
options too: ``hko7env evaluate agents.rover --help`` lists those of ROVER. Agents come first, then their options.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hko7env import progress
from hko7env.allocator import keep_freed_memory
from hko7env.command_line import Parser, add_archive, add_out, add_scheduler, add_split, add_workers, integer
from hko7env.commands.agent_options import add_agents, parse_with_agents
from hko7env.commands.keep import add_keep, extras_of
from hko7env.commands.seeds import add_seeds, vary_seed
from hko7env.evaluation.evaluate import Execution, evaluate_all
from hko7env.evaluation.plan import Plan, settings_of
from hko7env.evaluation.table import Result, one_line, seed_table, table
from hko7env.parallel import usable_cores

SETTINGS = ("online", "offline", "both")
MOST_ON_A_GPU = 4  # processes that share a GPU by default, as each needs memory of its own there


def main(arguments: list[str] | None = None) -> int:
    """Evaluate the agents that ``arguments`` name and print their table.

    Returns:
        The exit status 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If an archive, a split or a run folder cannot be used.
        OSError: If a file cannot be read or written.
    """
    args, options = parse_with_agents(make_parser, arguments)
    keep_freed_memory()
    varied = {agent: vary_seed(agent, options[agent], args.seeds) for agent in args.agents}
    settings = {a: settings_of(a) if args.env == "both" else (args.env == "online",) for a in args.agents}
    once = [a for a, chosen in settings.items() if args.env == "both" and len(chosen) == 1]
    plans: list[Plan] = []
    names, groups = [], []
    for agent in args.agents:
        for online in settings[agent]:
            groups.append(range(len(plans), len(plans) + len(varied[agent])))
            for seed, given in varied[agent]:
                plans.append(Plan(agent, online, args.archive, args.split, args.limit, args.cleaned, given))
                names.append(agent if seed is None else f"{agent} seed {seed}")
    workers = args.workers or default_workers()
    execution = Execution(workers=workers, scheduler=args.scheduler, threads=args.threads, extras=extras_of(args))
    several = len(plans) > 1
    results = evaluate_all(plans, args.out, execution, finished=_announce if several else lambda result: None)
    rows = [replace(result, agent=name) for name, result in zip(names, results, strict=True)]
    print(table(rows), end="")
    print(_same_online(once), end="")
    print(seed_table([[results[i] for i in group] for group in groups]), end="")
    print(f"Run folders with per-lead scores: {args.out}")
    return 0


def _announce(result: Result) -> None:
    progress.write(one_line(result))


def _same_online(agents: Sequence[str]) -> str:
    """A line about agents whose online runs were left out; empty if there is none."""
    if not agents:
        return ""
    them = "its forecasts depend" if len(agents) == 1 else "their forecasts depend"
    return f"{', '.join(agents)}: online the scores are the same, as {them} on the newest frames alone.\n"


def default_workers() -> int:
    """The number of usable cores, at most :data:`MOST_ON_A_GPU` if agents have imported torch and it has a GPU."""
    torch: Any = sys.modules.get("torch")
    cores = usable_cores()
    return min(cores, MOST_ON_A_GPU) if torch and torch.cuda.is_available() else cores


def make_parser() -> Parser:
    """The command's own arguments."""
    parser = Parser("hko7env evaluate", __doc__ or "")
    add = parser.add_argument
    add_agents(parser, nargs="+")
    help_text = "online, offline or both: the environments HKO7-Online-v0 and HKO7-Offline-v0; default: both"
    add("--env", choices=SETTINGS, default="both", help=help_text)
    add_archive(parser)
    add_split(parser)
    add("--limit", type=integer(1), metavar="N", help="evaluate the first N sequences only; default: all")
    help_text = "show agents masked locations and weak echo as 0; default: frames as recorded"
    add("--cleaned", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    add_seeds(parser)
    add_keep(parser)
    add_out(parser, "folder in which each run has a folder", "results")
    cores = f"the usable cores, at most {MOST_ON_A_GPU} with a GPU"
    add_workers(parser, "runs, their sequences, and episodes of agents that do not learn", default=cores)
    help_text = "number of torch threads of each process; another number may change roundings; default: 1"
    add("--threads", type=integer(1), default=1, metavar="N", help=help_text)
    add_scheduler(parser)
    return parser

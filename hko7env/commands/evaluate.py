"""Evaluate agents and print the table of Shi et al. 2017: ``hko7env evaluate agents.last_frame``.

Each agent runs offline, where sequences are independent, and online, where it sees them in order and may learn.
A run that is interrupted continues when the same command is given again. The fields of an agent's ``Config`` are
options too: ``hko7env evaluate agents.rover --help`` lists those of ROVER. Agents come first, then their options.
"""

import argparse
from dataclasses import replace

from hko7env.allocator import keep_freed_memory
from hko7env.command_line import Parser, add_archive, add_out, add_split, add_workers, integer
from hko7env.commands.agent_options import add_agents, parse_with_agents
from hko7env.commands.keep import add_keep, extras_of
from hko7env.commands.seeds import add_seeds, vary_seed
from hko7env.evaluation.evaluate import Plan, evaluate
from hko7env.evaluation.table import seed_table, table

SETTINGS = {"online": (True,), "offline": (False,), "both": (False, True)}


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
    rows, groups, extras = [], [], extras_of(args)
    varied = {agent: vary_seed(agent, options[agent], args.seeds) for agent in args.agents}
    for agent in args.agents:
        for online in SETTINGS[args.env]:
            results = []
            for _, given in varied[agent]:
                plan = Plan(agent, online, args.archive, args.split, args.limit, args.cleaned, given)
                results.append(evaluate(plan, args.out, workers=args.workers, extras=extras))
            seeds = [seed for seed, _ in varied[agent]]
            rows += [
                r if s is None else replace(r, agent=f"{agent} seed {s}") for s, r in zip(seeds, results, strict=True)
            ]
            groups.append(results)
    print(table(rows), end="")
    print(seed_table(groups), end="")
    print(f"Run folders with per-lead scores: {args.out}")
    return 0


def make_parser() -> Parser:
    """The command's own arguments."""
    parser = Parser("hko7env evaluate", __doc__ or "")
    add = parser.add_argument
    add_agents(parser, nargs="+")
    help_text = "online, offline or both: the environments HKO7-Online-v0 and HKO7-Offline-v0; default: both"
    add("--env", choices=tuple(SETTINGS), default="both", help=help_text)
    add_archive(parser)
    add_split(parser)
    add("--limit", type=integer(1), metavar="N", help="evaluate the first N sequences only; default: all")
    help_text = "show agents masked locations and weak echo as 0; default: frames as recorded"
    add("--cleaned", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    add_seeds(parser)
    add_keep(parser)
    add_out(parser, "folder in which each run has a folder", "results")
    add_workers(parser, "the sequences of an offline run")
    return parser

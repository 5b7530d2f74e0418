"""Forecast an archive that is still growing: ``hko7env live agents.rover --archive growing.zarr --out live``.

Forecasts are written as they are made, as CF netCDF and zarr, and scored when their time has come; a learner learns
from what has come true. A process that was stopped or killed continues with the same command. ``health.json`` in the
output folder says how it does. ``hko7env live-results`` writes what has been scored for ``hko7env report``.
"""

import sys

from hko7env.command_line import Parser, add_archive, add_out, add_split
from hko7env.commands.agent_options import add_agents, parse_with_agents
from hko7env.commands.interrupts import stop_requests
from hko7env.live_run.service import LiveOptions, LivePlan, serve
from hko7env.options import add_options, given


def main(arguments: list[str] | None = None) -> int:
    """Run the agents that ``arguments`` name until a timeout, SIGTERM or Ctrl-C.

    Returns:
        The exit status 0.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when the step in work is done.
        UsageError: If the command line is wrong.
        ValueError: If the archive or a file of the run cannot be used.
        OSError: If a file cannot be read or written.
    """
    words = sys.argv[1:] if arguments is None else arguments
    args, options = parse_with_agents(make_parser, words)
    settings = LiveOptions(**given(args, LiveOptions))
    agents = {agent: options[agent] for agent in args.agents}
    plan = LivePlan(agents, args.archive, args.split, settings, ("hko7env", "live", *words))
    with stop_requests() as stop:
        status = serve(plan, args.out, stopped=stop.is_set, sleep=stop.wait)
        print(f"{args.out}: {status}; the same command continues")
    return 0


def make_parser() -> Parser:
    """The command's own arguments."""
    parser = Parser("hko7env live", __doc__ or "")
    add_agents(parser, nargs="+")
    add_archive(parser, required=True)
    add_split(parser)
    add_out(parser, "folder of the live run")
    add_options(parser, LiveOptions)
    return parser

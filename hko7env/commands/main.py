"""The command ``hko7env``, which calls the commands of this package and those of the networks in ``agents``."""

import sys
from pathlib import Path

import hko7env
from hko7env.commands.dispatch import Command, dispatch

DESCRIPTION = "A streaming benchmark for precipitation nowcasting: the HKO-7 protocol of Shi et al. 2017."
RESUMES = "stopped; what is finished is kept, and the same command continues from there"
COMMANDS = {
    "evaluate": Command("hko7env.commands.evaluate", "evaluate agents and print the table of scores", RESUMES),
    "report": Command("hko7env.commands.report", "compare finished runs on one HTML page: who wins, how surely, where"),
    "archive": Command("hko7env.commands.archive.main", "make, inspect and change archives of radar frames"),
    "score": Command("hko7env.commands.score", "score a file of forecasts made elsewhere", RESUMES),
    "live": Command("hko7env.commands.live", "forecast a growing archive as frames come, and score it", RESUMES),
    "live-results": Command("hko7env.commands.live_results", "write run folders of what a live run has scored"),
    "train": Command("agents.commands.train", "train a network on an archive or on synthetic rain", RESUMES),
    "checkpoint": Command("agents.commands.checkpoint", "take a training to another machine, in parts"),
    "calibrate": Command(
        "agents.commands.calibrate",
        "make the prior of agents.calibrated_flow, or the counts of agents.flow_net",
        RESUMES,
    ),
    "animate": Command("hko7env.commands.animate", "animate one forecast beside what was observed"),
    "links": Command("agents.commands.links", "draw the locations that the links of a TrajGRU read"),
    "moving-mnist": Command("agents.commands.moving_mnist", "train and test networks on MovingMNIST++", RESUMES),
    "benchmark": Command("agents.commands.benchmark", "measure speed, memory and skill, compared with references"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``hko7env``.

    Args:
        arguments: The words after ``hko7env``. None: those of the process, and modules in the current folder, such as
            an agent of the user's own, can be imported.

    Returns:
        The exit status: 0, 1 for an error, 2 for a wrong command line, 130 for an interrupt.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        if not {"", str(Path.cwd())} & set(sys.path):
            sys.path.insert(0, str(Path.cwd()))
    if arguments == ["--version"]:
        print(f"hko7env {hko7env.__version__}")
        return 0
    return dispatch("hko7env", DESCRIPTION, COMMANDS, arguments)

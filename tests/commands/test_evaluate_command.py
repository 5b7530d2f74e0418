import shutil
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from hko7env.command_line import UsageError
from hko7env.commands import agent_options, evaluate
from hko7env.commands.agent_options import parse_with_agents
from hko7env.commands.evaluate import make_parser


def test_the_table_is_printed_and_the_runs_are_written(command, small_archive, tmp_path):
    words = ("agents.last_frame", "tests.helpers.toys", "--delay", "0", "--archive", small_archive, "--workers", "2")
    done = command("evaluate", *words)
    assert done.status == 0, done.err
    rows = [line.split("|")[1:3] for line in done.out.splitlines() if line.startswith("| ")]
    assert [[cell.strip() for cell in row] for row in rows[2:]] == [
        ["agents.last_frame", "offline"], ["tests.helpers.toys", "offline"], ["tests.helpers.toys", "online"]
    ]  # fmt: skip
    assert "agents.last_frame: online the scores are the same, as its forecasts depend on the newest" in done.out
    assert len(list((tmp_path / "results").iterdir())) == 3
    assert "all runs: 100%" in done.err
    assert "39/39" in done.err, "one progress bar for all runs"
    assert "tests.helpers.toys online: CSI 0" in done.err, "the scores of a run as soon as it is complete"


def test_an_agent_without_memory_runs_online_if_that_is_asked_for(command, small_archive):
    done = command("evaluate", "agents.last_frame", "--archive", small_archive, "--env", "online")
    assert "| agents.last_frame | online " in done.out
    assert "online the scores are the same" not in done.out


def test_an_error_in_a_worker_comes_with_its_sequence_and_the_run(command, small_archive):
    words = ("agents.last_frame", "tests.helpers.toys", "--fail-at", 5, "--archive", small_archive, "--workers", 2)
    done = command("evaluate", *words)
    assert done.status == 1
    said = done.err.splitlines()[-1]
    assert said.startswith("hko7env evaluate: tests.helpers.toys o")
    assert "RuntimeError: the toy is broken, in sequence " in said
    assert said.endswith("keeps the finished sequences: run it again to continue")
    assert "Traceback" in done.err, "for the author of the agent"


def test_the_number_of_workers_by_default(monkeypatch):
    class Torch:
        class cuda:  # noqa: N801
            is_available = staticmethod(lambda: True)

    monkeypatch.setattr(evaluate, "usable_cores", lambda: 6)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert evaluate.default_workers() == 6
    monkeypatch.setitem(sys.modules, "torch", Torch)
    assert evaluate.default_workers() == 4


@pytest.mark.parametrize(
    "words, status, message",
    [
        (["agents.last_farme"], 1, "did you mean 'agents.last_frame'?"),
        (["agents.last_frame", "--splt", "test"], 2, "there is no option '--splt', did you mean '--split'?"),
        (["agents.last_frame", "--split", "tets"], 1, "did you mean 'test'?"),
        (["tests.helpers.toys", "--dely", "1"], 2, "did you mean '--delay'?"),
        (["tests.helpers.toys", "--delay", "soon"], 2, "--delay expects float, got 'soon'"),
        (["tests.helpers.toys", "--loud", "maybe"], 2, "unexpected 'maybe'"),
        (["tests.helpers.toys", "--loud", "true"], 2, "given as --name or --no-name"),
        (["tests.helpers.toys", "--loud=true"], 2, "--loud/--no-loud: ignored explicit argument 'true'"),
        (["tests.helpers.toys", "--delay"], 2, "--delay: expected one argument"),
        (["agents.last_frame", "--limit", "0"], 2, "--limit: must be at least 1"),
        (["agents.last_frame", "--keep-forecasts", "-1"], 2, "--keep-forecasts: must be at least 0"),
        (["agents.last_frame", "--workers", "0"], 2, "--workers: must be at least 1"),
        (["agents.last_frame", "--archive", "nowhere.zarr"], 1, "no archive at nowhere.zarr"),
        (["--evn", "online", "agents.last_frame"], 1, "is --evn meant to be --env?"),
        (["--delay", "3", "tests.helpers.toys"], 1, "options of an agent come after the agents"),
        (["tests.helpers.toys", "--spl", "test"], 2, "there is no option '--spl', did you mean '--split'?"),
        (["tests.helpers.toys", "--label=", "--weights=x"], 2, "there is no option '--weights'"),
        (["tests.toy"], 1, "there is no agent 'tests.toy'"),
        ([], 2, "the following arguments are required: AGENT"),
    ],
)
def test_a_wrong_command_line_is_named(command, small_archive, tmp_path, words, status, message):
    given = [] if "--archive" in words else ["--archive", small_archive]
    done = command("evaluate", *words, *given)
    assert done.status == status
    assert done.err.startswith("hko7env evaluate: ")
    assert message in done.err
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_help_lists_the_options_of_the_agents(command, capsys):
    for words, own in (
        (["tests.helpers.toys"], True),
        ([], False),
        (["agents.last_frame", "tests.helpers.toys:learner"], True),
    ):
        with pytest.raises(SystemExit) as left:
            command("evaluate", *words, "--help")
        assert left.value.code == 0
        text = capsys.readouterr().out
        assert "--archive PATH" in text
        assert ("--fail-at INT" in text) is own


def test_an_option_goes_to_the_agents_that_have_it():
    words = ["agents.last_frame", "tests.helpers.toys", "tests.helpers.toys:learner", "--delay", "0.5", "--no-loud"]
    args, options = parse([*words, "--label", "none"])
    assert args.agents == words[:3]
    toys = {"delay": 0.5, "loud": False, "label": "none"}  # where text is expected, "none" is the agent's to interpret
    assert options == {"agents.last_frame": {}, "tests.helpers.toys": toys, "tests.helpers.toys:learner": toys}


def parse(words):
    return parse_with_agents(make_parser, words)


@dataclass(frozen=True)
class Counted:
    size: Annotated[int, "widths"] = 1


@dataclass(frozen=True)
class Named:
    size: Annotated[Literal["1", "2"], "of the network"] = "1"
    depth: Annotated[int | None, "levels"] = 3


@dataclass(frozen=True)
class Clashing:
    limit: Annotated[int, "at most"] = 1


@dataclass(frozen=True)
class Unreadable:
    widths: tuple[int, ...] = (1, 2)


@pytest.fixture
def agents(monkeypatch):
    """Agents with the options of the dataclasses above, by name."""
    known = {"counted": Counted, "named": Named, "clashing": Clashing, "unreadable": Unreadable, "plain": None}
    monkeypatch.setattr(agent_options, "find", lambda name: (None, known[name]))


def test_an_option_of_two_agents_has_the_type_of_each(agents):
    _, options = parse(["counted", "named", "plain", "--size", "2", "--depth", "none"])
    assert options == {"counted": {"size": 2}, "named": {"size": "2", "depth": None}, "plain": {}}
    with pytest.raises(UsageError, match="--size is one of 1, 2, got '3'"):
        parse(["counted", "named", "--size", "3"])


def test_an_option_that_is_the_commands_own_is_refused(agents):
    with pytest.raises(ValueError, match="clashing has an option 'limit', as hko7env evaluate has: rename"):
        parse(["clashing"])


def test_a_field_that_no_flag_can_have_is_named(agents):
    with pytest.raises(ValueError, match="unreadable: widths has a type that no flag can have"):
        parse(["unreadable"])


# ---------------------------------------------------------------- errors of an agent, of files, of archives


def test_an_agents_error_comes_with_its_sequence(command, small_archive):
    with pytest.raises(RuntimeError, match="the toy is broken") as error:
        command("evaluate", "tests.helpers.toys", "--fail-at", 5, "--archive", small_archive)
    assert "in sequence 5, issued 2015-05-20T02:54, by Slow" in "".join(error.value.__notes__)


@pytest.mark.parametrize(
    "source, note",
    [
        ("def make(task):\n    raise ValueError('bad shapes deep inside')\n", "while broken_agent made its agent"),
        ("raise ValueError('bad shapes deep inside')\n", "while broken_agent was imported"),
    ],
)
def test_an_error_in_the_agents_own_code_keeps_its_traceback(
    command, small_archive, tmp_path, monkeypatch, source, note
):
    (tmp_path / "broken_agent.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_agent", raising=False)
    with pytest.raises(ValueError, match="bad shapes") as error:
        command("evaluate", "broken_agent", "--archive", small_archive)
    assert note in "".join(error.value.__notes__)


def test_a_folder_that_cannot_be_written_is_named(command, small_archive, tmp_path):
    (tmp_path / "results").write_text("in the way")
    done = command("evaluate", "agents.last_frame", "--archive", small_archive)
    assert done.status == 1
    assert "cannot write results/agents.last_frame-offline-test" in done.err


def test_a_damaged_archive_is_not_blamed_on_the_agent(command, small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    (tmp_path / "a.zarr/pixel/c/12/0/0").unlink()
    done = command("evaluate", "agents.last_frame", "--archive", "a.zarr")
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith("hko7env evaluate: a.zarr: frames 60 to 64")

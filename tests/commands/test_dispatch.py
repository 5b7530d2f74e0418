import subprocess
import sys
from pathlib import Path

import pytest

import hko7env
from hko7env.command_line import Parser, UsageError
from hko7env.commands.archive.main import COMMANDS as ARCHIVE
from hko7env.commands.dispatch import Command, dispatch
from hko7env.commands.main import COMMANDS
from hko7env.loading import find_module

ROOT = Path(__file__).resolve().parent.parent.parent


def test_help_has_a_line_for_each_command(command):
    for words, commands in ((["--help"], COMMANDS), (["archive", "-h"], ARCHIVE)):
        done = command(*words)
        assert (done.status, done.err) == (0, "")
        lines = done.out.splitlines()
        for name, entry in commands.items():
            assert sum(line.split()[:1] == [name] and line.endswith(entry.about) for line in lines) == 1, name


def test_without_a_command_the_help_is_an_error(command):
    done = command()
    assert (done.status, done.out) == (2, "")
    assert "evaluate agents and print the table" in done.err


@pytest.mark.parametrize(
    "words, message",
    [
        (["evalute"], "hko7env: there is no command 'evalute', did you mean 'evaluate'?"),
        (["moving_mnist"], "did you mean 'moving-mnist'?"),
        (["archive", "descrbe"], "hko7env archive: there is no command 'descrbe', did you mean 'describe'?"),
        (["frobnicate"], "only evaluate, report"),
    ],
)
def test_a_misspelt_command_gets_a_suggestion(command, words, message):
    done = command(*words)
    assert done.status == 2
    assert message in done.err


def test_the_version(command):
    assert command("--version").out == f"hko7env {hko7env.__version__}\n"


@pytest.mark.parametrize("entry", [*COMMANDS.values(), *ARCHIVE.values()], ids=lambda entry: entry.module)
def test_every_command_is_there_and_has_a_main_function(entry):
    module = find_module(entry.module)
    assert module is not None
    assert callable(__import__(module, fromlist=["main"]).main)


GROUPS = {"archive": list(ARCHIVE), "moving-mnist": ["train", "test", "table", "draw"]}
LEAVES = [[name] for name in COMMANDS if name not in GROUPS] + [
    [g, name] for g, names in GROUPS.items() for name in names
]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_says_of_every_option_what_it_is(command, words, monkeypatch):
    """Each argument has a help text, and each option that may be left out says what happens then."""
    shown = []
    monkeypatch.setattr(Parser, "print_help", lambda self, file=None: shown.append(self))
    with pytest.raises(SystemExit) as left:
        command(*words, "--help")
    assert left.value.code == 0
    (parser,) = shown
    assert parser.prog == " ".join(["hko7env", *words])
    alternatives = [action for group in parser._mutually_exclusive_groups for action in group._group_actions]
    for action in parser._actions:
        assert action.help, action.dest
        if action.option_strings and not action.required and action.dest != "help" and action not in alternatives:
            assert "; default: " in action.help, action.dest


# ---------------------------------------------------------------- errors


@pytest.fixture
def raising(tmp_path, monkeypatch):
    """A program of one command, which raises what it is given."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_command.py").write_text("error = None\ndef main(arguments):\n    raise error\n")
    monkeypatch.delitem(sys.modules, "some_command", raising=False)
    import some_command

    def call(error):
        some_command.error = error
        return dispatch("program", "About.", {"go": Command("some_command", "go", "stopped; go on")}, ["go"])

    yield call
    del sys.modules["some_command"]


@pytest.mark.parametrize(
    "error, status, text",
    [
        (ValueError("no such thing"), 1, "program go: no such thing\n"),
        (FileNotFoundError(2, "No such file", "a.zarr"), 1, "program go: [Errno 2] No such file: 'a.zarr'\n"),
        (MemoryError("too large"), 1, "program go: too large\n"),
        (MemoryError(), 1, "program go: MemoryError\n"),
        (UsageError("no option"), 2, "program go: no option\nHelp: program go --help\n"),
        (KeyboardInterrupt(), 130, "\nprogram go: stopped; go on\n"),
    ],
)
def test_expected_errors_are_a_line(raising, capsys, error, status, text):
    assert raising(error) == status
    assert capsys.readouterr() == ("", text)


def test_defects_and_errors_of_an_agent_keep_their_traceback(raising):
    noted = ValueError("shapes do not match")
    noted.add_note("in sequence 5, by Slow")
    for error in (noted, TypeError("a defect")):
        with pytest.raises(type(error)):
            raising(error)


def test_a_command_that_is_not_installed_is_named(capsys):
    assert dispatch("program", "About.", {"go": Command("agents.no_such", "go")}, ["go"]) == 1
    assert "lacks agents.no_such: install it again" in capsys.readouterr().err


def test_commands_are_imported_when_they_are_called(small_archive, tmp_path):
    code = (
        "import sys\nfrom hko7env.commands.main import main\n"
        f"assert main(['archive', 'describe', {str(small_archive)!r}]) == 0\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'torch', 'scipy', 'matplotlib', 'agents'}, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

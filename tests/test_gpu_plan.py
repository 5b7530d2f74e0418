"""The plan for a GPU: its commands are those of the package, end in time, and leave small files."""

import json
import time

import pytest

from agents.commands.checkpoint import ACTIONS
from agents.commands.train import parse as parse_training
from agents.learning.train_config import TrainConfig
from hko7env.command_line import Parser
from hko7env.commands.main import main as hko7env
from tests.docs.test_code_blocks import Parsed
from tools import gpu_plan
from tools.gpu_plan import Choices, Command, main, run


@pytest.fixture
def choices(tmp_path):
    data = tmp_path / "data"
    for name in ("arso", "casgo"):
        (data / f"{name}.zarr").mkdir(parents=True)
    return Choices(9.5, 2, data, data, tmp_path / "work", "cuda", "bf16", toy=False)


def parse(monkeypatch, words):
    """Let the real parser read the words of a command."""
    read = Parser.parse_args

    def stop(self, *arguments):
        read(self, *arguments)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(Parser, "parse_args", stop)
        with pytest.raises(Parsed):
            hko7env(words)


@pytest.mark.parametrize("toy", [False, True])
@pytest.mark.parametrize("step", gpu_plan.STEPS)
def test_every_command_is_read_by_its_parser(choices, monkeypatch, step, toy):
    choices = Choices(**{**vars(choices), "toy": toy, "device": "cpu" if toy else "cuda"})
    commands = gpu_plan.STEPS[step](choices)
    for command in commands:
        if command.words[0] == "train":
            model, archives, config = parse_training(command.words[1:])
            assert model == step
            assert [share for _, share in archives] == [2.0, 1.0]
            assert (config.resident, config.varied, config.graph) == (True, True, not toy)
            assert isinstance(config, TrainConfig)
        else:
            parse(monkeypatch, command.words)


def test_without_archives_synthetic_rain_is_made_once(choices, tmp_path):
    choices = Choices(**{**vars(choices), "data": tmp_path / "none"})
    plan = gpu_plan.STEPS["convgru"]
    first, second = plan(choices)
    assert first.words[:2] == ["archive", "synthetic"]
    assert first.words[first.words.index("--out") + 1] in second.words
    (choices.work / "rain.zarr").mkdir(parents=True)
    assert len(plan(choices)) == 1


def test_the_steps_of_a_training_are_those_there_is_time_for(choices):
    measured = "hko7 trajgru, 240 x 240 px, batch 8, bf16"
    assert choices.steps(measured) == gpu_plan.DEFAULT_STEPS
    line = {"name": "training with data, hko7 trajgru, 240 x 240 px, batch 8, bf16", "value": 50.0}
    other = {**line, "name": line["name"].replace("bf16", "float32"), "value": 1.0}
    (choices.work / "benchmark").mkdir(parents=True)
    found = {"items": {"whole trainings": {"lines": [other, {"name": "x", "fact": 1}, line]}}}
    (choices.work / "benchmark/results.json").write_text(json.dumps(found))
    seconds = 2 * (9.5 * 60 - gpu_plan.RESERVE)
    assert choices.steps(measured) == int(0.7 * 50 * seconds)
    train = gpu_plan.STEPS["trajgru"](choices)[0].words
    assert train[train.index("--steps") + 1] == str(choices.steps(measured))


def test_a_command_is_told_to_stop_in_time_and_ended_if_it_does_not(monkeypatch, tmp_path):
    script = tmp_path / "hko7env.py"
    script.write_text(
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n"
        "    pathlib.Path(sys.argv[2]).touch()\n"
        "    if sys.argv[1] == 'saves':\n"
        "        sys.exit(130)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "pathlib.Path(sys.argv[2] + '.begun').touch()\n"
        "while True:\n"
        "    time.sleep(0.01)\n"
    )
    monkeypatch.setattr(gpu_plan, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_plan, "PATIENCE", 5.0)
    start = gpu_plan.subprocess.Popen

    def begin(words, cwd):
        process = start(words, cwd=cwd)
        while not (tmp_path / f"{words[-1]}.begun").exists():
            time.sleep(0.01)
        return process

    monkeypatch.setattr(gpu_plan.subprocess, "Popen", begin)
    assert run(Command(["saves", "one"]), time.monotonic()) == 130
    assert (tmp_path / "one").exists()
    monkeypatch.setattr(gpu_plan, "PATIENCE", 0.2)
    assert run(Command(["hangs", "two"]), time.monotonic()) == -9
    assert (tmp_path / "two").exists()


def test_a_dry_run_prints_and_runs_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_plan, "run", None)
    words = ["digits", "--dry-run", "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o")]
    assert main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in printed] == ["train", "train", "test"]
    assert not (tmp_path / "w").exists()
    assert not (tmp_path / "o").exists()


def test_what_is_kept_is_packed_after_the_commands(choices, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(gpu_plan, "run", lambda command, end: ran.append(command.words) or 130)
    folder = tmp_path / "w/convgru"
    folder.mkdir(parents=True)
    words = ["--data", str(choices.data), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o")]
    assert main(["convgru", *words]) == 0
    assert [each[0] for each in ran] == ["train"]
    (folder / "last.safetensors").touch()
    monkeypatch.setattr(gpu_plan, "begun_steps", lambda out: 77)
    ran.clear()
    assert main(["convgru", *words, "--parts", str(tmp_path / "p")]) == 0, "what is there is not replaced by parts"
    train, pack = ran
    assert train[train.index("--steps") + 1] == "77"
    assert pack[:2] == ["checkpoint", ACTIONS[0]]
    (folder / "last.safetensors").unlink()
    folder.rmdir()
    ran.clear()
    main(["convgru", *words, "--parts", str(tmp_path / "p")])
    assert ran[0] == ["checkpoint", "unpack", str((tmp_path / "p").resolve()), "--out", str(folder)]

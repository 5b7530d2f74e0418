"""Damaged, foreign and half-written files in the folder of a training."""

from pathlib import Path

import pytest

from agents.learning.checkpoint import CheckpointError
from hko7env.evaluation.journal import RunError
from tests.helpers.training import tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")

HEAD = "step,loss,rate,seconds,valid\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "step,loss\n1,2\n",
        HEAD + "1,0.5,1e-4,0.1,\n2,0.5,1e",
        HEAD + "1,0.5,1e-4,0.1,\n2",
        HEAD + "1,0.5,1e-4,0.1,\n\n",
        HEAD + "1,0.5,1e-4,0.1,,9\n",
        HEAD + "one,0.5,1e-4,0.1,\n",
        HEAD + "2,0.5,1e-4,0.1,\n1,0.5,1e-4,0.1,\n",
        HEAD + '1,"0.5,1e-4,0.1,\n',
        HEAD + "1,\0,1e-4,0.1,\n",
        "\udcff",
    ],
)
def test_a_log_that_is_torn_or_foreign_is_named_before_anything_is_learned(tmp_path, text):
    tiny_trainer(tmp_path, steps=1).run()
    log, last = tmp_path / "log.csv", (tmp_path / "last.safetensors").read_bytes()
    log.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=r"log\.csv is no log .*: move it away and give the same command again"):
        tiny_trainer(tmp_path, steps=2)
    assert log.read_bytes() == text.encode(errors="surrogateescape")
    assert (tmp_path / "last.safetensors").read_bytes() == last
    log.unlink()
    assert tiny_trainer(tmp_path, steps=2).run()
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["step", "2"]


@pytest.mark.parametrize("name", ["log.csv", "last.safetensors"])
def test_a_folder_in_place_of_a_file_of_a_training_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match=name):
        tiny_trainer(tmp_path)


def test_a_training_needs_a_folder(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(CheckpointError, match=r"/a is not a folder: choose another one"):
        tiny_trainer(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize("name", ["log.csv", "last.safetensors", "best.safetensors"])
def test_a_full_disk_is_said_with_the_file(tmp_path, monkeypatch, name):
    replace = Path.replace

    def full(self, target):
        if Path(target).name == name:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match=rf"cannot write .*{name} .*No space left on device.*: make room"):
        tiny_trainer(tmp_path, steps=1).run()
    monkeypatch.undo()
    assert tiny_trainer(tmp_path, steps=1).run()
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "last.safetensors", "best.safetensors"}


def kill_at(name, folder, monkeypatch):
    """Leave ``folder`` as a training that is killed between writing the file ``name`` and putting it in its place."""

    def killed(self, target):
        if Path(target).name == name:
            raise KeyboardInterrupt
        return replace(self, target)

    replace = Path.replace
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        patch.setattr("os.getpid", lambda: 1)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # nothing cleans up after a kill
        tiny_trainer(folder, steps=1).run()


@pytest.mark.parametrize("name", ["log.csv", "best.safetensors", "last.safetensors"])
def test_what_a_killed_training_left_is_removed_by_its_next_start_alone(tmp_path, monkeypatch, name):
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        kill_at(name, folder, monkeypatch)
        assert [path.name.startswith(name) for path in folder.glob("*.partial")] == [True]
    kept = mine / "notes.partial"
    kept.write_text("the user's own")
    assert tiny_trainer(mine, steps=1).run()
    assert list(mine.glob("*.partial")) == [kept]
    assert len(list(other.glob("*.partial"))) == 1


def test_leftovers_stay_where_the_training_is_another(tmp_path):
    tiny_trainer(tmp_path, steps=1, metadata={"seed": 1}).run()
    (tmp_path / "last.safetensors.1.partial").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="seed 1, not 2"):
        tiny_trainer(tmp_path, steps=1, metadata={"seed": 2})
    assert (tmp_path / "last.safetensors.1.partial").exists()
    tiny_trainer(tmp_path, steps=1, metadata={"seed": 1})
    assert not list(tmp_path.glob("*.partial"))

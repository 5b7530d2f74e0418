"""A training goes to another machine in parts and continues there."""

import json

import pytest
import torch

from agents.learning.checkpoint import CheckpointError, read
from agents.learning.parts import INDEX, decode, encode, pack, unpack
from tests.helpers.training import content, equal, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def training(tmp_path):
    tiny_trainer(tmp_path / "one", steps=2, weight_averaging=0.9).run()
    return tmp_path / "one"


def test_parts_are_small_and_make_the_same_training(training, tmp_path):
    size = 0.01
    written = pack(training, tmp_path / "parts", megabytes=size)
    assert len(written) > 4
    assert max(path.stat().st_size for path in written[:-1]) <= size * 1e6
    unpack(tmp_path / "parts", tmp_path / "two")
    for name in ("last.safetensors", "best.safetensors", "log.csv"):
        assert (tmp_path / "two" / name).read_bytes() == (training / name).read_bytes()


def test_a_compact_training_goes_on(training, tmp_path):
    exact, compact = (pack(training, tmp_path / name, compact=name == "b") for name in "ab")
    assert sum(p.stat().st_size for p in compact) < 0.5 * sum(p.stat().st_size for p in exact)
    unpack(tmp_path / "b", tmp_path / "two")
    before, after = (content(folder / "last.safetensors") for folder in (training, tmp_path / "two"))
    assert before.keys() == after.keys()
    for name in before:
        value = before.get(f"ema.{name.removeprefix('net.')}", before[name])
        assert (after[name].dtype, after[name].shape) == (value.dtype, value.shape)
        if name.startswith("adam.exp_avg."):
            assert not after[name].any()
        else:
            bound = 0.05 if name.startswith("adam.exp_avg_sq.") else 2**-8
            torch.testing.assert_close(after[name], value, rtol=bound, atol=1e-9 * float(value.abs().max()))
    assert read(training / "last.safetensors")[1] == read(tmp_path / "two/last.safetensors")[1]
    one = tiny_trainer(tmp_path / "two", steps=4, weight_averaging=0.9)
    assert (one.step, one.run()) == (2, True)
    assert not equal(content(tmp_path / "two/last.safetensors"), after)


def test_squares_keep_their_size():
    values = torch.tensor([0.0, 1e-12, 3e-7, 0.02, 5.0])
    codes, largest = encode(values)
    assert codes.dtype == torch.uint8
    torch.testing.assert_close(decode(codes, largest), values, rtol=2 ** (1 / 16) - 1 + 1e-5, atol=5 * 2.0**-31)
    assert decode(codes, largest)[[0, -1]].tolist() == [0.0, 5.0]
    assert not decode(*encode(torch.zeros(3))).any()


def test_damage_is_found_and_nothing_is_written(training, tmp_path):
    parts = tmp_path / "parts"
    pack(training, parts, megabytes=0.01)
    first = parts / "part.0"
    sound = first.read_bytes()
    index = json.loads((parts / INDEX).read_text())

    def refuse(message):
        with pytest.raises(CheckpointError, match=message):
            unpack(parts, tmp_path / "two")
        assert not (tmp_path / "two").exists()

    first.write_bytes(sound[:-1] + b"?")
    refuse(r"part\.0 is damaged .*: pack the training again")
    first.unlink()
    refuse(r"part\.0 is missing")
    first.write_bytes(sound)
    evil = {"../evil": {"bytes": 1, "sha256": ""}}
    for wrong in ({**index, "format": "x"}, {**index, "files": evil}, {**index, "parts": 3}, [], {}):
        (parts / INDEX).write_text(json.dumps(wrong))
        refuse("is no index of parts, or damaged")
    (parts / INDEX).write_text(json.dumps({**index, "parts": {"../one/log.csv": ""}}))
    refuse("a part lies in another folder")
    (parts / INDEX).write_text(json.dumps({**index, "parts": dict(list(index["parts"].items())[::-1])}))
    refuse("its parts do not belong together")
    other = {name: about | {"sha256": "0"} for name, about in index["files"].items()}
    (parts / INDEX).write_text(json.dumps({**index, "files": other}))
    refuse("its parts do not belong together")
    (parts / INDEX).unlink()
    refuse("give the folder that contains parts.json")


def test_what_cannot_be_packed_is_said(training, tmp_path):
    with pytest.raises(FileNotFoundError, match="no training at"):
        pack(tmp_path, tmp_path / "parts")
    with pytest.raises(ValueError, match="megabytes must be above 0"):
        pack(training, tmp_path / "parts", megabytes=0)
    pack(training, tmp_path / "parts")
    with pytest.raises(ValueError, match="holds files already: choose an empty folder"):
        pack(training, tmp_path / "parts")


def test_the_command(command, training, tmp_path):
    done = command("checkpoint", "pack", training, "--out", tmp_path / "parts", "--compact")
    assert done.status == 0, done.err
    assert "2 files" in done.out
    done = command("checkpoint", "unpack", tmp_path / "parts", "--out", tmp_path / "two")
    assert (done.status, "last.safetensors" in done.out) == (0, True)
    assert command("checkpoint", "pack", training, "--out", tmp_path / "best", "--only", "best").status == 0
    assert [path.name for path in unpack(tmp_path / "best", tmp_path / "three")] == ["best.safetensors"]
    wrong = command("checkpoint", "unpack", tmp_path / "parts", "--out", tmp_path / "two", "--compact")
    assert (wrong.status, "are for pack: leave them out" in wrong.err) == (2, True)
    assert command("checkpoint", "unpack", tmp_path, "--out", tmp_path / "two").status == 1

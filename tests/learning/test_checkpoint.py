import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from agents.learning.checkpoint import CheckpointError, named, read, under, write
from agents.learning.weights import load_weights
from agents.networks.registry import build
from hko7env.files import write_atomically
from hko7env.loading import load
from hko7env.testing import observation, task
from hko7env.units import ZR

SOME = task(60, 60)
TENSORS = {
    "net.weight": torch.arange(6.0).reshape(2, 3).T,
    "net.count": torch.tensor(3),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "truth": torch.tensor([True, False]),
    "nothing": torch.zeros(0, 4),
    "half": torch.ones(3, dtype=torch.bfloat16),
}


@pytest.fixture
def saved(tmp_path):
    """Weights of a small ConvGRU in a file."""
    net = build("convgru", "small", SOME, seed=5)
    write(
        tmp_path / "a.safetensors",
        named("net", net.state_dict()),
        {"kind": "weights", **net.metadata},
    )
    return tmp_path / "a.safetensors"


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "a"
    given = {"step": 7, "zr": [58.53, 1.56], "name": "é", "nothing": None}
    for _ in range(2):  # a second time over the first
        write(path, TENSORS, given)
    tensors, found = read(path)
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert {name: found[name] for name in given} == given
    assert set(under("net", tensors)) == {"weight", "count"}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write(path, TENSORS, {"step": 1})

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", lambda _: full(None, None))
    with pytest.raises(OSError, match="No space"):
        write(path, TENSORS, {"step": 2})
    assert read(path)[1]["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("where", [0.001, 0.02, 0.5, 0.999])
def test_every_flipped_byte_is_found(saved, where):
    data = bytearray(saved.read_bytes())
    data[int(where * len(data))] ^= 4
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.safetensors (is damaged|holds|has version)"):
        read(saved)


@pytest.mark.parametrize("part", [0, 4, 100, 0.5, 0.9999])
def test_a_torn_file_is_damaged(saved, part):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(part if part >= 1 else part * len(data))])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged, or no checkpoint .*train again"):
        read(saved)


def test_foreign_files_are_said_to_be(tmp_path):
    path = tmp_path / "a"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="another program"):
        read(path)
    save_file({"weight": torch.ones(2)}, path, metadata={"facts": json.dumps({"format": "other"})})
    with pytest.raises(CheckpointError, match="another program"):
        read(path)
    path.write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read(path)
    write(path, TENSORS, {"version": 99})
    with pytest.raises(CheckpointError, match="has version 99"):
        read(path)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model": "trajgru"}, "has model trajgru, but convgru is needed: use it with the agent agents.trajgru"),
        ({"size": "full"}, "choose the size full"),
        ({"table": "0"}, "layers have changed"),
        ({"zr": [200.0, 1.6]}, "same relation of level to rain"),
        ({"leads": 7}, "has leads 7, but 20 is needed"),
    ],
)
def test_what_is_another_networks_is_refused(saved, change, message):
    tensors, found = read(saved)
    write(saved, tensors, found | change)
    with pytest.raises(CheckpointError, match=message):
        load("agents.convgru", SOME, checkpoint=str(saved))


def test_other_units_of_the_archive_are_refused(saved):
    other = type(SOME)(5, 20, 60, 60, 6, SOME.scored, ZR(200.0, 1.6))
    with pytest.raises(CheckpointError, match=r"zr \[58.53, 1.56\]"):
        load("agents.convgru", other, checkpoint=str(saved))


def test_a_lacking_tensor_is_refused(saved):
    tensors, found = read(saved)
    tensors.popitem()
    write(saved, tensors, found)
    with pytest.raises(CheckpointError, match="does not fit the network"):
        load("agents.convgru", SOME, checkpoint=str(saved))


def test_weights_decide_the_forecast_and_the_seed_no_longer(saved):
    ahead = []
    for seed in (0, 1):
        agent = load("agents.convgru", SOME, checkpoint=str(saved), seed=seed)
        agent.store(observation(SOME))
        ahead.append(agent.predict())
    net = build("convgru", "small", SOME, seed=9)
    assert load_weights(net, saved)["kind"] == "weights"
    np.testing.assert_array_equal(*ahead)


def test_restore_takes_its_own_kind_only(saved, tmp_path):
    agent = load("agents.convgru", SOME, checkpoint="none")
    with pytest.raises(CheckpointError, match="has kind weights, but online is needed"):
        agent.restore(saved)
    other = task(60, 90)
    large = load("agents.convgru", other, checkpoint="none")
    large.save(tmp_path / "b")
    with pytest.raises(CheckpointError, match="is of frames"):
        agent.restore(tmp_path / "b")
    write_atomically(tmp_path / "c", b"toy")
    with pytest.raises(ValueError, match="no checkpoint"):
        agent.restore(tmp_path / "c")

import faulthandler
import itertools
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import hko7env
from agents.commands.train import RENAMED, make_parser
from agents.learning.checkpoint import digest, read, under
from agents.learning.distributed import Ranks
from agents.learning.radar_training import make_trainer
from agents.learning.train_config import TrainConfig
from agents.learning.trainer import Trainer
from agents.learning.validation import Validation
from agents.learning.weights import find_shipped_weights
from agents.networks.registry import make_network
from hko7env.archive import Archive
from hko7env.loading import load
from hko7env.scores import Tally
from hko7env.split_view import SplitView
from hko7env.synthetic import EpisodeSpec, make
from hko7env.testing import task
from hko7env.units import ZR
from tests.conftest import SMALL
from tests.helpers.training import TINY, content, equal, log

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(ninety_archive):
    return ninety_archive


def words(archive, out, agent="agents.convgru", **options):
    """A short training; an option of None is left out."""
    given = {
        "archive": archive,
        "out": out,
        "steps": 4,
        "crop": 30,
        "valid_every": 2,
        "valid_limit": 2,
        "device": "cpu",
    }
    given |= options
    if given.get("valid") == "none":
        given["valid_limit"] = None
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in given.items() if value is not None)
    return ["train", agent, *itertools.chain.from_iterable(pairs)]


@pytest.mark.usefixtures("narrow")
def test_it_is_stopped_goes_on_and_its_weights_are_evaluated(archive, tmp_path, command, monkeypatch):
    learn = Trainer._learn

    def interrupted(self, batch, rate):
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return learn(self, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_learn", interrupted)
        patch.delenv("LOCAL_RANK", raising=False)
        stopped = command(*words(archive, "parts", valid_every=4))
        assert stopped.status == 130
    assert "stopped; the same command continues from there: 3 steps" in stopped.out
    for name in ("parts", "whole"):
        done = command(*words(archive, name, valid_every=4))
        assert done.status == 0
        assert "finished: 4 steps" in done.out
    assert equal(*(content(tmp_path / name / "last.safetensors") for name in ("parts", "whole")))

    agent = load("agents.convgru", task(90, 90), checkpoint=str(tmp_path / "whole/best.safetensors"), device="cpu")
    score = Validation(SplitView(Archive(str(archive)), "valid"), agent.net, Ranks(), 2)()
    assert read(tmp_path / "whole/best.safetensors")[1]["score"] == score


@pytest.mark.usefixtures("narrow")
def test_it_learns_from_rain_that_is_made_as_it_goes(archive, tmp_path, command):
    for name in ("one", "two"):
        assert command(*words(archive, name, synthetic_size=60, crop=None, steps=1)).status == 0
    assert equal(*(content(tmp_path / name / "best.safetensors") for name in ("one", "two")))
    done = command(*words(archive, "three", synthetic_size=45, crop=None))
    assert done.status == 1
    assert "crop them to multiples of 30" in done.err


# ---------------------------------------------------------------- several archives


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Path of an archive of 60 x 75 px of other rain, with splits train, valid and test."""
    path = tmp_path_factory.mktemp("archives") / "wide.zarr"
    make(path, shape=(60, 75), seed=5, weather=(EpisodeSpec("train", "2013-06-10T00:00", 40), *SMALL[1:]))
    Archive(str(path), writable=True).update(
        splits={
            "train": [("2013-01-01", "2014-01-01")],
            "valid": [("2015-05-20", "2015-05-21")],
            "test": [("2015-07-01", "2015-08-01")],
        }
    )
    return path


def several(archive, wide, out, **options):
    """The command of a training on both archives."""
    given = words(archive, out, varied=None, **options)
    place = given.index("--archive") + 1
    return [*given[:place], f"{archive}=3", str(wide), *given[place + 1 :], "--varied"]


@pytest.mark.usefixtures("narrow")
def test_a_training_on_several_archives_is_stopped_and_goes_on(archive, wide, tmp_path, command, monkeypatch):
    learn = Trainer._learn

    def interrupted(self, batch, rate):
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return learn(self, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_learn", interrupted)
        patch.delenv("LOCAL_RANK", raising=False)
        assert command(*several(archive, wide, "parts")).status == 130
    for name in ("parts", "whole"):
        assert command(*several(archive, wide, name)).status == 0
    for name in ("last", "best"):
        assert equal(*(content(tmp_path / folder / f"{name}.safetensors") for folder in ("parts", "whole")))
    _, metadata = read(tmp_path / "whole/best.safetensors")
    opened = [Archive(str(path)) for path in (archive, wide)]
    assert metadata["archives"] == [[opened[0].fingerprint, 3.0], [opened[1].fingerprint, 1.0]]
    assert (metadata["cadence"], metadata["varied"]) == ([6, 6], True)
    assert "archive" not in metadata
    done = command(*words(archive, "whole"))
    assert done.status == 1
    assert "last.safetensors is of a training with" in done.err


@pytest.mark.usefixtures("narrow")
def test_several_archives_are_validated_on_relative_to_the_last_frame(archive, wide, tmp_path, command):
    assert command(*several(archive, wide, "some")).status == 0
    path = tmp_path / "some/best.safetensors"
    ratios = []
    for each in (archive, wide):
        env = gymnasium.make("HKO7-Offline-v0", archive=str(each), split="valid").unwrapped
        found = []
        for agent in (
            load("agents.convgru", env.task, checkpoint=str(path), device="cpu"),
            load("agents.last_frame", env.task),
        ):
            total = Tally.zero(20)
            for index in (0, len(env.schedule) - 1):  # valid_limit 2
                total += hko7env.run(env, agent, options={"start": index, "stop": index + 1})
            found.append(total.balanced_error)
        ratios.append(found[0] / found[1])
    assert read(path)[1]["score"] == pytest.approx(np.mean(ratios), rel=1e-9)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"crop": None}, "60 x 75 px are no multiple of the network's total stride of 30 px: choose a crop of 60"),
        ({"crop": 90}, "wide.zarr: a crop is a multiple of 30 px, the total stride of the network, and at most 60"),
        ({"valid": "valdi"}, "no archive has the split 'valdi' to validate on, did you mean 'valid'?"),
        ({"split": "all"}, "split 'all' holds frames of the split 'test'"),
        ({"valid": "test"}, "valid 'test' holds frames of the split 'test'"),
    ],
)
def test_what_several_archives_cannot_do_is_named(archive, wide, tmp_path, command, change, message):
    done = command(*several(archive, wide, "none", **change))
    assert (done.status, done.out) == (1, "")
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_archives_learned_from_together_have_one_relation_of_level_to_rain_rate(archive, new_archive):
    frames = np.zeros((30, 90, 90), np.uint8)
    other = new_archive(6 * np.arange(30), frames, zr=ZR(200, 1.6))
    config = TrainConfig(crop=30, valid="none", device="cpu")
    with pytest.raises(
        ValueError, match=r"different relations .* \(.*ninety.zarr a 58.53 b 1.56, .*some.zarr a 200.0 b 1.6\)"
    ):
        make_trainer("convgru", [(Archive(str(archive)), 1.0), (other, 1.0)], config)
    with pytest.raises(ValueError, match="with synthetic_size the archive only validates: give one archive"):
        twice = [(Archive(str(archive)), 1.0)] * 2
        make_trainer("convgru", twice, TrainConfig(synthetic_size=60, valid="none", device="cpu"))


def test_an_archive_without_rain_cannot_be_compared(archive, new_archive):
    dry = new_archive(
        6 * np.arange(30), np.zeros((30, 90, 90), np.uint8), splits={"valid": [("1970-01-01", "1971-01-01")]}
    )
    net = make_network(TINY, 5, 20)
    with pytest.raises(ValueError, match="split valid, holds no rain to validate on"):
        Validation(SplitView(dry, "valid"), net, Ranks()).relative()


@pytest.mark.usefixtures("narrow")
def test_it_begins_with_the_weights_of_another(archive, tmp_path, command):
    for seed, name in enumerate(("first", "other")):
        assert command(*words(archive, name, steps=1, seed=seed)).status == 0
    first, other = tmp_path / "first/best.safetensors", tmp_path / "other/last.safetensors"
    assert command(*words(archive, "second", steps=1, crop=60, rate=0, checkpoint=first)).status == 0
    assert equal(*(under("net", content(path)) for path in (first, tmp_path / "second/best.safetensors")))
    _, metadata = read(tmp_path / "second/best.safetensors")
    assert metadata["checkpoint"] == digest(under("net", content(first)))
    done = command(*words(archive, "second", steps=2, crop=60, rate=0, checkpoint=other))
    assert done.status == 1
    assert "second/last.safetensors is of a training with checkpoint" in done.err


def test_the_folder_of_a_training_of_the_former_version_is_continued(archive, tmp_path):
    """All that the former version stored, as it stored it."""
    config = TrainConfig(steps=1, crop=30, valid="none", device="cpu", out=tmp_path, update_gate_bias=2.0)
    trainer = make_trainer("convgru", [(Archive(str(archive)), 1.0)], config)
    former = {
        "archive": Archive(str(archive)).fingerprint, "balanced": True, "batch": 4, "cadence": 6, "checkpoint": None,
        "clip": 50.0, "crop": 30, "decay": 0.7, "decay_every": 20000, "draws": 1, "ema": 0.0, "floor": 1e-06,
        "generate": None, "inputs": 5, "lead_power": 0.0, "leads": 20, "link_rate": 1.0, "memory": 2.0,
        "model": "convgru", "precision": "float32", "rate": 0.0001, "seed": 0, "size": "small", "split": "train",
        "spread": 0, "table": "f0640645c99d1eaced099c1c2c5959db6e3ccb1d54e0056888bccf5dd763717b", "valid": "none",
        "valid_limit": None, "zr": [58.53, 1.56],
    }  # fmt: skip
    assert trainer.metadata == former


@pytest.mark.parametrize("model, loss", [("conv2d", "sum over leads"), ("convgru", None)])
def test_checkpoints_of_cnns_say_that_their_loss_is_a_sum(archive, tmp_path, model, loss):
    config = TrainConfig.for_model(model, {"synthetic_size": 120, "valid": "none", "device": "cpu", "out": tmp_path})
    assert make_trainer(model, [(Archive(str(archive)), 1.0)], config).metadata.get("loss") == loss


@pytest.mark.parametrize("checkpoint", [{}, {"checkpoint": find_shipped_weights("trajgru", "small")}])
def test_it_begins_with_a_gate_bias_and_links_on_a_spiral(archive, tmp_path, command, checkpoint):
    options = {"steps": 1, "rate": 0, "valid": "none", "update_gate_bias": 2, "link_spacing": 1.5}
    assert command(*words(archive, "begun", "agents.trajgru", **options, **checkpoint)).status == 0
    net = under("net", content(tmp_path / "begun/last.safetensors"))
    before = under("net", content(checkpoint["checkpoint"])) if checkpoint else net
    for name, weights in net.items():
        assert torch.equal(weights, before[name]) or name.endswith(("flow.weight", "flow.bias", "h2h.bias"))
    gates, flows = ([of for name, of in net.items() if name.endswith(end)] for end in ("h2h.bias", "flow.bias"))
    assert len(gates) == len(flows) == 6
    for gate in gates:
        assert (gate.chunk(3)[1] == 2).all()
    for flow in flows:
        torch.testing.assert_close(flow.view(-1, 2).norm(dim=1), 1.5 * torch.arange(5).sqrt())


def test_links_learn_at_their_share_of_the_rate(archive, tmp_path, command):
    """The first step of Adam is proportional to the rate."""
    moved = []
    for name, share in (("whole", 1), ("quarter", 0.25), ("zero", 0)):
        options = {"steps": 1, "rate": 1e-2, "valid": "none", "link_spacing": 1, "link_rate_share": share}
        assert command(*words(archive, name, "agents.trajgru", **options)).status == 0
        moved.append(under("net", content(tmp_path / name / "last.safetensors")))
    far = []
    for name in moved[0]:
        whole, quarter, none = (net[name] for net in moved)
        if ".flow." in name:
            far.append(float((whole - none).abs().max()))
            torch.testing.assert_close(quarter - none, (whole - none) / 4, rtol=1e-4, atol=1e-6)
        elif "2f." not in name:  # whose gradients are 0 as long as the last layer is
            assert torch.equal(whole, quarter) and torch.equal(whole, none), name
    assert max(far) == pytest.approx(1e-2, rel=0.01)


def test_two_processes_agree_with_one(archive, tmp_path, command, monkeypatch):
    """To 1e-5 of a weight's size: gradients are added in another order. The first process is this one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}  # by torchrun
    here = {**os.environ, **told, "RANK": "1", "LOCAL_RANK": "1", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    given = list(map(str, words(archive, "two", steps=2)))
    other = [sys.executable, str(ROOT / "tools/train.py"), *given[1:]]
    faulthandler.dump_traceback_later(300, exit=True, file=sys.__stderr__)  # alone, one waits for half an hour
    try:
        with monkeypatch.context() as patch, subprocess.Popen(other, cwd=tmp_path, env=here) as second:
            for name, value in (here | {"RANK": "0", "LOCAL_RANK": "0"}).items():
                patch.setenv(name, value)
            first = command(*given)
            assert second.wait(120) == 0
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert first.status == 0, first.err
    assert command(*words(archive, "one", steps=2)).status == 0
    one, two = (content(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith("net."):
            torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-5, msg=name)
    logs = [log(tmp_path / name) for name in ("one", "two")]
    for a, b in zip(*logs, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-5)
    assert float(logs[0][1]["valid"]) == pytest.approx(float(logs[1][1]["valid"]), rel=1e-5)


@pytest.mark.parametrize(
    "given, status, message",
    [
        (["agents.trajgr", "--archive", "x"], 1, "did you mean 'agents.trajgru'?"),
        (["agents.rover", "--archive", "x"], 1, "cannot be trained, only agents.conv2d, agents.conv3d, agents.convgru"),
        (["agents.convgru", "--archive", "nowhere.zarr"], 1, "no archive at nowhere.zarr"),
        (["--split", "tran"], 1, "did you mean 'train'?"),
        (["--size", "smal"], 1, "did you mean 'small'?"),
        (["--crop", "45"], 1, "a crop is a multiple of 30 px"),
        (["--batch", "0"], 1, "a batch of 0 cannot be shared"),
        (["--steps", "0"], 1, "steps must be at least 1"),
        (["--steps", "many"], 2, "--steps expects int, got 'many'"),
        (["--device", "cuda"], 1, "choose the device cpu"),
        (["--valid", "valdi"], 1, "did you mean 'valid'?"),
        (["--valid", "test"], 1, "valid 'test' holds frames of the split 'test'"),
        (["--valid", "all"], 1, "which is kept for evaluation: choose 'train' or 'valid' or 'none'"),
        (["--split", "test"], 1, "split 'test' holds frames of the split 'test'"),
        (["--valid-limit", "0"], 1, "valid_limit must be at least 1"),
        (["--weight-averaging", "1"], 1, "weight_averaging must be at least 0 and below 1"),
        (["--checkpoint", "lost.safetensors"], 1, "no checkpoint at lost.safetensors"),
        (["--checkpoint", str(find_shipped_weights("trajgru", "small"))], 1, "but convgru is needed"),
        (["--link-rate-share", "-1"], 1, "link_rate_share must be at least 0"),
        (["--link-rate-share", "0.5"], 1, "link_rate_share applies to layers with links"),
        (["--link-spacing", "1"], 1, "link_spacing applies to layers with links, such as TrajGRU"),
        (["--synthetic-size", "60", "--crop", "30"], 1, "synthetic_size and crop do not go together"),
        (["--balanced", "false"], 2, "is given as --name or --no-name"),
        (["--graph"], 1, "choose device cuda, or graph off"),
        *(([old, "1"], 2, f"there is no option '{old}', use {new}") for old, new in RENAMED.items()),
    ],
)
def test_what_is_wrong_is_named(archive, tmp_path, command, monkeypatch, given, status, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    full = given if "--archive" in given else ["agents.convgru", "--archive", archive, *given]
    done = command("train", *full)
    assert (done.status, done.out) == (status, "")
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_flags_of_the_former_version_are_renamed_to_flags_that_exist():
    flags = set(make_parser().flags)
    assert set(RENAMED.values()) <= flags
    assert not RENAMED.keys() & flags

"""The shipped weights: they are what their card says, and they forecast."""

import hashlib
import itertools
import re

import gymnasium
import pytest
import torch

import hko7env
from agents.learning.checkpoint import read
from agents.networks.link_plots import lost, watched
from agents.networks.registry import WEIGHTS, shipped
from hko7env.loading import load
from hko7env.synthetic import EpisodeSpec, make
from tools.train import parser

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = ("convgru", "trajgru")


@pytest.fixture(scope="module")
def card():
    return (WEIGHTS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", SHIPPED)
def test_the_card_tells_how_the_file_was_made(model, card):
    path = shipped(model, "small")
    assert path.stat().st_size < 3e6
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    _, facts = read(path)
    commands = re.findall(rf"^python tools/train.py (agents.{model} .+)$", card, re.MULTILINE)
    stages = [vars(parser().parse_args(command.split())) for command in commands]
    assert stages[0]["checkpoint"] is None
    for before, after in itertools.pairwise(stages):
        assert after["checkpoint"] in [before["out"] / f"{name}.safetensors" for name in ("last", "best")]
    words = stages[-1]
    told = {name: value for name, value in facts.items() if name in words and name not in ("archive", "checkpoint")}
    assert len(told) > 12
    assert told == {name: words[name] for name in told}
    assert facts["archive"] in card
    assert facts["checkpoint"] in card
    assert facts["step"] <= words["steps"]


def test_nothing_is_shipped_that_the_card_does_not_name():
    assert {path.name for path in WEIGHTS.glob("*.safetensors")} == {f"{model}-small.safetensors" for model in SHIPPED}


@pytest.fixture(scope="module")
def rain(tmp_path_factory):
    """Rain of a place and a year that no training has seen."""
    path = tmp_path_factory.mktemp("archives") / "rain.zarr"
    make(path, shape=(240, 240), weather=(EpisodeSpec("test", "2016-06-10T00:00", 60),), seed=11)
    return path


def test_links_that_are_shipped_look_at_the_map(rain):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(rain), split="test").unwrapped
    observation, _ = env.reset(options={"start": 5})
    assert observation["frames"].any()
    _, seen = watched(load("agents.trajgru", env.task).net, torch.from_numpy(observation["frames"])[None] / 255)
    assert len(seen) == 6
    for name, flow in seen.items():
        assert lost(flow.reshape(-1, *flow.shape[-3:])) < 0.5, name


def error(name, archive):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(archive), split="test")
    total = hko7env.run(env, load(name, env.unwrapped.task))
    return float(total.balanced_squared.sum())


def test_shipped_networks_are_nearer_than_the_last_frame(rain):
    last = error("agents.last_frame", rain)
    for model in SHIPPED:
        assert error(f"agents.{model}", rain) < 0.9 * last

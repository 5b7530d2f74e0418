"""The shipped weights: they are what their card says, and they forecast."""

import dataclasses
import hashlib
import itertools
import re
from collections import namedtuple

import gymnasium
import numpy as np
import pytest
import torch

import hko7env
from agents.commands.train import parse
from agents.learning.checkpoint import CheckpointError, read
from agents.learning.weights import WEIGHTS, find_shipped_weights
from agents.networks.link_plots import record_links, share_outside
from agents.networks.paper_tables import Row
from agents.networks.registry import NETWORKS
from hko7env.loading import load
from hko7env.testing import task

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = ("conv2d", "conv3d", "convgru", "trajgru")


@pytest.fixture(scope="module")
def card():
    return (WEIGHTS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", SHIPPED)
def test_the_card_tells_how_the_file_was_made(model, card):
    path = find_shipped_weights(model, "small")
    assert path.stat().st_size < 8e6
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    _, metadata = read(path)
    commands = re.findall(rf"^hko7env train (agents.{model} .+)$", card, re.MULTILINE)
    stages = [parse(command.split())[2] for command in commands]
    assert stages[0].checkpoint is None
    for before, after in itertools.pairwise(stages):
        assert after.checkpoint in [before.out / f"{name}.safetensors" for name in ("last", "best")]
    last = stages[-1]
    told = {name: value for name, value in last.metadata().items() if name in metadata}
    assert len(told) > 12
    assert told == {name: metadata[name] for name in told}
    assert all(fingerprint in card for fingerprint, _ in metadata["archives"])
    assert len(metadata["archives"]) == len(last_archives(commands))
    assert last.checkpoint is None or metadata["checkpoint"] in card
    assert metadata["step"] <= last.steps


def last_archives(commands):
    """The archives of the last stage, with their shares."""
    return re.findall(r"[\w.]+\.zarr=[\d.]+", commands[-1])


def test_nothing_is_shipped_that_the_card_does_not_name():
    networks = {f"{model}-small.safetensors" for model in SHIPPED}
    others = {"calibrated_flow.safetensors", "flow_net.safetensors"}  # their cards are in docs, see their own tests
    assert {path.name for path in WEIGHTS.glob("*.safetensors")} == networks | others


def test_links_that_are_shipped_look_at_the_map(unseen_rain):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(unseen_rain), split="test").unwrapped
    observation, _ = env.reset(options={"start": 5})
    assert observation["frames"].any()
    _, seen = record_links(
        load("agents.trajgru", env.task).agent.net, torch.from_numpy(observation["frames"])[None] / 255
    )
    outside = {name: share_outside(flow.reshape(-1, *flow.shape[-3:])) for name, flow in seen.items()}
    assert len(outside) == 6
    assert max(outside.values()) < 0.6, outside  # of frames of 240 px, frnn1 has a map of 8 x 8
    assert np.mean(list(outside.values())) < 0.3, outside


def error(name, archive):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(archive), split="test")
    total = hko7env.run(env, load(name, env.unwrapped.task))
    return float(total.balanced_squared.sum())


def test_shipped_networks_are_nearer_than_the_last_frame(unseen_rain):
    last = error("agents.last_frame", unseen_rain)
    for model, share in {"conv2d": 1, "conv3d": 1, "convgru": 0.9, "trajgru": 0.9}.items():
        assert error(f"agents.{model}", unseen_rain) < share * last, model


class WiderRow(namedtuple("Columns", [*Row._fields, "gate"], defaults=[*Row._field_defaults.values(), "sigmoid"])):
    """A row of a later version, which has one column more."""

    recurrent = Row.recurrent


@pytest.mark.parametrize("model", SHIPPED)
def test_a_column_that_is_added_to_the_tables_refuses_no_weights(model, monkeypatch):
    wider = tuple(WiderRow(*row) for row in NETWORKS[model].small)
    monkeypatch.setitem(NETWORKS, model, dataclasses.replace(NETWORKS[model], small=wider))
    assert load(f"agents.{model}", task(60, 60), device="cpu").net.table == wider
    other = (*wider[:-1], wider[-1]._replace(gate="tanh"))
    monkeypatch.setitem(NETWORKS, model, dataclasses.replace(NETWORKS[model], small=other))
    with pytest.raises(CheckpointError, match="has table"):
        load(f"agents.{model}", task(60, 60), device="cpu")

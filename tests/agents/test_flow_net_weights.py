"""The shipped weights of the network that starts from the flow: they are what their card says, and they forecast."""

import hashlib
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import hko7env
from agents.benchmarks.real_rain import ROVER
from agents.commands.train import parse
from agents.flow_net import SHIPPED
from agents.learning.checkpoint import read
from hko7env.loading import load

pytestmark = pytest.mark.usefixtures("one_thread")

CARD = Path(__file__).resolve().parents[2] / "docs" / "flow-net.md"


def test_the_card_tells_how_the_weights_were_made():
    card = CARD.read_text(encoding="utf-8")
    assert SHIPPED.stat().st_size < 3e6
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in card
    _, metadata = read(SHIPPED)
    (command,) = re.findall(
        r"^hko7env train (agents\.flow_net .+? --out \S+)$", card.replace("\\\n", " "), re.MULTILINE
    )
    _, archives, config = parse(command.split())
    told = config.metadata()
    assert told == {name: metadata[name] for name in told}
    assert [share for _, share in archives] == [share for _, share in metadata["archives"]]
    for fingerprint, _ in metadata["archives"]:
        assert fingerprint in card
    for source in metadata["calibrated"]:
        assert source["split"] == "valid"
        assert f"| {source['sequences']} |" in card


def test_the_shipped_network_is_ahead_of_rover_on_rain_that_it_has_not_seen(unseen_rain):
    env = gymnasium.make("HKO7-Online-v0", archive=str(unseen_rain), split="test")
    rover, ours = (hko7env.run(env, load(name, env.unwrapped.task)) for name in (ROVER, "agents.flow_net"))
    assert ours.balanced_squared.sum() < 0.9 * rover.balanced_squared.sum()
    csi = [np.nanmean(one.hits / np.maximum(one.samples, 1)) for one in (rover, ours)]
    assert csi[1] > csi[0]

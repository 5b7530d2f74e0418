import argparse

import numpy as np
import pytest

from agents.benchmarks import flow_net
from agents.benchmarks.flow_net import VARIANTS, AtRest, NewestOnly, measure
from agents.benchmarks.real_rain import FIXED, LEARNING, ROVER, compare_agents
from agents.learning.advected_sampler import Windows
from hko7env.archive import Archive
from hko7env.loading import load
from hko7env.report import bootstrap
from hko7env.split_view import SplitView
from hko7env.testing import task

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(ninety_archive):
    return ninety_archive


def test_every_variant_differs_from_the_shipped_network(archive, monkeypatch):
    monkeypatch.setattr(flow_net, "CROP", 64)
    monkeypatch.setattr(flow_net, "STEPS", 2)
    monkeypatch.setattr(flow_net, "VALIDATED", 1)
    variants = {name: variant for name, variant in VARIANTS.items() if variant.sources != "real"}
    monkeypatch.setattr(flow_net, "VARIANTS", variants)
    lines = {line["name"].removeprefix("flow-net/"): line for line in measure(argparse.Namespace(archive=[archive]))}
    assert list(lines) == list(variants)
    shipped = lines.pop("as shipped")
    assert shipped["ratio"] == 1
    same = [name for name, line in lines.items() if line["ninety"] == shipped["ninety"]]
    assert same == ["synthetic rain only"], "the only archive is synthetic"
    with pytest.raises(ValueError, match="no archive to draw windows from"):
        flow_net.train_and_validate(VARIANTS["real rain only"], [Archive(archive)], 1)


def test_what_is_advected_at_rest_or_from_the_newest_frame(archive):
    view = SplitView(Archive(archive), "train")
    plain, rest, newest = (kind(view) for kind in (Windows, AtRest, NewestOnly))
    start = plain.starts[0]
    assert plain.estimate(start, 1).any()
    assert not rest.estimate(start, 1).any()
    assert (newest.estimate(start, 1) == plain.estimate(start, 1)).all()
    assert newest.frames(start, 1)[1].tolist() == [False] * 4 + [True]


def test_agents_are_compared_with_rover(small_archive, tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "TRUSTED", 1)
    agents = ("agents.last_frame", ROVER, "agents.calibrated_flow")
    found = list(compare_agents(str(small_archive), agents, None, tmp_path))
    assert [line["name"].split("/")[1] for line in found] == [
        "agents.last_frame offline", "agents.rover offline",
        "agents.calibrated_flow offline", "agents.calibrated_flow online",
    ]  # fmt: skip
    assert found[1]["b_mse ratio"] == found[1]["b_mae ratio"] == 1
    assert found[2]["b_mse ratio"] == pytest.approx(found[2]["b_mse"] / found[1]["b_mse"], abs=0.003)
    for line in (found[0], *found[2:]):
        ratio, (gain, low, high) = line["b_mse ratio"], line["b_mse difference"]
        assert low <= gain <= high
        assert gain == pytest.approx(found[1]["b_mse"] * (ratio - 1), abs=0.001 * found[1]["b_mse"] + 1)
    mean = [np.mean([value for value in line["csi"] if value is not None]) for line in found]
    assert found[2]["csi difference"][0] == pytest.approx(mean[2] - mean[1], abs=2e-4)
    assert "csi difference" not in found[1]
    monkeypatch.undo()
    (again,) = compare_agents(str(small_archive), agents[:1], None, tmp_path)
    assert again["csi difference"] == [found[0]["csi difference"][0], None, None], "too few blocks for an interval"


@pytest.mark.parametrize("name", [*FIXED, *LEARNING])
def test_the_agents_that_are_compared_come_trained(name):
    load(name, task(120, 120))

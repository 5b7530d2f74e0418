import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agents.learning.checkpoint import named, write
from agents.networks.link_plots import arrows, lost
from agents.networks.registry import build, facts
from agents.networks.warp import warp
from hko7env.synthetic import EpisodeSpec, make
from hko7env.testing import observation, task

ROOT = Path(__file__).resolve().parent.parent
SOME = task(60, 90)


@pytest.fixture
def links(tmp_path, monkeypatch):
    """The command as a module, in an empty folder."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("links")


def checkpoint(path, model="trajgru", flow=(0.0, 0.0)):
    """Weights drawn from a seed, all links of the finest encoder level pointing along ``flow``."""
    net = build(model, "small", SOME)
    if model == "trajgru":
        with torch.no_grad():
            net.encoder["ernn1"].flow.bias.copy_(torch.tensor(flow).repeat(5))
    write(path, named("net", net.state_dict()), {"kind": "weights", **facts(model, "small", SOME)})
    return path


def test_an_arrow_ends_where_the_link_reads():
    state = torch.zeros(1, 1, 6, 8)
    state[0, 0, 4, 1] = 1
    flow = torch.tensor([2.0, -1.0]).reshape(1, 1, 2, 1, 1).expand(1, 1, 2, 6, 8)
    seen = warp(state, flow)[0, 0, 0]
    found = [(x1, y1) for x0, y0, x1, y1, _ in arrows(flow[0].numpy(), 8) if seen[int(y0), int(x0)] > 0.99]
    assert found == [(1, 4)]


def test_a_link_is_lost_where_it_reads_nothing():
    flow = np.random.default_rng(0).normal(0, 6, (3, 2, 5, 7)).astype(np.float32)
    seen = warp(torch.ones(1, 1, 5, 7), torch.from_numpy(flow)[None])
    assert lost(flow) == pytest.approx(float((seen == 0).float().mean()))
    assert 0 < lost(flow) < 1


def test_the_links_are_those_of_the_checkpoint(links, tmp_path):
    path = checkpoint(tmp_path / "a", flow=(1.5, -2.0))
    flows = links.links(path, SOME, observation(SOME)["frames"])
    assert list(flows) == ["ernn1", "ernn2", "ernn3", "frnn1", "frnn2", "frnn3"]
    assert [flow.shape for flow in flows.values()][:3] == [(5, 2, 12, 18), (5, 2, 4, 6), (5, 2, 2, 3)]
    np.testing.assert_array_equal(flows["ernn1"][:, 0], 1.5)
    np.testing.assert_array_equal(flows["ernn1"][:, 1], -2.0)
    assert not flows["frnn3"].any()


def test_the_command_draws_a_row_a_checkpoint(links, tmp_path, capsys):
    make(tmp_path / "a.zarr", shape=(60, 90), weather=(EpisodeSpec("test", "2015-05-20T00:00", 30),))
    path = checkpoint(tmp_path / "one", flow=(3.0, 0.0))
    words = ["--archive", "a.zarr", "--out", "links.png"]
    assert links.main([str(path), *words]) == 0
    assert "ernn1: 12 x 18, 5 links, 17% see nothing\n" in capsys.readouterr().out  # the first 3 of 18 columns
    with Image.open("links.png") as picture:
        one = picture.size
        assert len(picture.getcolors(100_000)) > 5
    assert links.main([str(path), str(checkpoint(tmp_path / "two")), *words]) == 0
    with Image.open("links.png") as picture:
        assert picture.size == (one[0], 2 * one[1])
    capsys.readouterr()
    other = checkpoint(tmp_path / "three", "convgru")
    for given, message in (
        ([str(other), *words], "has model convgru, needed is trajgru"),
        (["nowhere", *words], "no checkpoint at nowhere"),
        ([str(path), *words, "--sequence", "99"], "a part needs 0 <= start"),
        ([str(path), *words, "--across", "0"], "--across must be at least 1"),
        ([str(path), "--out", "a.gif"], "--out ends in .png or .webp"),
    ):
        assert links.main(given) == 1
        assert message in capsys.readouterr().err

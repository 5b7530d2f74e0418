import numpy as np
import pytest
import torch
from PIL import Image

from agents.commands.links import read_links
from agents.learning.checkpoint import named, write
from agents.networks.registry import build
from hko7env.synthetic import EpisodeSpec, make
from hko7env.testing import observation, task

SOME = task(60, 90)


def checkpoint(path, model="trajgru", flow=(0.0, 0.0)):
    """Random weights of a network, in which all links of the finest encoder level have the displacement ``flow``."""
    net = build(model, "small", SOME)
    if model == "trajgru":
        with torch.no_grad():
            net.encoder["ernn1"].flow.bias.copy_(torch.tensor(flow).repeat(5))
    write(path, named("net", net.state_dict()), {"kind": "weights", **net.metadata})
    return path


@pytest.fixture
def archive(tmp_path):
    make(tmp_path / "a.zarr", shape=(60, 90), weather=(EpisodeSpec("test", "2015-05-20T00:00", 30),))
    return tmp_path / "a.zarr"


def test_the_links_are_those_of_the_checkpoint(tmp_path):
    path = checkpoint(tmp_path / "a", flow=(1.5, -2.0))
    flows = read_links(path, SOME, observation(SOME)["frames"])
    assert list(flows) == ["ernn1", "ernn2", "ernn3", "frnn1", "frnn2", "frnn3"]
    assert [flow.shape for flow in flows.values()][:3] == [(5, 2, 12, 18), (5, 2, 4, 6), (5, 2, 2, 3)]
    np.testing.assert_array_equal(flows["ernn1"][:, 0], 1.5)
    np.testing.assert_array_equal(flows["ernn1"][:, 1], -2.0)
    assert not flows["frnn3"].any()


def test_a_row_is_drawn_for_each_checkpoint(command, archive, tmp_path):
    path = checkpoint(tmp_path / "one", flow=(3.0, 0.0))
    options = ["--archive", archive, "--out", "links.png", "--device", "cpu"]
    done = command("links", path, *options)
    assert done.status == 0, done.err
    assert "ernn1: 12 x 18, 5 links, 17% outside the map\n" in done.out  # the first 3 of 18 columns
    with Image.open("links.png") as picture:
        one = picture.size
        assert len(picture.getcolors(100_000)) > 5
    assert command("links", path, checkpoint(tmp_path / "two"), *options).status == 0
    with Image.open("links.png") as picture:
        assert picture.size == (one[0], 2 * one[1])


@pytest.mark.parametrize(
    "options, status, message",
    [
        (["--sequence", "99"], 2, "--sequence is 0 to"),
        (["--sequence", "-1"], 2, "--sequence is 0 to"),
        (["--across", "0"], 2, "--across must be at least 1"),
        (["--out", "a.gif"], 2, "--out ends in .png or .webp"),
        (["--split", "tst"], 1, "did you mean 'test'?"),
        (["--device", "gpu"], 2, "--device is one of auto, cpu, cuda"),
    ],
)
def test_a_wrong_option_is_named(command, archive, tmp_path, options, status, message):
    done = command("links", checkpoint(tmp_path / "one"), "--archive", archive, *options)
    assert (done.status, done.out) == (status, "")
    assert message in done.err


def test_a_wrong_checkpoint_is_named(command, archive, tmp_path):
    other = checkpoint(tmp_path / "other", "convgru")
    for given, message in ((other, "but trajgru is needed"), ("nowhere", "no checkpoint at nowhere")):
        done = command("links", given, "--archive", archive)
        assert done.status == 1
        assert message in done.err

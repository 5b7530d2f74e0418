"""A step as one CUDA graph. What is not CUDA's own is tested on the CPU, with a recorder that does the work again."""

from functools import partial

import numpy as np
import pytest
import torch

from agents.learning.batch import Batch
from agents.learning.cuda_graph import GraphedForecast, GraphedLoss
from agents.learning.loss import rain_loss
from agents.learning.train_config import Optimisation
from agents.learning.trainer import Trainer
from agents.networks.paper_tables import TABLES, narrow_table
from agents.networks.registry import build, make_network
from hko7env.contract import OptionError
from hko7env.loading import load
from hko7env.testing import task

pytestmark = pytest.mark.usefixtures("one_thread")

SOME = task(30, 30)
STREAM = np.random.default_rng(5).integers(0, 256, (8, 5, 30, 30), dtype=np.uint8)


def again(work):
    """A recorder that needs no GPU: to replay is to work again."""
    return work


def batch(seed, rows, device="cpu"):
    random = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (rows, 25, 30, 30), generator=random, dtype=torch.uint8)
    present = torch.rand(rows, 25, generator=random) < 0.9
    return [part.to(device) for part in (frames, present, torch.ones(rows, 30, 30, dtype=torch.bool))]


def gradients(net):
    return [parameter.grad.clone() for parameter in net.parameters()]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("model", ["convgru", "trajgru"])
def test_every_batch_has_its_own_loss_and_gradients(model):
    net = build(model, "small", SOME, seed=1)
    value = rain_loss(net, SOME)
    captured = GraphedLoss(net, lambda windows: value(net, windows), again)
    for seed, rows in ((1, 2), (2, 2), (3, 1), (4, 2)):
        ours = captured(batch(seed, rows)), gradients(net)
        net.zero_grad(set_to_none=False)
        theirs = value(net, batch(seed, rows))
        theirs.backward()
        assert torch.equal(ours[0], theirs.detach())
        assert all(torch.equal(a, b) for a, b in zip(ours[1], gradients(net), strict=True))


def test_each_shape_is_recorded_once():
    net, records = torch.nn.Linear(2, 1), []

    def record(work):
        records.append(work)
        return work

    captured = GraphedLoss(net, lambda parts: net(*parts).sum(), record)
    for rows in (3, 3, 5, 3, 5):
        captured((torch.ones(rows, 2),))
    assert len(records) == 2


def train(out, graph):
    class Noise:
        def batch(self, step):
            return Batch(*(part.numpy() for part in batch(step, 2)))

    net = build("trajgru", "small", SOME, seed=1)
    Trainer(net, Noise(), rain_loss(net, SOME), Optimisation(steps=4), out, {}, graph=graph).run()
    return list(net.parameters())


def learn(graph, device="cpu"):
    agent = load("agents.convgru", SOME, checkpoint="none", graph=graph, device=device, replay_windows=2)
    for k, frames in enumerate(STREAM):
        shown = {"frames": frames, "present": np.ones(5, np.int8), "time": np.arange(5), "new_episode": int(k == 0)}
        agent.store(shown)
        agent.update()
    return list(agent.net.parameters())


@pytest.mark.usefixtures("narrow")
def test_training_and_online_learning_by_graphs_end_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.learning.cuda_graph.GraphedLoss", partial(GraphedLoss, record=again))
    for one, other in (
        (train(tmp_path / "graph", True), train(tmp_path / "plain", False)),
        (learn(True), learn(False)),
    ):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.usefixtures("narrow")
def test_forecasts_by_a_graph_are_those_without(monkeypatch):
    net = build("trajgru", "small", SOME, seed=1)
    graph, sizes = GraphedForecast(net, again), (1, 2, 1)
    for seed, rows in enumerate(sizes):
        frames = torch.rand(rows, 5, 30, 30, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            assert torch.equal(graph(frames), net(frames))
        assert not graph(frames).requires_grad
    monkeypatch.setattr("agents.learning.cuda_graph.GraphedLoss", partial(GraphedLoss, record=again))
    monkeypatch.setattr("agents.learning.network_agent.GraphedForecast", partial(GraphedForecast, record=again))
    ahead = {}
    for on in (True, False):
        agent = load("agents.convgru", SOME, checkpoint="none", graph=on, device="cpu")
        for k, frames in enumerate(STREAM[:7]):
            shown = {"frames": frames, "present": np.ones(5, np.int8), "time": np.arange(5), "new_episode": int(k == 0)}
            agent.store(shown)
            agent.update()
            ahead[on, k] = agent.predict()
    assert all(np.array_equal(ahead[True, k], ahead[False, k]) for k in range(7))
    assert not np.array_equal(ahead[True, 5], ahead[True, 6])


def test_where_there_is_no_graph_it_is_said():
    with pytest.raises(OptionError, match=r"only a GPU can record a step as a graph: choose device cuda, or graph off"):
        load("agents.convgru", SOME, checkpoint="none", graph=True, device="cpu")
    rows = narrow_table(TABLES["hko7 conv2d"], (2,))
    with pytest.raises(OptionError, match="batch normalisation"):
        GraphedLoss(make_network(rows, 5, 20), lambda: torch.zeros(()), again)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("model", ["convgru", "trajgru"])
def test_a_graph_gives_the_gradients_of_plain_steps(model):
    net = build(model, "small", SOME, seed=1, device="cuda")
    value = rain_loss(net, SOME)
    captured = GraphedLoss(net, lambda windows: value(net, windows))
    for seed in range(3):
        loss, graph = captured(batch(seed, 2, "cuda")), gradients(net)
        net.zero_grad(set_to_none=False)
        plain = value(net, batch(seed, 2, "cuda"))
        plain.backward()
        torch.testing.assert_close(loss, plain.detach(), rtol=1e-4, atol=0)
        for a, b in zip(graph, gradients(net), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3 * float(b.abs().max()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_online_learning_by_a_graph_goes_as_without():
    for a, b in zip(learn(True, "cuda"), learn(False, "cuda"), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)

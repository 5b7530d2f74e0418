import itertools
from pathlib import Path
from types import MappingProxyType

import gymnasium
import numpy as np
import pytest
import torch

import hko7env
from agents.learning.loss import forecast_error
from agents.learning.network_agent import Config, NetworkAgent
from agents.learning.padding import pad_maps, pad_task
from agents.networks.paper_tables import TABLES, narrow_table
from agents.networks.recurrent import TrajGRU
from agents.networks.registry import NETWORKS, SIZES, build, make_network
from hko7env.contract import OptionError
from hko7env.loading import load
from hko7env.scores import scored
from hko7env.testing import AgentTests, forecast, observation, task

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.usefixtures("narrow")
class Untrained(AgentTests):
    name = ""
    options = MappingProxyType({})

    def task(self, height=30, width=24, leads=0):
        """A recurrent network has one location on it at its coarsest level; on the suite's second grid it has four."""
        return super().task(height, width, leads)

    def make(self, task):
        return load(f"agents.{self.name}", task, checkpoint="none", online_rate=1e-3, **self.options)


class TestConv2D(Untrained):
    name = "conv2d"


class TestConv3D(Untrained):
    name, leads = "conv3d", (20,)


class TestConvGRU(Untrained):
    name, leads = "convgru", (7, 20)
    options = MappingProxyType({"replay_windows": 2, "updates": 2, "order": "official"})


class TestTrajGRU(Untrained):
    name, leads = "trajgru", (7, 20)


SOME = task(60, 60)
TINY = narrow_table(TABLES["hko7 convgru"], (2, 2, 3, 3))


def tiny(some=SOME, **options):
    return NetworkAgent(some, make_network(TINY, some.inputs, some.leads, seed=3), Config(**options))


def stream(steps, some=SOME, seed=0, episodes=(0,)):
    return [observation(some, seed, step, new_episode=step in episodes) for step in range(steps)]


def weights(agent):
    return [p.detach().clone() for p in agent.net.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------- when it learns, and from what


@pytest.mark.parametrize("order, learns", [("paper", 4), ("official", 5)])
def test_it_learns_as_soon_as_25_frames_are_there(order, learns):
    agent = tiny(order=order)
    for step, shown in enumerate(stream(7)):
        before = weights(agent)
        agent.store(shown)
        agent.update()
        assert same(before, weights(agent)) == (step < learns)


def test_the_orders_learn_from_the_same_windows_one_segment_apart():
    paper, official = tiny(), tiny(order="official")
    shown = stream(7)
    for one in shown[:6]:
        paper.store(one)
        paper.update()
    for one in shown:
        official.store(one)
        official.update()
    assert same(weights(paper), weights(official))


@pytest.mark.parametrize("order, updates", [("paper", 2 + 1), ("official", 2 + 0)])
def test_a_new_episode_begins_anew_and_the_official_order_learns_the_last_window_late(order, updates):
    agent = tiny(order=order)
    for shown in stream(11, episodes=(0, 6)):
        agent.store(shown)
        agent.update()
    assert agent._steps == updates


def plain(some=SOME, **options):
    """A CNN as :func:`tiny` is a recurrent network, with statistics of batch normalisation that keep its signal."""
    net = make_network(narrow_table(TABLES["hko7 conv2d"], (2,)), some.inputs, some.leads, seed=3)
    return NetworkAgent(some, net, Config(**options))


@pytest.mark.parametrize(
    "make, some, epsilon, times",
    [(tiny, SOME, 1e-8, 1), (plain, task(120, 120), 1e-7, 100)],
    ids=["recurrent", "CNN"],
)
def test_the_step_is_mxnets_adagrad_on_the_masked_loss(make, some, epsilon, times):
    """The released CNNs have 5e-5 times the sum over 20 leads, 100 times what recurrent networks have."""
    agent, by_hand = make(some, online_rate=1e-2), make(some)
    by_hand.net.train(False)
    shown = stream(6, some)
    shown[1]["present"][2] = 0
    shown[1]["frames"][2] = 0
    shown[3]["frames"][0, :40] = 40  # noise
    sums = [torch.full_like(p, epsilon) for p in by_hand.net.parameters()]
    for last in (5, 6):
        frames = np.concatenate([one["frames"] for one in shown[last - 5 : last]])
        present = np.concatenate([one["present"] for one in shown[last - 5 : last]]).astype(bool)
        mask = scored(frames[5:], some.scored) & present[5:, None, None]
        ahead = by_hand.net(torch.from_numpy(frames[None, :5]) / 255)
        value = (
            1e-5
            * times
            * forecast_error(ahead, torch.from_numpy(frames[None, 5:]), torch.from_numpy(mask[None]), some.zr)
        )
        gradients = torch.autograd.grad(value, list(by_hand.net.parameters()))
        with torch.no_grad():
            for p, g, h in zip(by_hand.net.parameters(), gradients, sums, strict=True):
                h.add_(g.square())
                p.sub_(1e-2 * g / h.sqrt())
    for one in shown:
        agent.store(one)
        agent.update()
    for p, q in zip(agent.net.parameters(), by_hand.net.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_what_is_not_scored_teaches_nothing():
    one, other = tiny(), tiny()
    for agent, level in ((one, 0), (other, 70)):
        for step, shown in enumerate(stream(5)):
            if step == 0:
                shown["frames"][:] = 90
            else:
                shown["frames"][:] = 200
                shown["frames"][:, :10, :10] = 255 * (agent is one)  # out of the static mask
                shown["frames"][:, 30:] = level  # 0 is scored, noise is not
                if step == 2:
                    shown["present"][:] = 0
            agent.store(shown)
            agent.update()
    assert not same(weights(one), weights(other)), "no echo is a truth to learn"
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    static = torch.rand(16, 16) < 0.5
    assert np.array_equal(scored(levels, static).numpy(), scored(levels.numpy(), static.numpy()))


def test_each_part_is_clipped_by_itself(monkeypatch):
    agent, clipped = tiny(), []
    monkeypatch.setattr(
        "torch.nn.utils.clip_grad_norm_", lambda part, norm: clipped.append((len(part), norm)) or torch.ones(())
    )
    for shown in stream(5):
        agent.store(shown)
        agent.update()
    assert clipped == [(len(part), 50.0) for part in agent.net.parts()]
    assert len(clipped) == 2


def test_an_infinite_gradient_stops_before_the_weights_are_lost():
    agent = tiny()
    with torch.no_grad():
        next(agent.net.forecaster.parameters()).fill_(torch.inf)
    for shown in stream(4):
        agent.store(shown)
        agent.update()
    agent.store(stream(5)[4])
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        agent.update()


def test_online_learning_helps_on_a_stationary_stream():
    errors = {}
    for rate in (0.0, 1e-3):
        agent = tiny(online_rate=rate, updates=4)
        for one, later in itertools.pairwise(stream(9)):
            agent.store(one)
            agent.update()
            errors[rate] = float(np.square(agent.predict()[:5] - later["frames"] / 255).mean())
    assert errors[1e-3] < errors[0.0]


def test_batch_normalisation_keeps_its_statistics():
    some = task(120, 120)
    agent = load("agents.conv2d", some, checkpoint="none")
    before = [b.clone() for b in agent.net.buffers()]
    for shown in stream(5, some):
        agent.store(shown)
        agent.update()
    assert agent._steps == 1
    assert same(before, agent.net.buffers())


# ---------------------------------------------------------------- any grid


def test_padding_is_no_echo_that_is_not_scored():
    """On 50 x 45 px an agent forecasts and learns as on 60 x 60 px with a mask and frames that end there."""
    some = task(50, 45)
    wide = pad_task(some, 30)
    assert (wide.height, wide.width) == (60, 60)
    assert not wide.scored[50:].any()
    assert not wide.scored[:, 45:].any()
    assert np.array_equal(wide.scored[:50, :45], some.scored)
    one, other = (tiny(each, online_rate=1e-2, replay_windows=1) for each in (some, wide))
    for shown in stream(7, some):
        frames = np.zeros((5, 60, 60), np.uint8)
        frames[:, :50, :45] = shown["frames"]
        for agent, seen in ((one, shown), (other, {**shown, "frames": frames})):
            agent.store(seen)
            agent.update()
        assert one.predict().shape == (20, 50, 45)
        assert np.array_equal(one.predict(), other.predict()[:, :50, :45])
    assert one._steps == 3
    assert same(weights(one), weights(other))


def test_a_grid_that_fits_is_not_copied():
    maps = torch.zeros(2, 5, 60, 90, dtype=torch.uint8)
    assert pad_maps(maps, 30) is maps
    assert pad_maps(maps, 40).shape == (2, 5, 80, 120)
    assert pad_maps(torch.ones(3, 2, dtype=torch.bool), 4).tolist() == [[True, True, False, False]] * 3 + [[False] * 4]


# ---------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """60 x 60 synthetic rain: two test episodes of 8 and 5 sequences."""
    from hko7env.synthetic import make
    from tests.conftest import SMALL

    path = tmp_path_factory.mktemp("archives") / "sixty.zarr"
    make(path, shape=(60, 60), weather=SMALL)
    return path


def test_rate_zero_is_the_offline_run(archive):
    tallies = []
    for name in ("HKO7-Online-v0", "HKO7-Offline-v0"):
        env = gymnasium.make(name, archive=str(archive))
        agent = tiny(env.unwrapped.task, online_rate=0.0)
        tallies.append(hko7env.run(env, agent))
        assert agent._steps == (5 if env.unwrapped.online else 0)
    assert tallies[0] == tallies[1]


@pytest.mark.usefixtures("narrow")
def test_a_run_that_is_stopped_and_goes_on_has_equal_counts(archive, tmp_path):
    from hko7env.evaluation.evaluate import evaluate
    from hko7env.evaluation.plan import Plan

    options = {"checkpoint": "none", "online_rate": 0.01, "replay_windows": 1}
    plan = Plan("agents.convgru", True, archive=str(archive), options=options)
    whole = evaluate(plan, tmp_path / "whole")

    class Stop(Exception):
        pass

    steps, original = itertools.count(), NetworkAgent.predict

    def predict(self):
        if next(steps) == 7:
            raise Stop
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetworkAgent, "predict", predict)
        with pytest.raises(Stop):
            evaluate(plan, tmp_path / "parts", checkpoint_seconds=0)
    assert list((tmp_path / "parts").rglob("*.checkpoint"))
    resumed = evaluate(plan, tmp_path / "parts", checkpoint_seconds=0)
    assert resumed.tally == whole.tally
    offline = evaluate(Plan("agents.convgru", False, archive=str(archive), options=options), tmp_path / "whole")
    assert offline.tally != whole.tally


# ---------------------------------------------------------------- what is refused


def test_what_cannot_be_made_is_said(monkeypatch):
    with pytest.raises(ValueError, match="did you mean 'small'"):
        load("agents.trajgru", SOME, checkpoint="none", size="smal")
    with pytest.raises(ValueError, match="order is one of paper, official, got 'late'"):
        load("agents.trajgru", SOME, checkpoint="none", order="late")
    with pytest.raises(ValueError, match="updates must be at least 1"):
        load("agents.trajgru", SOME, checkpoint="none", updates=0)
    with pytest.raises(ValueError, match="online_rate must be at least 0"):
        load("agents.trajgru", SOME, checkpoint="none", online_rate=float("nan"))
    with pytest.raises(ValueError, match="there is no device 'gpu'"):
        load("agents.trajgru", SOME, checkpoint="none", device="gpu")
    with pytest.raises(OptionError, match="no checkpoint at nowhere"):
        load("agents.trajgru", SOME, checkpoint="nowhere")
    monkeypatch.setattr("agents.learning.weights.WEIGHTS", Path("nowhere"))
    with pytest.raises(ValueError, match=r"train agents\.trajgru"):
        load("agents.trajgru", SOME)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device"):
        load("agents.trajgru", SOME, checkpoint="none", device="cuda")


def test_too_little_memory_is_said(monkeypatch):
    agent = tiny()
    agent.store(stream(1)[0])

    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(agent, "_foresee", exhausted)
    with pytest.raises(MemoryError, match="choose size small"):
        agent.predict()


@pytest.mark.parametrize("model", NETWORKS)
def test_sizes(model):
    small, full = (
        sum(p.numel() for p in make_network(NETWORKS[model].select_table(size), 5, 20, device="meta").parameters())
        for size in SIZES
    )
    assert small < 2e6 < full
    links = [
        m.links
        for m in make_network(NETWORKS[model].select_table("small"), 5, 20, device="meta").modules()
        if isinstance(m, TrajGRU)
    ]
    assert len(links) == (6 if model == "trajgru" else 0)


def test_without_a_checkpoint_the_seed_decides():
    one, other, third = (build("convgru", "small", SOME, seed=seed) for seed in (1, 1, 2))
    assert same(one.parameters(), other.parameters())
    assert not same(one.parameters(), third.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_checkpoint_goes_from_gpu_to_cpu(tmp_path):
    ahead = {}
    on_gpu = load("agents.trajgru", SOME, checkpoint="none", device="cuda")
    for shown in stream(6):
        forecast(on_gpu, shown)
    on_gpu.save(tmp_path / "checkpoint")
    for device in ("cpu", "cuda"):
        agent = load("agents.trajgru", SOME, checkpoint=str(tmp_path / "checkpoint"), device=device)
        agent.store(stream(7)[6])
        ahead[device] = agent.predict()
        agent.restore(tmp_path / "checkpoint")
    np.testing.assert_allclose(ahead["cpu"], ahead["cuda"], atol=2e-3)

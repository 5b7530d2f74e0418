"""A training step on a GPU must not wait for it. Here on the CPU: nothing is read out of a tensor in a step."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from agents.learning.loss import rain_loss
from agents.learning.prefetch import prefetched
from agents.learning.train_config import Optimisation
from agents.learning.trainer import Trainer
from tests.helpers.training import SOME, Noise, content, tiny_network

READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::unique", "aten::masked_select")

pytestmark = pytest.mark.usefixtures("one_thread")


class CountReads(TorchDispatchMode):
    """Counts operations whose result or shape the CPU has to wait for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.name().split(".")[0] in READS:
            self.found.append(function.name())
        return function(*args, **(kwargs or {}))


def trainer(out, value=None, asynchronous=True, **options):
    net = tiny_network()
    config = Optimisation(**{"steps": 6, "valid_every": 6, **options})
    return Trainer(net, Noise(), value or rain_loss(net, SOME), config, out, {}, asynchronous=asynchronous)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_step_reads_nothing_back(tmp_path, asynchronous, averaging):
    one = trainer(tmp_path, asynchronous=asynchronous, weight_averaging=averaging)
    with prefetched(Noise(), 0, 2, one.device) as batches, CountReads() as reads:
        for batch in batches:
            one._learn(batch, 1e-4)
            one.step += 1
            if one.step == 2:
                break
    assert bool(reads.found) != asynchronous


def test_both_ways_learn_the_same(tmp_path):
    for name, asynchronous in (("one", True), ("two", False)):
        assert trainer(tmp_path / name, asynchronous=asynchronous).run()
    one, two = (content(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-7)


def test_a_training_that_is_stopped_goes_on(tmp_path):
    assert trainer(tmp_path / "whole").run()
    asked = iter([False, False, True])
    assert not trainer(tmp_path / "parts").run(lambda: next(asked))
    assert trainer(tmp_path / "parts").run()
    whole, parts = (content(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_a_step_whose_gradient_is_not_finite_changes_nothing_and_is_reported(tmp_path):
    net, steps = tiny_network(), []
    plain = rain_loss(net, SOME)

    def value(forward, batch):
        steps.append({name: p.detach().clone() for name, p in net.named_parameters()})
        return plain(forward, batch) * (float("nan") if len(steps) == 3 else 1.0)

    one = Trainer(net, Noise(), value, Optimisation(steps=5), tmp_path, {}, asynchronous=True)
    with pytest.raises(FloatingPointError, match=r"a gradient is not finite.* lower learning rate"):
        one.run()
    assert len(steps) == 5, "it is reported when something is to be written"
    same = [all(torch.equal(a[name], b[name]) for name in a) for a, b in itertools.pairwise(steps)]
    assert same == [False, False, True, False]
    assert not (tmp_path / "last.safetensors").exists()
    assert all(torch.isfinite(p).all() for p in net.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_step_on_a_gpu_does_not_wait_for_it(tmp_path):
    net = tiny_network().to("cuda")
    one = Trainer(net, Noise(), rain_loss(net, SOME), Optimisation(steps=9), tmp_path, {})
    with prefetched(Noise(), 0, 9, one.device) as batches:
        for step, batch in enumerate(itertools.islice(batches, 8)):
            torch.cuda.set_sync_debug_mode("error" if step > 1 else "default")
            try:
                one._learn(batch, 1e-4)
            finally:
                torch.cuda.set_sync_debug_mode("default")

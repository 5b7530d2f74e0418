"""The fused transition in Triton's interpreter; ``test_fused_transition.py`` runs this file with TRITON_INTERPRET=1."""

import math

import pytest
import torch

from agents.networks.fused_transition import fused_transition
from agents.networks.paper_tables import Row
from agents.networks.recurrent import TrajGRU
from agents.networks.tilings import TILINGS
from tests.helpers.networks import random_tensor
from tests.helpers.transitions import assert_near, differentiate, draw, fused, plain

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [  # (B, C, H, W) and links; no side is a multiple of a block, maps end within a block
    ((2, 5, 6, 7), 3),
    ((1, 20, 9, 5), 5),
    ((1, 3, 1, 1), 1),
    ((1, 1, 7, 3), 1),
    ((3, 4, 1, 9), 2),
    ((1, 70, 5, 4), 2),
]


def tiled(tiling, products=None):
    def way(given, state, flow, weight, bias):
        rounded = weight.detach().to(products or weight.dtype)
        return fused_transition(given, state, flow, weight, bias, rounded=rounded, tiling=tiling)

    return way


@pytest.mark.parametrize("has_input", [True, False])
@pytest.mark.parametrize("shape, links", SHAPES)
def test_it_equals_pytorch(shape, links, has_input):
    tensors = draw(shape, links, has_input=has_input)
    assert_near(differentiate(fused, tensors), differentiate(plain, tensors), 1e-12)


@pytest.mark.parametrize("tiling", TILINGS, ids=lambda tiling: str(tiling.pixels))
def test_every_tiling_gives_the_same(tiling):
    tensors = draw((1, 36, 9, 4), 2)  # more pixels and channels than a block of each has
    assert_near(differentiate(tiled(tiling), tensors), differentiate(plain, tensors), 1e-12)


def test_sums_over_many_blocks(monkeypatch):
    """Without the division among programs that small maps have."""
    monkeypatch.setattr("agents.networks.tilings.PROGRAMS", 1)
    tensors = draw((1, 3, 9, 11), 2)
    assert_near(differentiate(fused, tensors), differentiate(plain, tensors), 1e-12)


@pytest.mark.parametrize("scale", [0.3, 6.0, 1e12])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_links_that_reach_outside(scale, memory):
    tensors = draw((2, 4, 6, 5), 3, scale=scale)
    tensors = [t.contiguous(memory_format=memory) if t.dim() == 4 else t for t in tensors]
    assert_near(differentiate(fused, tensors), differentiate(plain, tensors), 1e-12)


def test_links_that_end_on_locations_and_edges():
    given, state, flow, weight, bias = draw((1, 3, 5, 4), 4)
    flow = (2 * flow).round() / 2
    ours, theirs = (differentiate(way, [given, state, flow, weight, bias]) for way in (fused, plain))
    del ours["by flow"], theirs["by flow"]  # of two slopes either is right there
    assert_near(ours, theirs, 1e-12)


def test_the_gradients_are_those_of_the_values():
    tensors = [tensor.requires_grad_() for tensor in draw((1, 2, 3, 4), 2)]
    assert torch.autograd.gradcheck(fused, tensors, nondet_tol=1e-12, fast_mode=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_flow_that_is_no_number_looks_outside(bad):
    given, state, flow, weight, bias = draw((1, 3, 4, 4), 2)
    flow[:, 1] = bad
    ours = differentiate(fused, [given, state, flow, weight, bias])
    theirs = differentiate(plain, [given, state, flow[:, :1], weight[:, :3], bias])
    assert not ours["by flow"][:, 1].any()
    assert not ours["by weight"][:, 3:].any()
    ours |= {"by flow": ours["by flow"][:, :1], "by weight": ours["by weight"][:, :3]}
    assert_near(ours, theirs, 1e-12)


def test_float32():
    tensors = draw((1, 20, 5, 7), 3)
    low = [tensor.float() for tensor in tensors]
    assert_near(differentiate(fused, low), differentiate(plain, tensors), 1e-6)


@pytest.mark.parametrize("has_input", [True, False])
def test_products_in_bfloat16(has_input):
    """Errors are of the size of those of PyTorch's way; the interpreter truncates to bfloat16 where a GPU rounds."""
    tensors = draw((1, 20, 5, 7), 3, has_input=has_input)
    exact = differentiate(plain, tensors)
    low = [None if tensor is None else tensor.float() for tensor in tensors]
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = differentiate(fused, low), differentiate(plain, low)
    assert ours["value"].dtype == torch.float32
    assert not torch.equal(ours["value"], differentiate(fused, low)["value"])
    for results in (ours, theirs):
        assert_near(results, exact, 0.03)
    for name, value in exact.items():
        assert (ours[name] - value).norm() <= 2.5 * (theirs[name] - value).norm(), name


def test_constants_have_no_gradients():
    """As in the first step, whose state is a constant, and where weights are not learned."""
    tensors = draw((1, 4, 5, 6), 2)
    full = differentiate(fused, tensors)
    for learned in range(5):
        leaves = [tensor.clone() for tensor in tensors]
        leaves[learned].requires_grad_()
        value = fused(*leaves)
        gradient = random_tensor(*value.shape, seed=9)
        (found,) = torch.autograd.grad(value, [leaves[learned]], gradient)
        assert_near({"found": found}, {"found": list(full.values())[1 + learned]}, 1e-12)


@pytest.mark.parametrize("low_precision", [False, True])
@pytest.mark.parametrize("has_input", [True, False])
def test_a_layer_of_three_steps(has_input, low_precision):
    layer = TrajGRU(Row("ernn", 3, 1, 1, 3, 1, 3, 20, 8, 8, "trajgru"), has_input=has_input)
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data = random_tensor(*parameter.shape, seed=seed, scale=0.1, dtype=torch.float32)
    x = random_tensor(6, 3, 5, 7, seed=20, dtype=torch.float32) if has_input else None
    state = random_tensor(2, 20, 5, 7, seed=21, dtype=torch.float32)
    results = []
    for layer.fused in ("on", "off"):
        with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
            states = torch.stack(layer(x, state, 3))
        parameters = dict(layer.named_parameters())
        gradients = torch.autograd.grad(states.square().mean(), list(parameters.values()))
        results.append({"states": states.detach(), **dict(zip(parameters, gradients, strict=True))})
    assert_near(*results, 0.1 if low_precision else 1e-5)
    assert not torch.equal(*(result["states"] for result in results))

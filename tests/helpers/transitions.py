"""Transitions of TrajGRU, fused and as PyTorch computes them, with all their gradients."""

import torch

from agents.networks.transition import advance
from tests.helpers.networks import random_tensor

NAMES = ("value", "by given", "by state", "by flow", "by weight", "by bias")


def draw(shape, links, *, has_input=True, scale=2.0, dtype=torch.float64, device="cpu"):
    """Input (or None), state, flow, weight and bias of a transition whose links have lengths of about ``scale`` px."""
    batch, channels, height, width = shape
    sizes = (
        ((batch, 3 * channels, height, width), 1.0),
        (shape, 1.0),
        ((batch, links, 2, height, width), scale),
        ((3 * channels, links * channels, 1, 1), (links * channels) ** -0.5),
        ((3 * channels,), 1.0),
    )
    drawn = [
        random_tensor(*size, seed=seed, scale=factor, dtype=dtype).to(device)
        for seed, (size, factor) in enumerate(sizes)
    ]
    return [drawn[0] if has_input else None, *drawn[1:]]


def differentiate(way, tensors):
    """By name: the value of ``way`` at ``tensors`` and its gradients with respect to those that are not None."""
    leaves = [None if t is None else t.detach().clone(memory_format=torch.preserve_format) for t in tensors]
    wanted = [leaf.requires_grad_() for leaf in leaves if leaf is not None]
    value = way(*leaves)
    gradient = random_tensor(*value.shape, seed=9, dtype=value.dtype).to(value.device)
    gradients = iter(torch.autograd.grad(value, wanted, gradient))
    found = [value.detach(), *(None if leaf is None else next(gradients) for leaf in leaves)]
    return {name: each for name, each in zip(NAMES, found, strict=True) if each is not None}


def plain(*tensors):
    return advance(*tensors, fused="off")


def fused(*tensors):
    return advance(*tensors, fused="on")


def assert_near(ours, theirs, bound):
    """Each result differs by at most ``bound`` times the largest entry of the reference."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        difference = (ours[name] - expected).abs().max()
        assert difference <= bound * expected.abs().max().clamp(min=1e-3), (
            f"{name}: {difference} of {expected.abs().max()}"
        )

"""Gauss-Seidel sweeps of the optical flow's equations: the values of a loop over all locations, many at a time.

A location needs the new values of its upper and left neighbour and the old ones of the lower and right neighbour. So
the locations of one anti-diagonal do not depend on each other, a sweep may follow two diagonals behind the one before,
and v may follow one diagonal behind u. All sweeps of both components advance together, one diagonal at a time.

numpy and torch are fastest on one long run of memory. So maps are stored as strips, each of one diagonal by row, in the
order in which they are used: every second diagonal, of each first the strip of v, then that of u. As v is one diagonal
behind, both strips belong to one *wave*. The waves of even number stand in the first half, those of odd number in the
second, and what a wave computes or reads is one run: its own half for the results and the coefficients, the other half
for all neighbours.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np
import torch

Tensor = torch.Tensor

V, U = 0, 1  # order of the strips of a wave


class _Strips(NamedTuple):
    """Where the locations of maps (B, H, W) are stored.

    Attributes:
        batch: B.
        height: H.
        width: W.
        sweeps: Their number. Before the first wave and after the last there are as many empty ones of each half, so
            that every sweep always has strips to work on.
    """

    batch: int
    height: int
    width: int
    sweeps: int

    @property
    def strip(self) -> int:
        """Numbers of a strip: a column of each map, between zeros that stand for what lies outside."""
        return self.batch * (self.height + 2)

    @property
    def run(self) -> int:
        """Numbers that a wave computes: both components at one diagonal for each sweep."""
        return 2 * self.sweeps * self.strip

    @property
    def waves(self) -> int:
        """Waves of all sweeps of both components, an even number."""
        return (self.height + self.width + 2 * self.sweeps - 1) // 2 * 2

    @property
    def half(self) -> int:
        """Numbers of a half."""
        return (self.waves // 2 + self.sweeps + 3) * 2 * self.strip

    def views(self, stored: Tensor, component: int, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of views, of ``stored`` and of ``images`` (B, H, W), of the same locations: together all of them."""
        for row, column in product((0, 1), repeat=2):
            part = images[:, row::2, column::2]
            wave = 2 * (self.sweeps + 1) + row + column + (component == V)
            first = wave % 2 * self.half + (wave // 2 * 2 + component) * self.strip + row + 1
            strides = (self.height + 2, 2 * self.strip + 2, 2 * self.strip)
            yield stored.as_strided(part.shape, strides, first), part

    def store(self, v: Tensor, u: Tensor) -> Tensor:
        """Store maps of v and of u, with zeros around."""
        stored = v.new_zeros(2 * self.half)
        for component, images in ((V, v), (U, u)):
            for there, part in self.views(stored, component, images):
                there.copy_(part)
        return stored

    def load(self, stored: Tensor, component: int) -> Tensor:
        """The map (B, H, W) of a component."""
        images = stored.new_empty(self.batch, self.height, self.width)
        for there, part in self.views(stored, component, images):
            part.copy_(there)
        return images

    def runs(self, stored: Tensor, parity: int, *, neighbour: bool = False, offset: int = 0) -> Iterable[Any]:
        """What each wave of one parity uses of its own half or, with ``neighbour``, of the other: views (n,)."""
        first = 4 * self.strip + offset
        if neighbour:
            first -= (1 - parity) * 2 * self.strip
        begin = (1 - parity if neighbour else parity) * self.half + first
        views = stored.as_strided((self.waves // 2, self.run), (2 * self.strip, 1), begin)
        return views.numpy() if stored.device.type == "cpu" else views


def sweep(field: Tensor, terms: Tensor, sweeps: int) -> Tensor:
    """Improve the flow by Gauss-Seidel sweeps in row order.

    Args:
        field: (B, 2, H, W), u and v in px.
        terms: (B, 5, H, W), scaled tensor terms.
        sweeps: Their number.

    Returns:
        (B, 2, H, W).
    """
    batch, _, height, width = field.shape
    strips = _Strips(batch, height, width, sweeps)
    state = strips.store(field[:, 1], field[:, 0])
    coupling, right, inverse = (strips.store(*maps) for maps in _equations(terms))
    buffers: Any = state.new_empty(2, strips.run)
    library: Any = torch
    if state.device.type == "cpu":  # an operation of numpy on a short array takes a third of torch's time
        buffers, library = buffers.numpy(), np
    around, coupled = buffers
    add, subtract, multiply = library.add, library.subtract, library.multiply
    for now, above, left, across, after, below, by, side, factor in _waves(strips, state, coupling, right, inverse):
        add(above, left, out=around)
        add(around, after, out=around)
        add(around, below, out=around)
        subtract(around, side, out=around)
        multiply(by, across, out=coupled)
        subtract(around, coupled, out=around)
        multiply(around, factor, out=now)
    return torch.stack([strips.load(state, U), strips.load(state, V)], 1)


def _equations(terms: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The linear equations of each location, from scaled tensor terms (B, 5, H, W).

    u = (sum of its neighbours - coupling v - right side) / diagonal, and likewise for v. Neighbours outside the map are
    left out.

    Yields:
        Coupling, right side and 1 / diagonal, each for v and for u, (B, H, W).
    """
    inside = terms.new_full(terms.shape[-2:], 4)
    for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
        edge.sub_(1)
    xx, xy, yy, xt, yt = terms.unbind(1)
    yield xy, xy
    yield yt, xt
    yield 1 / (inside + yy), 1 / (inside + xx)


def _waves(strips: _Strips, state: Tensor, *coefficients: Tensor) -> Iterator[tuple[Any, ...]]:
    """The runs of each wave: results; neighbours above, left, of the other component, right, below; coefficients."""
    strip = strips.strip
    offsets = (-1, 0, strip, 2 * strip, 2 * strip + 1)
    halves = []
    for parity in (0, 1):
        neighbours = (strips.runs(state, parity, neighbour=True, offset=offset) for offset in offsets)
        own = (strips.runs(stored, parity) for stored in coefficients)
        halves.append(zip(strips.runs(state, parity), *neighbours, *own, strict=True))
    return chain.from_iterable(zip(*halves, strict=True))

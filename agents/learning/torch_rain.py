"""An endless stream of synthetic rain, made on the training device with the statistics of ``hko7env.synthetic``.

Spectra, lifetimes, winds, cells and the conversion to levels are those of the synthetic archives. Random numbers and
interpolation (cubic convolution) are those of the device, so frames have the same distribution but not the same bytes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from hko7env.archive.format import DAY, OUT_OF_RANGE, SCORED
from hko7env.archive.hko7_facts import PIXEL_KM
from hko7env.synthetic import SEED, rain
from hko7env.synthetic.field import mean_power, spectrum, wavenumbers
from hko7env.synthetic.process import HONG_KONG
from hko7env.synthetic.radar import SEEN, site
from hko7env.synthetic.wind import NODE, Wind, nodes_around
from hko7env.units import NOISE_LEVEL

from ..networks.devices import send

Tensor = torch.Tensor
Floats = npt.NDArray[np.float64]

_SHARPNESS = -0.75  # of torch's cubic convolution
_APART = 1 << 63  # above all seeds of archives
_PAD = 2  # px of periodic padding, so that interpolation needs no special case at the edge


class TorchRain:
    """A source of batches of synthetic rain. On one kind of device a batch depends on seed and step alone.

    Args:
        shape: (H, W) px.
        frames: T, frames of a sequence.
        size: B, sequences in a batch.
        seed: Seed of the rain; no seed gives the rain of an archive.
        place: Seed of the archives whose radar, hills and coast are used.
        cadence: Minutes between frames.
        device: Where the rain is made.

    Attributes:
        scored: (H, W) bool static mask, True = scored.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        frames: int,
        size: int,
        *,
        seed: int = 0,
        place: int = SEED,
        cadence: int = 6,
        device: str = "cpu",
    ) -> None:
        self.shape, self.frames, self.size, self.seed, self.cadence = shape, frames, size, seed, cadence
        self.device = torch.device(device)
        self.domain, self._origin = rain.domain(shape), rain.origin(shape)
        self._radar = site(shape, place)
        half = (self.domain[0] // 2, self.domain[1] // 2)
        self._large = _modes(self.domain, 1, HONG_KONG.power, HONG_KONG.persistence, cadence, self.device)
        self._cells = _modes(half, 2, HONG_KONG.cell_power, HONG_KONG.cell_persistence, cadence, self.device)
        self._table = self._constant(rain.climate().table)
        self._hills = self._constant(rain.terrain_bias(shape, place))
        self._loss = self._constant(self._radar.loss)
        self._clutter = [self._constant(a) for a in self._radar.clutter]
        self._sea = [self._constant(a) for a in self._radar.sea]
        self._seen = self._constant(self._radar.mask != OUT_OF_RANGE)
        self.scored = self._constant(self._radar.mask == SCORED)
        self._between: dict[tuple[int, int, float], tuple[Tensor, ...]] = {}  # see _nodes_around

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Make the batch of ``step``.

        Returns:
            Frames (B, T, H, W) uint8 levels, (B, T) bool which are present (all), and the static mask (H, W) bool.
        """
        random = torch.Generator(self.device).manual_seed(
            int(np.random.SeedSequence((self.seed, step)).generate_state(1, np.uint64)[0] >> 1)
        )
        mean, shifts, winds = (self._constant(part) for part in self._draw_weather(step))
        scale = float(np.sqrt(HONG_KONG.waves))
        half = (self.domain[0] // 2, self.domain[1] // 2)
        large = self._large[0] * self._white(self.domain, random)
        cells = self._cells[0] * self._white(half, random)
        view = tuple(slice(o, o + n) for o, n in zip(self._origin, self.shape, strict=True))
        made = []
        for t in range(self.frames):
            field = scale * torch.fft.irfft2(large, self.domain)[:, view[0], view[1]] + self._hills
            field = field + mean + shifts[t]
            fine = _refined(cells, half, self.domain)[:, view[0], view[1]]
            made.append(self._observe(HONG_KONG.with_cells(field, fine), random))
            large = self._moved(large, self._large, winds[t], self.domain, 1, random)
            cells = self._moved(cells, self._cells, winds[t], half, 2, random)
        present = torch.ones(self.size, self.frames, dtype=torch.bool, device=self.device)
        return torch.stack(made, 1), present, self.scored

    def _draw_weather(self, step: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """What is drawn on the CPU for the batch of ``step``, float32.

        Returns:
            (B, 1, 1) mean wetness, (T, B, 1, 1) its change with time, (T, B, 2, n', m') winds as of ``Wind.step``.
        """
        winds = [
            Wind(self.domain, self.shape, (_APART + self.seed, step * self.size + i), cadence=self.cadence)
            for i in range(self.size)
        ]
        host = np.random.default_rng((self.seed, step, 1))
        mean = host.normal(0, HONG_KONG.between, (self.size, 1, 1))
        wander = HONG_KONG.within * host.standard_normal((self.size, 1, 1))
        keep = np.exp(-self.cadence / (60 * rain.WITHIN_HOURS))
        start = host.integers(0, DAY, (self.size, 1, 1))
        shifts = []
        for t in range(self.frames):
            shifts.append(wander + rain.diurnal_cycle(start + self.cadence * t))
            wander = keep * wander + HONG_KONG.within * np.sqrt(1 - keep**2) * host.standard_normal(wander.shape)
        nodes = np.stack([[wind.step() for wind in winds] for _ in range(self.frames)])
        return mean.astype(np.float32), np.stack(shifts).astype(np.float32), nodes

    def _observe(self, field: Tensor, random: torch.Generator) -> Tensor:
        """Levels (B, H, W) uint8 as the radar records them: blocked beams, ground and sea clutter; no sun spikes."""
        index = ((field + 8) * 1000).clip(0, len(self._table) - 1).int()
        seen = (self._table[index].float() - self._loss).clip(0)
        seen = torch.where(seen < NOISE_LEVEL, 0, seen)
        places, strength = self._clutter
        chance = torch.rand((3, len(seen), len(places)), generator=random, device=self.device)
        echo = strength.float() * (-2 * (1 - chance[0]).log()).sqrt() * (chance[1] < SEEN)
        flat = seen.flatten(1)
        flat[:, places] = torch.maximum(flat[:, places], echo.clip(max=255))
        places, share = self._sea
        chance = torch.rand((2, len(seen), len(places)), generator=random, device=self.device)
        drizzle = (1 + chance[0] * (NOISE_LEVEL - 1)).floor() * (chance[1] < share)
        flat[:, places] = torch.where(flat[:, places] == 0, drizzle.float(), flat[:, places])
        return (flat.view_as(seen) * self._seen).to(torch.uint8)

    def _moved(
        self,
        state: Tensor,
        modes: tuple[Tensor, Tensor, Tensor],
        nodes: Tensor,
        size: tuple[int, int],
        spacing: int,
        random: torch.Generator,
    ) -> Tensor:
        """``state`` (B, n, m) after one step: advected by the wind at ``nodes`` (B, 2, n', m'), decayed and renewed."""
        _, keep, renew = modes
        moved = nodes / spacing
        for axis, n in zip((2, 3), size, strict=True):
            low, high, part = self._nodes_around(nodes.shape[axis], n, spacing / NODE)
            share = part[:, None] if axis == 2 else part
            moved = moved.index_select(axis, low) * (1 - share) + moved.index_select(axis, high) * share
        line = [torch.arange(n, device=self.device) for n in size]
        rows = (line[0][:, None] - moved[:, 0]) % size[0] + _PAD
        columns = (line[1] - moved[:, 1]) % size[1] + _PAD
        ends = [n + 2 * _PAD - 1 for n in size]
        grid = torch.stack([2 * columns / ends[1] - 1, 2 * rows / ends[0] - 1], -1)
        field = F.pad(torch.fft.irfft2(state, size)[:, None], (_PAD,) * 4, mode="circular")
        carried = F.grid_sample(field, grid, mode="bicubic", align_corners=True)[:, 0]
        following: Tensor = keep * torch.fft.rfft2(carried) + renew * self._white(size, random)
        return following

    def _nodes_around(self, *key: Any) -> tuple[Tensor, ...]:
        """As :func:`hko7env.synthetic.wind.nodes_around`, on the device, computed once."""
        if key not in self._between:
            self._between[key] = tuple(self._constant(a) for a in nodes_around(*key))
        return self._between[key]

    def _white(self, size: tuple[int, int], random: torch.Generator) -> Tensor:
        """(B, n, m // 2 + 1): the real transforms of unit white noise."""
        noise: Tensor = torch.fft.rfft2(torch.randn((self.size, *size), generator=random, device=self.device))
        return noise

    def _constant(self, values: npt.NDArray[Any]) -> Tensor:
        return send(np.array(values), self.device)


def _modes(
    size: tuple[int, int],
    spacing: int,
    power: Callable[[Floats], Floats],
    lifetime: Callable[[Floats], Floats],
    cadence: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitude, kept share and renewed amplitude of each mode, as in ``hko7env.synthetic.field``."""
    amplitude, keep = spectrum(size, spacing, power=power, lifetime=lifetime, cadence=cadence)
    left: Any = 1.0
    for k in wavenumbers(size, 1 / PIXEL_KM):
        left = left * mean_power(2 * np.pi * k, _cubic)
    renew = amplitude * np.sqrt(np.maximum(1 - keep**2 * left, 0))
    first, second, third = (torch.from_numpy(a.astype(np.float32)).to(device) for a in (amplitude, keep, renew))
    return first, second, third


def _cubic(x: float) -> float:
    """Keys' cubic convolution."""
    x, a = abs(x), _SHARPNESS
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def _refined(state: Tensor, size: tuple[int, int], finer: tuple[int, int]) -> Tensor:
    """The field (B, n, m) of ``state`` on a grid of ``finer`` points over the same domain."""
    n, m = size[0] // 2, size[1] // 2
    full = state.new_zeros(len(state), finer[0], finer[1] // 2 + 1)
    full[:, :n, :m], full[:, 1 - n :, :m] = state[:, :n, :m], state[:, 1 - n :, :m]
    refined: Tensor = torch.fft.irfft2(full * (finer[0] * finer[1] / (size[0] * size[1])), finer)
    return refined

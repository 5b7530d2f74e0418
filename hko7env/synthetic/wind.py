"""The motion of synthetic rain: translation, rotation, shear and divergence that change in time, and eddies.

Motion is given as the displacement of one time step, in pixels down and right, on nodes 16 pixels apart; between them
it is bilinear. It is the truth that an oracle may follow: a location holds what was at ``trace(...)`` before.
"""

import numpy as np
import numpy.typing as npt
from scipy import fft

from hko7env.synthetic.field import KM, Array, Key, both_halves, random, wavenumbers, white

NODE = 16  # pixels between nodes
SPEED = (12.0, 28.0)  # km/h, one draw an episode
TURN, SHEAR, DIVERGENCE = 0.1, 0.05, 0.05  # standard deviations, 1/h
EDDIES, EDDY_KM = 0.15, 100.0  # rms as a share of the speed; no eddy is smaller
MEMORY = 2.0  # hours until the parameters have been forgotten to 1/e
GUST, VEER = 0.15, 0.25  # standard deviations of speed (as a share) and of heading (rad) about the episode's own

_STREAM = 1 << 100


class Wind:
    """The displacements of one episode over a periodic domain of ``size`` pixels about a view of ``view``."""

    def __init__(self, size: tuple[int, int], view: tuple[int, int], key: Key, *, cadence: int) -> None:
        self._random = random(key, _STREAM)
        self._hours = cadence / 60
        self.nodes = (size[0] // NODE, size[1] // NODE)
        self._y, self._x = (
            KM * _bend(NODE * np.arange(n, dtype=np.float64) - s / 2, v / 2, (s - v) / 2)
            for n, s, v in zip(self.nodes, size, view, strict=True)
        )
        ky, kx = wavenumbers(self.nodes, NODE)
        self._ky, self._kx = 2j * np.pi * ky, 2j * np.pi * kx
        k = np.hypot(ky, kx)
        self._eddy = ((k > 0) & (k <= max(1 / EDDY_KM, np.sort(np.unique(k))[1]))).astype(np.float64)
        self._speed, self._heading = self._random.uniform(*SPEED), self._random.uniform(0, 2 * np.pi)
        self._deviations = self._random.standard_normal(6)
        self._stream_function = self._eddy * white(self._random, self.nodes)
        curl = np.abs(self._ky) ** 2 + np.abs(self._kx) ** 2
        expected = (both_halves(self.nodes) * curl * self._eddy).sum() / (self.nodes[0] * self.nodes[1])
        self._eddy_scale = EDDIES * self._speed / np.sqrt(expected)

    def step(self) -> Array:
        """(2, n, m) float32 displacement of the next step on the nodes."""
        keep = np.exp(-self._hours / MEMORY)
        renew = np.sqrt(1 - keep**2)
        self._deviations = keep * self._deviations + renew * self._random.standard_normal(6)
        fresh = self._eddy * white(self._random, self.nodes)
        self._stream_function = keep * self._stream_function + renew * fresh
        gust, veer, turn, divergence, stretch, shear = self._deviations
        turn, divergence = TURN * turn, DIVERGENCE * divergence
        stretch, shear = SHEAR * stretch, SHEAR * shear
        speed, heading = self._speed * (1 + GUST * gust), self._heading + VEER * veer
        y, x = self._y[:, None], self._x[None, :]
        down = speed * np.sin(heading) + turn * x + divergence * y + shear * x - stretch * y
        right = speed * np.cos(heading) - turn * y + divergence * x + stretch * x + shear * y
        flow = np.stack(np.broadcast_arrays(down, right)) + self._eddy_scale * self._eddies()
        return np.asarray(flow * self._hours / KM, np.float32)

    def _eddies(self) -> npt.NDArray[np.float64]:
        modes = (-self._kx * self._stream_function, self._ky * self._stream_function)
        return np.stack([fft.irfft2(mode, self.nodes) for mode in modes])


def _bend(x: npt.NDArray[np.float64], inner: float, margin: float) -> npt.NDArray[np.float64]:
    """``x`` up to ``inner`` on both sides of 0, and back to 0 over ``margin``, so that it can go on periodically."""
    t = np.clip((np.abs(x) - inner) / max(margin, 1), 0, 1)
    return np.asarray(x * (1 - t * t * (3 - 2 * t)))


def spread(nodes: Array, size: tuple[int, int], spacing: float = 1, node: float = NODE) -> Array:
    """(2, n, m) bilinear values at ``size`` points ``spacing`` pixels apart of periodic ``nodes``, ``node`` apart."""
    along = nodes
    for axis, n in zip((1, 2), size, strict=True):
        low, high, part = between(nodes.shape[axis], n, spacing / node)
        share = part.reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
        along = along.take(low, axis) * (1 - share) + along.take(high, axis) * share
    return np.asarray(along, np.float32)


def between(
    nodes: int, size: int, spacing: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The periodic ``nodes`` before and after each of ``size`` points, and how far between them it lies, 0 to 1."""
    place = spacing * np.arange(size)
    low = np.floor(place).astype(np.int64)
    return low % nodes, (low + 1) % nodes, (place - low).astype(np.float32)

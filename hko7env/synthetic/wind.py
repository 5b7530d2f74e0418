"""The motion of synthetic rain: translation, rotation, shear and divergence that change over time, and eddies.

Motion is the displacement in one time step, in pixels down and right, at nodes 16 pixels apart, with bilinear
interpolation between them.
"""

import numpy as np
import numpy.typing as npt
from scipy import fft

from hko7env.archive.hko7_facts import PIXEL_KM
from hko7env.synthetic.field import Array, Key, mode_counts, random_stream, wavenumbers, white_noise

NODE = 16  # pixels between nodes
SPEED = (12.0, 28.0)  # km/h, drawn uniformly for each episode
TURN, SHEAR, DIVERGENCE = 0.1, 0.05, 0.05  # standard deviations, 1/h
EDDIES, EDDY_KM = 0.15, 100.0  # rms as a share of the speed; shortest wavelength
MEMORY = 2.0  # hours in which deviations from the episode's mean wind decay to 1/e
GUST, VEER = 0.15, 0.25  # standard deviations of speed (as a share) and heading (rad) about the episode's own

_STREAM = 1 << 100


class Wind:
    """The wind of one episode.

    Args:
        size: (n, m) pixels of the periodic domain.
        view: (H, W) pixels of the frames, in the middle of the domain.
        key: Seed and episode.
        cadence: Minutes of a step.
        speed: Lowest and highest mean speed in km/h.

    Attributes:
        nodes: (n', m') nodes of the domain.
    """

    def __init__(
        self,
        size: tuple[int, int],
        view: tuple[int, int],
        key: Key,
        *,
        cadence: float,
        speed: tuple[float, float] = SPEED,
    ) -> None:
        self._random = random_stream(key, _STREAM)
        self._hours = cadence / 60
        self.nodes = (size[0] // NODE, size[1] // NODE)
        self._y, self._x = (
            PIXEL_KM * _make_periodic(NODE * np.arange(n, dtype=np.float64) - s / 2, v / 2, (s - v) / 2)
            for n, s, v in zip(self.nodes, size, view, strict=True)
        )
        ky, kx = wavenumbers(self.nodes, NODE)
        self._ky, self._kx = 2j * np.pi * ky, 2j * np.pi * kx
        k = np.hypot(ky, kx)
        self._eddy = ((k > 0) & (k <= max(1 / EDDY_KM, np.sort(np.unique(k))[1]))).astype(np.float64)
        self._speed, self._heading = self._random.uniform(*speed), self._random.uniform(0, 2 * np.pi)
        self._deviations = self._random.standard_normal(6)
        self._stream_function = self._eddy * white_noise(self._random, self.nodes)
        curl = np.abs(self._ky) ** 2 + np.abs(self._kx) ** 2
        expected = (mode_counts(self.nodes) * curl * self._eddy).sum() / (self.nodes[0] * self.nodes[1])
        self._eddy_scale = EDDIES * self._speed / np.sqrt(expected)

    def step(self) -> Array:
        """(2, n', m') float32 displacement in the next step at the nodes, in pixels down and right."""
        keep = np.exp(-self._hours / MEMORY)
        renew = np.sqrt(1 - keep**2)
        self._deviations = keep * self._deviations + renew * self._random.standard_normal(6)
        fresh = self._eddy * white_noise(self._random, self.nodes)
        self._stream_function = keep * self._stream_function + renew * fresh
        gust, veer, turn, divergence, stretch, shear = self._deviations
        turn, divergence = TURN * turn, DIVERGENCE * divergence
        stretch, shear = SHEAR * stretch, SHEAR * shear
        speed, heading = self._speed * (1 + GUST * gust), self._heading + VEER * veer
        y, x = self._y[:, None], self._x[None, :]
        down = speed * np.sin(heading) + turn * x + divergence * y + shear * x - stretch * y
        right = speed * np.cos(heading) - turn * y + divergence * x + stretch * x + shear * y
        flow = np.stack(np.broadcast_arrays(down, right)) + self._eddy_scale * self._eddies()
        return np.asarray(flow * self._hours / PIXEL_KM, np.float32)

    def _eddies(self) -> npt.NDArray[np.float64]:
        modes = (-self._kx * self._stream_function, self._ky * self._stream_function)
        return np.stack([fft.irfft2(mode, self.nodes) for mode in modes])


def _make_periodic(x: npt.NDArray[np.float64], inner: float, margin: float) -> npt.NDArray[np.float64]:
    """``x`` where it is within ``inner`` of 0, and smoothly back to 0 over the ``margin`` beyond."""
    t = np.clip((np.abs(x) - inner) / max(margin, 1), 0, 1)
    return np.asarray(x * (1 - t * t * (3 - 2 * t)))


def interpolate_nodes(nodes: Array, size: tuple[int, int], spacing: float = 1, node: float = NODE) -> Array:
    """Interpolate periodic nodes bilinearly.

    Args:
        nodes: (2, n', m') float32 values at the nodes.
        size: (n, m) points wanted, from the first node on.
        spacing: Pixels between points.
        node: Pixels between nodes.

    Returns:
        (2, n, m) float32.
    """
    along = nodes
    for axis, n in zip((1, 2), size, strict=True):
        low, high, part = nodes_around(nodes.shape[axis], n, spacing / node)
        share = part.reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
        along = along.take(low, axis) * (1 - share) + along.take(high, axis) * share
    return np.asarray(along, np.float32)


def nodes_around(
    nodes: int, size: int, spacing: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Indices of the periodic nodes before and after each of ``size`` points, and the position between them, 0 to 1.

    Args:
        nodes: Number of nodes.
        size: Number of points, from the first node on.
        spacing: Distance between points in units of the distance between nodes.

    Returns:
        (size,) int64 nodes before, (size,) int64 nodes after, (size,) float32 positions.
    """
    position = spacing * np.arange(size)
    low = np.floor(position).astype(np.int64)
    return low % nodes, (low + 1) % nodes, (position - low).astype(np.float32)

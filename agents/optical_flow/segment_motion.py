"""Motion of echo over a whole segment of frames, and backward trajectories along it.

The flow is that of :mod:`.variational`, except that the tensor terms of all pairs of successive frames are averaged
before they are solved: one steady motion for the segment. The terms are linear in the motion, which holds for small
displacements only. So the flow is first estimated on a coarse grid; then both frames of a pair are moved half of it
towards each other, and it is estimated again on a finer grid from what is left (warping, Brox et al. 2004).

Motion and points are in the coordinates of ``grid_sample`` (``align_corners=False``), x before y: -1 is the left or
upper edge of the frame and 1 the right or lower one, at any resolution.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from . import variational

Tensor = torch.Tensor

REDUCTIONS = (8, 4)  # px of a frame in one cell of the motion's grids, coarse to fine
FLOOR = 45.0  # level taken off: the step from no echo, 0, to the weakest echo outweighs the structure of strong echo
SIGMA, RHO = 1.5, 1.5  # cells: standard deviations of the smoothing of frames and of tensor terms
ALPHA = 1000.0  # weight of the smoothness of the flow
LEVELS = 5  # of the pyramid at most
COARSE_SWEEPS, SWEEPS = 30, 8  # Gauss-Seidel sweeps on the coarsest level, on each finer one


def estimate_motion(
    frames: Tensor,
    present: npt.NDArray[np.bool_],
    reductions: tuple[int, ...] = REDUCTIONS,
    floor: float = FLOOR,
) -> Tensor:
    """Estimate one motion from all pairs of successive frames.

    A pair with missing frames between its two contributes its mean motion a step. With fewer than two frames, or on a
    grid too small for the flow, the motion is 0.

    Args:
        frames: (J, H, W) float32 levels; H and W are multiples of ``reductions``.
        present: (J,), False where a frame is missing.
        reductions: px of a frame in one cell of each grid, coarse to fine.
        floor: Level taken off before.

    Returns:
        (1, h, w, 2) motion a step, right and down, on the finest grid.
    """
    height, width = (size // reductions[-1] for size in frames.shape[-2:])
    motion = frames.new_zeros(1, height, width, 2)
    slots = np.flatnonzero(present)
    if len(slots) < 2:
        return motion
    steps = torch.from_numpy(np.diff(slots)).to(frames)[:, None, None]
    shown = (frames[slots][None] - floor).clamp(min=0)
    for reduction in reductions:
        images = F.avg_pool2d(shown, reduction)
        if min(images.shape[-2:]) >= variational.SMALLEST:
            motion = _improve(motion, variational.smooth(images, SIGMA)[0], steps)
    return motion


def _improve(motion: Tensor, images: Tensor, steps: Tensor) -> Tensor:
    """Estimate the motion (1, h, w, 2) of images (n, h, w), ``steps`` (n - 1, 1, 1) apart, from one of any size."""
    height, width = images.shape[-2:]
    cells = motion.new_tensor([width / 2, -height / 2])  # solved in cells, right and up
    motion = variational.resize(motion.permute(0, 3, 1, 2), (height, width)).permute(0, 2, 3, 1)
    here, half = _centres(height, width, motion.device), motion * steps[..., None] / 2
    before = sample(images[:-1, None], here - half)[:, 0]
    after = sample(images[1:, None], here + half)[:, 0]
    terms = variational.tensor_terms((before + after) / 2, (after - before) / steps).mean(0, keepdim=True)
    xx, xy, yy, xt, yt = terms.unbind(1)
    u, v = (motion * cells).unbind(-1)
    terms = torch.stack([xx, xy, yy, xt - xx * u - xy * v, yt - xy * u - yy * v], 1)  # of the whole motion
    field = variational.solve(
        variational.smooth(terms, RHO), alpha=ALPHA, levels=LEVELS, coarse_sweeps=COARSE_SWEEPS, sweeps=SWEEPS
    )
    return field.permute(0, 2, 3, 1) / cells


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """The points (1, h, w, 2) at the centres of a grid's cells."""
    rows, columns = (
        (2 * torch.arange(size, dtype=torch.float32, device=device) + 1) / size - 1 for size in (height, width)
    )
    return torch.stack(torch.broadcast_tensors(columns[None, :], rows[:, None]), -1)[None]


def departure_points(motion: Tensor, steps: int) -> Tensor:
    """Follow each cell back along a steady motion: where the echo that arrives after 1 to ``steps`` steps comes from.

    The rule is Adams and Bashforth's of two steps: second order with one evaluation of the motion a step.

    Args:
        motion: (1, h, w, 2) a step.
        steps: Their number.

    Returns:
        (steps, h, w, 2) points, which may lie outside the frame.
    """
    _, height, width, _ = motion.shape
    images = motion.permute(0, 3, 1, 2)
    here, before, points = _centres(height, width, motion.device), motion, []
    for _ in range(steps):
        now = sample(images, here).permute(0, 2, 3, 1)
        here = here - 1.5 * now + 0.5 * before
        before = now
        points.append(here)
    return torch.cat(points)


def sample(images: Tensor, points: Tensor, outside: Literal["border", "zeros"] = "border") -> Tensor:
    """Interpolate images bilinearly.

    Args:
        images: (B, C, H, W).
        points: (B, h, w, 2).
        outside: What lies outside the images: the nearest border pixel, or 0.

    Returns:
        (B, C, h, w).
    """
    return F.grid_sample(images, points, mode="bilinear", padding_mode=outside, align_corners=False)

"""Semi-Lagrangian advection of a frame along a motion field, on the CPU or a GPU, in batches."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

Tensor = torch.Tensor


def advect(frame: Tensor, motion: Tensor, steps: int, *, scheme: str = "recursive") -> Tensor:
    """Carry a frame along a steady motion field.

    Args:
        frame: (B, H, W) float, in any unit.
        motion: (B, 2, H, W) px per step: component 0 is down, 1 is right.
        steps: Number of forecasts.
        scheme: "recursive" interpolates each forecast from the one before, with 0 outside the frame, as in the released
            code of ROVER; "trajectory" follows the path of each location backwards and interpolates once from
            ``frame``, with the nearest border pixel outside.

    Returns:
        (B, steps, H, W).

    Raises:
        ValueError: If there is no such scheme.
    """
    forecasts = frame.new_empty(len(frame), steps, *frame.shape[1:])
    for k, forecast in enumerate(advect_stepwise(frame, motion, steps, scheme=scheme)):
        forecasts[:, k] = forecast
    return forecasts


def advect_stepwise(frame: Tensor, motion: Tensor, steps: int, *, scheme: str = "recursive") -> Iterator[Tensor]:
    """Yield the forecasts of :func:`advect` one by one, (B, H, W), so that each can be used while it is in the cache.

    They must not be changed: the next is computed from them.

    Raises:
        ValueError: If there is no such scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"there is no advection scheme {scheme!r}, only {', '.join(SCHEMES)}")
    return SCHEMES[scheme](frame, motion, steps)


def _advect_recursively(frame: Tensor, motion: Tensor, steps: int) -> Iterator[Tensor]:
    """The scheme "recursive" of :func:`advect`."""
    grid, bands = _grid(_locations(motion) - motion), _bands(frame)
    grid = grid.reshape(len(frame) * bands, -1, *grid.shape[2:])
    current = frame[:, None]
    for _ in range(steps):
        images = current.expand(bands, -1, -1, -1) if bands > 1 else current
        moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        current = moved.reshape(frame[:, None].shape)
        yield current[:, 0]


def _bands(frame: Tensor) -> int:
    """Parts of equal height in which a frame (B, H, W) is sampled: torch's threads share images, not their rows."""
    if len(frame) != 1 or frame.device.type != "cpu":
        return 1
    return next(n for n in range(torch.get_num_threads(), 0, -1) if frame.shape[1] % n == 0)


def _advect_along_trajectories(frame: Tensor, motion: Tensor, steps: int) -> Iterator[Tensor]:
    """The scheme "trajectory" of :func:`advect`."""

    def at(images: Tensor, where: Tensor) -> Tensor:
        return F.grid_sample(images, _grid(where), mode="bilinear", padding_mode="border", align_corners=True)

    here = _locations(motion).expand_as(motion)
    for _ in range(steps):
        here = here - at(motion, here - at(motion, here) / 2)  # midpoint rule: second order on curved paths
        yield at(frame[:, None], here)[:, 0]


def _locations(motion: Tensor) -> Tensor:
    """The row and column of each location, (1, 2, H, W)."""
    height, width = motion.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=motion.device, dtype=motion.dtype),
        torch.arange(width, device=motion.device, dtype=motion.dtype),
        indexing="ij",
    )
    return torch.stack([rows, columns])[None]


def _grid(locations: Tensor) -> Tensor:
    """Rows and columns (B, 2, H, W) in the units of ``grid_sample``: (B, H, W, 2), x and y in [-1, 1]."""
    height, width = locations.shape[-2:]
    x = locations[:, 1] * (2 / max(width - 1, 1)) - 1
    y = locations[:, 0] * (2 / max(height - 1, 1)) - 1
    return torch.stack([x, y], -1)


SCHEMES = {"recursive": _advect_recursively, "trajectory": _advect_along_trajectories}

"""Frames padded at the south and east edge to a grid that a network accepts."""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from hko7env.contract import Task

Tensor = torch.Tensor


def pad_maps(maps: Tensor, multiple: int) -> Tensor:
    """Pad maps with zeros (no echo, False) at the south and east edge.

    Args:
        maps: (..., H, W) of any type.
        multiple: What height and width become multiples of, px.

    Returns:
        (..., H', W'); ``maps`` itself if it fits already.
    """
    south, east = (-size % multiple for size in maps.shape[-2:])
    return F.pad(maps, (0, east, 0, south)) if south or east else maps


def pad_task(task: Task, multiple: int) -> Task:
    """The task on the padded grid of :func:`pad_maps`, whose padding is not scored."""
    height, width = (-(-size // multiple) * multiple for size in (task.height, task.width))
    scored = np.zeros((height, width), bool)
    scored[: task.height, : task.width] = task.scored
    return dataclasses.replace(task, height=height, width=width, scored=scored)

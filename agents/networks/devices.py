"""The device that computes, and what to do when its memory is exhausted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt
import torch

from hko7env.contract import OptionError


def select_device(name: str) -> torch.device:
    """The device to compute on.

    Args:
        name: "auto" (CUDA if torch can use it, otherwise the CPU), "cpu", "cuda" or any name that torch knows.

    Raises:
        OptionError: If torch does not know the device or cannot use it here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"there is no device {name!r}: choose auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError("this machine has no CUDA device that torch can use: choose the device cpu or auto")
    return device


def send(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """A copy of an array on a device. The call does not wait for the GPU, as a copy from ordinary memory would."""
    tensor = torch.from_numpy(values)
    if device.type != "cuda":
        return tensor.clone()
    return tensor.pin_memory().to(device, non_blocking=True)


@contextmanager
def explain_out_of_memory(remedy: str) -> Iterator[None]:
    """Turn torch's "out of memory", on any device, into a MemoryError that ends with ``remedy``."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise MemoryError(f"the network needs more memory than there is: {remedy}") from error

"""Training by several processes, started by ``torchrun``."""

import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn

from ..networks.devices import select_device
from ..networks.network import Network
from .loss import Forward


class Ranks:
    """The processes that ``torchrun`` started, or this process alone.

    Attributes:
        many: Whether there are several processes.
        rank: Number of this process, counted from 0.
        count: Number of processes.
    """

    def __init__(self) -> None:
        self.many = dist.is_initialized()
        self.rank, self.count = (dist.get_rank(), dist.get_world_size()) if self.many else (0, 1)
        self._group = dist.new_group(backend="gloo") if self.many else None  # for numbers on the CPU

    def share(self, batch: int) -> range:
        """The rows of a batch that this process works on. Raises ValueError if they cannot be shared equally."""
        if batch < 1 or batch % self.count:
            raise ValueError(f"a batch of {batch} cannot be shared by {self.count} processes: choose a multiple")
        size = batch // self.count
        return range(self.rank * size, (self.rank + 1) * size)

    def total(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Sum of ``values``, as float64, over all processes."""
        tensor = torch.tensor(np.asarray(values, np.float64))
        if self.many:
            dist.all_reduce(tensor, group=self._group)
        return tensor.numpy()

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is True in any process: all must stop at one step."""
        return bool(self.total([flag])[0]) if self.many else flag

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Mean of a scalar tensor over all processes, in place."""
        if self.many:
            dist.all_reduce(value)
            value /= self.count
        return value

    def share_batch_statistics(self, net: Network) -> Network:
        """``net`` with batch normalisation over the whole batch where several GPUs share it."""
        if not self.many or next(net.parameters()).device.type != "cuda":
            return net
        converted: Network = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        return converted

    def wrap(self, net: nn.Module, *, compiled: bool = False) -> Forward:
        """``net`` as a function, compiled or not, whose gradients are averaged over all processes."""
        called: Any = torch.compile(net) if compiled else net
        forward: Forward = called
        if not self.many:
            return forward
        device = next(net.parameters()).device
        return nn.parallel.DistributedDataParallel(called, device_ids=[device] if device.type == "cuda" else None)


def join_processes(device: str) -> str:
    """Join the processes of the ``torchrun`` that started this process, if one did.

    Args:
        device: A device as :func:`agents.networks.devices.select_device` takes it.

    Returns:
        The device of this process.

    Raises:
        OptionError: If torch cannot use the device.
    """
    device = str(select_device(device))
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    warnings.filterwarnings("ignore", message="Grad strides do not match")  # of 1 x 1 weights, channels last
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def leave_processes() -> None:
    """Undo :func:`join_processes`."""
    if dist.is_initialized():
        dist.destroy_process_group()

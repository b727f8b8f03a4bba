"""The processes that train one network together, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import InputError


@dataclass(frozen=True)
class Processes:
    """One process among all that train together.

    Parameters
    ----------
    rank : int
        Its number; 0 alone writes and reports.
    count : int
        How many there are.
    device : torch.device
        Where it computes.
    """

    rank: int
    count: int
    device: torch.device

    def wrap(self, step: nn.Module) -> nn.Module:
        """Let gradients be averaged over the processes, and statistics on GPUs be shared."""
        if self.count == 1:
            return step
        if self.device.type != "cuda":
            return nn.parallel.DistributedDataParallel(step)
        shared = nn.SyncBatchNorm.convert_sync_batchnorm(step)  # type: ignore[no-untyped-call]
        return nn.parallel.DistributedDataParallel(shared, device_ids=[self.device])

    def share_statistics(self, network: nn.Module) -> None:
        """Let all networks have the running statistics of process 0."""
        if self.count > 1:
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def sum(self, table: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add a table up over all processes."""
        if self.count == 1:
            return table
        total = torch.from_numpy(table).to(self.device)
        torch.distributed.all_reduce(total)
        return total.cpu().numpy()

    def from_first(self, values: Sequence[float]) -> list[float]:
        """Return the values that process 0 has, so that all decide alike."""
        if self.count == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        found: list[float] = shared.tolist()
        return found


def process_rank() -> int:
    """Return the number of this process among those that `torchrun` started; 0 without it."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """Return the number of processes that `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that `torchrun` started; alone without it.

    Parameters
    ----------
    device : str
        As in `predict`; of several processes each takes the GPU of its number.

    Raises
    ------
    InputError
        If the device is not there, or one GPU is named for several processes.
    """
    from ..inference.device import find_device

    count = process_count()
    if count == 1:
        yield Processes(0, 1, find_device(device))
        return
    if device.startswith("cuda:"):
        raise InputError(
            f"{count} processes cannot share {device}; choose the device cuda, of which each "
            "process takes its own, or cpu."
        )
    found = find_device(device)
    if found.type == "cuda":
        found = find_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
        torch.cuda.set_device(found)
    torch.distributed.init_process_group("nccl" if found.type == "cuda" else "gloo")
    try:
        yield Processes(torch.distributed.get_rank(), count, found)
    finally:
        torch.distributed.destroy_process_group()

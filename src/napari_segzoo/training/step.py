"""One step of a training: forward pass, loss, gradient, update."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError, RunError
from ..inference.device import computes_bfloat16, find_precision, is_out_of_memory
from .checkpoint import TrainingState
from .losses import Loss, total_loss
from .recipe import TrainOptions

LARGEST_GRADIENT = 12.0
"""Norm to which the gradient of all weights together is cut."""


class NetworkLoss(nn.Module):
    """A network and its loss in one, so that processes can share the work."""

    def __init__(self, network: nn.Module, loss: Loss, precision: torch.dtype) -> None:
        super().__init__()
        self.network, self.loss, self.precision = network, loss, precision

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return total_loss(self.network, x, target, self.loss, self.precision)


def take_step(
    state: TrainingState, network_loss: nn.Module, x: Tensor, target: Tensor, rate: float
) -> float:
    """Change the weights once and return the loss.

    Raises
    ------
    RunError
        If the loss is no longer finite.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    loss = network_loss(x, target)
    state.optimizer.zero_grad()
    state.scaler.scale(loss).backward()
    state.scaler.unscale_(state.optimizer)
    nn.utils.clip_grad_norm_(state.network.parameters(), LARGEST_GRADIENT)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise RunError(
            f"The loss is no longer a finite number after {state.step} steps; try a lower "
            "learning rate, and check the images for extreme values."
        )
    state.step += 1
    state.losses.append(value)
    return value


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Return the seed of the random numbers of one step in one process."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


@contextmanager
def own_random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Draw PyTorch's random numbers from a seed, and leave those of the caller as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def explain_small_batch(architecture: str, batch: int | None) -> Iterator[None]:
    """Put into words that a batch is too small to normalise over."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            f"{architecture} normalises over the batch and needs at least two patches for each "
            f"process, so a batch of {batch} is too small."
        ) from error


@contextmanager
def explained(options: TrainOptions) -> Iterator[None]:
    """Put into words what a step can fail with."""
    try:
        with explain_small_batch(options.architecture, options.batch):
            yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(
            f"Memory ran out with {options.batch} crops of {options.crop} a step; choose a "
            "smaller batch or crop."
        ) from error


def find_step_precision(options: TrainOptions, device: torch.device) -> torch.dtype:
    """Return the data type of the forward pass."""
    if options.precision == "auto":
        return training_precision(device)
    return find_precision(options.precision, device)


def training_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device computes in it, else float32."""
    return torch.bfloat16 if computes_bfloat16(device) else torch.float32


def find_memory_format(ndim: int, device: torch.device) -> torch.memory_format:
    """Return the order of channels in memory that convolutions are fastest with."""
    if device.type == "mps":
        return torch.contiguous_format
    return torch.channels_last if ndim == 2 else torch.channels_last_3d

"""What a forward pass costs, counted without computing it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass over one tile.

    Parameters
    ----------
    multiply_adds : int
        Of the convolutions and linear layers.
    activation_bytes : int
        Outputs of all layers together in float32: an upper bound of the memory needed,
        as inference frees most of them on the way.
    parameters : int
        Trainable parameters.
    """

    multiply_adds: int
    activation_bytes: int
    parameters: int


def cost(network: nn.Module, in_channels: int, tile: Sequence[int]) -> Cost:
    """Count the cost of one tile on PyTorch's meta device, which holds shapes only.

    Parameters
    ----------
    network : torch.nn.Module
        Neither moved nor changed.
    in_channels : int
        Channels of the image.
    tile : sequence of int
        Voxels along [Z,] Y, X, multiples of ``network.divisor``.
    """
    outputs = multiply_adds = 0

    def count(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal outputs, multiply_adds
        if not isinstance(output, Tensor):
            return
        outputs += output.numel()
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            transposed = getattr(module, "transposed", False)
            positions = prod(output.shape[2:])
            if transposed:
                positions //= prod(module.stride)  # type: ignore[arg-type]
            multiply_adds += weight.numel() * positions

    counted = copy.deepcopy(network).to("meta").eval()
    for module in counted.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    x = torch.empty((1, in_channels, *tile), device="meta")
    with torch.no_grad():
        counted(x)
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Cost(multiply_adds, 4 * outputs, parameters)

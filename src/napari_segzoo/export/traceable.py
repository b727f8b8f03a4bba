"""A copy of a network that PyTorch can convert for images of any size."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


def for_inference(network: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in float32, that is evaluated and not trained."""
    return copy.deepcopy(network).cpu().float().eval().requires_grad_(False)


def traceable(network: nn.Module) -> nn.Module:
    """Return a copy in which pooling to a fixed number of parts is written out.

    The converter unrolls adaptive pooling for the size of its example, which is wrong for
    every other size, and has none in 3D.
    """
    shadow = copy.deepcopy(network)
    for name, module in list(shadow.named_modules()):
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveAvgPool3d):
            ndim = 2 if isinstance(module, nn.AdaptiveAvgPool2d) else 3
            size: Any = module.output_size
            parts = (size,) * ndim if isinstance(size, int) else tuple(size)
            if None not in parts:
                shadow.set_submodule(name, PartMeans(parts))
    return shadow


class PartMeans(nn.Module):
    """Means over parts of the image: what `AdaptiveAvgPool2d` computes, one axis at a time.

    Parameters
    ----------
    parts : tuple of int
        Parts along [Z,] Y, X.
    """

    def __init__(self, parts: tuple[int, ...]) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        for axis, count in enumerate(self.parts, start=2):
            if count == 1:
                x = x.mean(axis, keepdim=True)
            else:
                weights = _weights(x.shape[axis], count, x)
                x = (x.movedim(axis, -1) @ weights).movedim(-1, axis)
        return x


def _weights(length: int, count: int, like: Tensor) -> Tensor:
    """Return (length, count): the share of each voxel in the mean of each part."""
    part = torch.arange(count, device=like.device)
    first = torch.div(part * length, count, rounding_mode="floor")
    end = torch.div((part + 1) * length + count - 1, count, rounding_mode="floor")
    voxel = torch.arange(length, device=like.device)[:, None]
    inside = (voxel >= first) & (voxel < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)

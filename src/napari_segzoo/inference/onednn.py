"""Convolutions computed by oneDNN on the CPU, together with the ReLU or the sum that follows."""

from __future__ import annotations

import platform
from itertools import pairwise
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from ..zoo.unet import DoubleConv

PROCESSORS = ("x86_64", "AMD64")
"""Names of the processors whose convolutions are replaced."""


class OneDnnConv(nn.Module):
    """A convolution, and perhaps the ReLU after it, in one pass.

    PyTorch itself leaves a single 3D image to oneDNN only where channels, depth and height
    multiply to more than 20,480. Below, it writes out the neighbourhood of each voxel first, for
    up to 17 times as long and with 27 times the memory. A ReLU of its own would be one more pass
    over the result.

    Parameters
    ----------
    conv : torch.nn.Conv2d or torch.nn.Conv3d
        One that `can_replace`.
    precision : torch.dtype
        float32 or bfloat16.
    relu : bool
        Whether negative results become 0.
    """

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, precision: torch.dtype, relu: bool) -> None:
        super().__init__()
        self.conv = conv.to(precision)
        self.activation = "relu" if relu else "none"

    def forward(self, x: Tensor) -> Tensor:
        operands = self._operands(x)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(*operands, self.activation, [], "")
        return result

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """Return `total` and the convolution of `x` added up, in place if both are as precise."""
        if total.dtype != self.conv.weight.dtype:
            return total + self.forward(x)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            total, *self._operands(x), "add", 1.0, None, [], None
        )
        return result

    def _operands(self, x: Tensor) -> tuple[Any, ...]:
        c = self.conv
        x = x.to(c.weight.dtype)
        return x, c.weight, c.bias, c.padding, c.stride, c.dilation, c.groups


class OneDnnResidual(nn.Module):
    """A residual block that adds its shortcut in the pass that computes it.

    Parameters
    ----------
    convs : torch.nn.Module
        Gives a new tensor, which is then changed.
    shortcut : OneDnnConv
        Without ReLU.
    """

    def __init__(self, convs: nn.Module, shortcut: OneDnnConv) -> None:
        super().__init__()
        self.convs, self.shortcut = convs, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut.add_to(self.convs(x), x)


def convolve_by_onednn(network: nn.Module, precision: torch.dtype) -> nn.Module:
    """Replace convolutions of a network, in place, on processors that oneDNN is made for.

    Many processors, those without AVX-512 first of all, have no bfloat16 in oneDNN; PyTorch
    itself computes in it everywhere, although slowly.
    """
    if platform.machine() not in PROCESSORS:
        return network
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return network
    if precision == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return network
    for sequence in [m for m in network.modules() if isinstance(m, nn.Sequential)]:
        _join_activations(sequence, precision)
    joined = {m.conv for m in network.modules() if isinstance(m, OneDnnConv)}
    for name, conv in list(network.named_modules()):
        if can_replace(conv) and conv not in joined:
            network.set_submodule(name, OneDnnConv(conv, precision, relu=False))
    for name, block in list(network.named_modules()):
        if type(block) is DoubleConv and isinstance(block.shortcut, OneDnnConv):
            network.set_submodule(name, OneDnnResidual(block.convs, block.shortcut))
    return network


def can_replace(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.Conv3d]:
    """Whether a module is a convolution that oneDNN computes as PyTorch does."""
    return (
        type(module) in (nn.Conv2d, nn.Conv3d)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _join_activations(sequence: nn.Sequential, precision: torch.dtype) -> None:
    """Replace each convolution in a sequence that a ReLU follows directly."""
    names = [n for n, module in sequence.named_children() if type(module) is not nn.Identity]
    for name, following in pairwise(names):
        conv, relu = sequence.get_submodule(name), sequence.get_submodule(following)
        if can_replace(conv) and type(relu) is nn.ReLU:
            sequence.set_submodule(name, OneDnnConv(conv, precision, relu=True))
            sequence.set_submodule(following, nn.Identity())

"""Batch normalisation folded into the convolutions before it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ..zoo.cost import stand_in

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fold_normalization(network: nn.Module, in_channels: int, tile: Sequence[int]) -> nn.Module:
    """Return a copy for inference in which normalisation costs nothing where that is possible.

    In inference a batch normalisation is a fixed scale and shift per channel. Where its input
    is the output of a convolution that nothing else uses, both go into the convolution's
    weights; the result is the same to rounding. Elsewhere the layer stays.

    Parameters
    ----------
    network : torch.nn.Module
        Neither moved nor changed.
    in_channels : int
        Channels of the image.
    tile : sequence of int
        Voxels along [Z,] Y, X of an input that the network accepts.
    """
    folded = copy.deepcopy(network).eval()
    for conv_name, norm_name in _find_pairs(network, in_channels, tile):
        conv: Any = folded.get_submodule(conv_name)
        norm: Any = folded.get_submodule(norm_name)
        transposed = isinstance(conv, nn.ConvTranspose2d | nn.ConvTranspose3d)
        folded.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm, transposed))
        folded.set_submodule(norm_name, nn.Identity())
    return folded


@dataclass
class _Record:
    """What one pass through a network showed: by whom each tensor was made, and how often used."""

    made_by: dict[int, str] = field(default_factory=dict)
    normalizes: dict[str, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    uses: Counter[int] = field(default_factory=Counter)
    alive: list[Any] = field(default_factory=list)


def _find_pairs(network: nn.Module, in_channels: int, tile: Sequence[int]) -> list[tuple[str, str]]:
    """Names of convolutions and of the normalisations that can go into them."""
    shadow, x = stand_in(network, in_channels, tile)
    record = _Record()
    for name, module in shadow.named_modules():
        if isinstance(module, CONVOLUTIONS):
            module.register_forward_hook(_note_convolution(record, name))
        elif isinstance(module, _BatchNorm) and module.track_running_stats:
            module.register_forward_pre_hook(_note_normalization(record, name))
    with torch.no_grad(), _CountUses(record):
        shadow(x)
    return [
        (record.made_by[key], norm)
        for norm, key in record.normalizes.items()
        if key in record.made_by
        and record.uses[key] == 1
        and record.calls[norm] == record.calls[record.made_by[key]] == 1
    ]


def _note_convolution(record: _Record, name: str) -> Callable[..., None]:
    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        record.made_by[id(output)] = name
        record.calls[name] += 1

    return note


def _note_normalization(record: _Record, name: str) -> Callable[..., None]:
    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        record.normalizes[name] = id(inputs[0])
        record.calls[name] += 1

    return note


class _CountUses(TorchFunctionMode):
    """Counts in how many operations each tensor is an argument."""

    def __init__(self, record: _Record) -> None:
        super().__init__()
        self._record = record

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if any(isinstance(t, Tensor) for t in tree_leaves(result)):
            self._record.uses.update({id(t) for t in tensors})
        # An id is only good while the tensor lives.
        self._record.alive += [*tensors, result]
        return result

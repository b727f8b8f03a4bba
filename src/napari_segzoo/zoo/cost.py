"""What a forward pass costs, counted without computing it."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from .blocks import count_parameters


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass over one tile, in inference.

    Parameters
    ----------
    multiply_adds : int
        Of the convolutions and matrix products.
    activation_bytes : int
        The most that input and intermediate results take at any one moment, in float32.
        Weights, and the working space of the libraries that convolve, come on top.
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
    shadow = _without_values(network).eval()
    memory = _LiveMemory()
    flops = FlopCounterMode(display=False)
    with torch.no_grad(), flops, memory:
        shadow(torch.empty((1, in_channels, *tile), device="meta"))
    return Cost(flops.get_total_flops() // 2, memory.peak, count_parameters(network))


def _without_values(network: nn.Module) -> nn.Module:
    """Copy a network onto the meta device without copying its weights."""
    known: dict[int, Any] = {}
    for parameter in network.parameters():
        known[id(parameter)] = nn.Parameter(parameter.detach().to("meta"))
    for buffer in network.buffers():
        known[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(network, known)


class _LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the tensors that are alive after each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        self.peak = max(self.peak, self.alive)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if id(storage) not in self._known:
            self._known.add(id(storage))
            self.alive += storage.nbytes()
            weakref.finalize(storage, self._forget, id(storage), storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size

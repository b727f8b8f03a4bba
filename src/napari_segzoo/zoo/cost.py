"""What a forward pass costs, counted without computing all of it."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from .blocks import count_parameters
from .registry import build_network
from .spec import Cost, VoxelCost

MEASURED_TILE = {2: (512, 512), 3: (128, 128, 128)}
SMALL_TILE = 4
"""Sides of the small tile of `stand_in`, in multiples of the network's divisor."""
_small_costs: weakref.WeakKeyDictionary[nn.Module, dict[tuple[int, ...], tuple[int, int]]] = (
    weakref.WeakKeyDictionary()
)


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
    shadow = without_values(network).eval()
    meter = _Meter()
    with torch.no_grad(), meter:
        shadow(torch.empty((1, in_channels, *tile), device="meta"))
    sides = tuple(int(n) for n in tile)
    return Cost(sides, count_parameters(network), meter.flops // 2, meter.peak)


def planning_cost(network: nn.Module, in_channels: int, tile: Sequence[int]) -> Cost:
    """Return what `cost` does, in 2D in proportion to a small tile; see `stand_in`.

    The proportion is exact to a percent, and to ten for networks that pool the whole tile.
    """
    if len(tile) == 3:
        return cost(network, in_channels, tile)
    small = _small_tile(network, tile)
    known = _small_costs.setdefault(network, {})
    if small not in known:
        meter = _Meter()
        with torch.no_grad(), meter:
            shadow, x = stand_in(network, in_channels, tile)
            shadow(x)
        known[small] = meter.flops, meter.peak
    flops, peak = known[small]
    times = prod(tile) / prod(small)
    sides = tuple(int(n) for n in tile)
    return Cost(sides, count_parameters(network), round(flops * times) // 2, round(peak * times))


def stand_in(network: nn.Module, in_channels: int, tile: Sequence[int]) -> tuple[nn.Module, Tensor]:
    """Copy a network for a pass that shows what it does, and make an input for it.

    In 3D both are on PyTorch's meta device, which computes shapes only. Its first use imports
    PyTorch's compiler, which takes longer than many a 2D prediction; in 2D the copy therefore
    shares the weights, and the input is a small tile.

    Parameters
    ----------
    network : torch.nn.Module
        Neither moved nor changed.
    in_channels : int
        Channels of the image.
    tile : sequence of int
        Voxels along [Z,] Y, X of an input that the network accepts.
    """
    if len(tile) == 3:
        x = torch.empty((1, in_channels, *tile), device="meta")
        return without_values(network).eval(), x
    weights = [*network.parameters(), *network.buffers()]
    shadow = copy.deepcopy(network, {id(w): w for w in weights}).eval()
    device = weights[0].device if weights else None
    return shadow, torch.zeros((1, in_channels, *_small_tile(network, tile)), device=device)


def _small_tile(network: nn.Module, tile: Sequence[int]) -> tuple[int, ...]:
    divisor: Sequence[int] = getattr(network, "divisor", tile)
    return tuple(min(n, SMALL_TILE * d) for n, d in zip(tile, divisor, strict=True))


def configuration_cost(
    name: str,
    *,
    ndim: int,
    in_channels: int,
    num_classes: int,
    options: Mapping[str, Any],
    tile: Sequence[int],
) -> Cost:
    """Count the cost of one tile of a network that is not built yet; see `create_model`.

    The sides of `tile` are rounded up to multiples of the network's divisor.
    """
    with torch.device("meta"):
        network = build_network(
            name, ndim=ndim, in_channels=in_channels, num_classes=num_classes, options=options
        )
    divisor: tuple[int, ...] = network.divisor  # type: ignore[assignment]
    sides = [ceil(n / d) * d for n, d in zip(tile, divisor, strict=True)]
    return cost(network, in_channels, sides)


def voxel_cost(name: str, ndim: int) -> VoxelCost:
    """Measure the figures that `ModelSpec.costs` holds for one number of dimensions."""
    tile = MEASURED_TILE[ndim]
    whole = configuration_cost(name, ndim=ndim, in_channels=1, num_classes=2, options={}, tile=tile)
    voxels = prod(whole.tile)
    return VoxelCost(
        ndim,
        whole.parameters,
        round(whole.multiply_adds / voxels),
        round(whole.activation_bytes / voxels),
    )


def without_values(network: nn.Module) -> nn.Module:
    """Copy a network onto the meta device without copying its weights."""
    known: dict[int, Any] = {}
    for parameter in network.parameters():
        known[id(parameter)] = nn.Parameter(parameter.detach().to("meta"))
    for buffer in network.buffers():
        known[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(network, known)


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations, and the tensors that are alive after each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.alive = self.peak = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep PyTorch from importing its compiler only to tell it to leave this class out."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **kwargs, out_val=result)
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

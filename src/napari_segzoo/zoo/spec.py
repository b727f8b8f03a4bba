"""What is known of a network without building it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class PublishedCount:
    """A number of trainable parameters that a paper or public code states.

    Parameters
    ----------
    ndim, in_channels, num_classes : int
        Arguments that build the counted network.
    count : int
        Trainable parameters.
    source : str
        Where the number comes from.
    options : mapping
        Options that differ from the defaults.
    """

    ndim: int
    in_channels: int
    num_classes: int
    count: int
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VoxelCost:
    """What a network costs per voxel of a tile, measured with one channel and two classes.

    Parameters
    ----------
    ndim : int
        Spatial dimensions.
    parameters : int
        Trainable parameters, whatever the tile.
    multiply_adds : int
        Of one forward pass.
    activation_bytes : int
        Input and intermediate results in float32, at most at any one moment.
    """

    ndim: int
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass over one tile, in inference.

    Parameters
    ----------
    tile : tuple of int
        Voxels along [Z,] Y, X.
    parameters : int
        Trainable parameters.
    multiply_adds : int
        Of the convolutions and matrix products.
    activation_bytes : int
        The most that input and intermediate results take at any one moment, in float32.
        Weights, and the working space of the libraries that convolve, come on top.
    """

    tile: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int

    @property
    def memory(self) -> int:
        """Bytes of activations and weights in float32."""
        return self.activation_bytes + 4 * self.parameters


@dataclass(frozen=True)
class ModelSpec:
    """One published network configuration.

    Parameters
    ----------
    name : str
        Name under which `create_model` builds it.
    title, family : str
        Name for people, and the group it is listed in.
    ndims : tuple of int
        Numbers of spatial dimensions it supports (2, 3).
    builder : str
        ``"package.module:callable"``, imported when the network is built. The callable
        takes ``(in_channels, num_classes, *, ndim, <options>)`` and returns a module that
        maps ``(N, C, [Z,] Y, X)`` to one tensor of logits ``(N, K, [Z,] Y, X)`` and has an
        attribute ``divisor``: per spatial axis, what the input size must be a multiple of.
    reference, url : str
        The paper.
    divisor : int
        Of the default configuration, the same along all axes.
    tile_invariant : bool
        Whether an output voxel depends on a bounded neighbourhood only.
    receptive_field : int or None
        Voxels along one axis that can influence one output voxel (default
        configuration, 2D where supported); None if the whole image does.
    options : mapping
        Options handed to the builder, with the published defaults.
    published : tuple of PublishedCount
        Counts the tests hold the network to.
    weights : tuple of str
        Pretrained weights that can be asked for by name: "imagenet" for the backbone
        (2D, published width), "coco_voc" for the whole network.
    weights_licence : str
        Under what terms the weights may be used.
    costs : tuple of VoxelCost
        What the default configuration costs, per number of dimensions.
    """

    name: str
    title: str
    family: str
    ndims: tuple[int, ...]
    builder: str
    reference: str
    url: str
    divisor: int
    tile_invariant: bool
    receptive_field: int | None
    options: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[PublishedCount, ...] = ()
    weights: tuple[str, ...] = ()
    weights_licence: str = ""
    costs: tuple[VoxelCost, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    @property
    def searched_text(self) -> str:
        """What a search for words looks at."""
        return f"{self.name} {self.title} {self.family} {self.reference}"

    def cost(self, tile: Sequence[int]) -> Cost | None:
        """Return what a tile costs with one channel and two classes, from the stored figures.

        Parameters
        ----------
        tile : sequence of int
            Voxels along [Z,] Y, X; each is rounded up to a multiple of `divisor`.

        Returns
        -------
        Cost or None
            None if no figures are stored for this number of dimensions.
        """
        sides = tuple(ceil(n / self.divisor) * self.divisor for n in tile)
        for own in self.costs:
            if own.ndim == len(sides):
                voxels = prod(sides)
                return Cost(
                    sides, own.parameters, own.multiply_adds * voxels, own.activation_bytes * voxels
                )
        return None

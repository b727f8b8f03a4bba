"""How far a network sees: the receptive field, measured by gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .one_axis import OneAxis, UnboundedError, spread
from .registry import build_network
from .spec import ModelSpec

Reach = tuple[tuple[int, int], ...]
LONGEST = 1 << 14
"""Voxels along one axis beyond which a receptive field counts as unbounded."""


def reach(network: nn.Module, in_channels: int) -> Reach | None:
    """Measure how far away an input voxel can influence an output voxel.

    The measurement runs a gradient through the network with every weight positive, every
    non-linearity the identity and maximum pooling replaced by average pooling, so that
    no influence cancels or is cut off, in float64. It takes one axis at a time, with one
    voxel along the others. Neither weights nor mode of the network matter or change.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (N, C, [Z,] Y, X) to logits of the same size, with an attribute ``divisor``.
    in_channels : int
        Channels it expects.

    Returns
    -------
    tuple of (int, int), or None
        Per spatial axis, by how many voxels the furthest influence lies before and behind
        an output voxel, the largest over all positions within a period of ``divisor``.
        A tile that starts at a multiple of ``divisor`` and has these margins gives the
        same inner voxels as the whole image. None if there is no such bound: instance or
        group normalisation, pooling over the whole image, interpolation that depends on
        the size, or an operation whose reach cannot be told.
    """
    measured = _measure(network, in_channels)
    if measured is None:
        return None
    return tuple((max(b for b, _ in axis), max(a for _, a in axis)) for axis in measured)


def receptive_field(network: nn.Module, in_channels: int) -> tuple[int, ...] | None:
    """Return how many voxels along each axis can influence one output voxel.

    The largest over all positions within a period of ``network.divisor``; None if
    unbounded. See `reach` for the measurement.
    """
    measured = _measure(network, in_channels)
    if measured is None:
        return None
    return tuple(max(b + 1 + a for b, a in axis) for axis in measured)


def configured(spec: ModelSpec, options: Mapping[str, Any]) -> ModelSpec:
    """Return what is known of a network with other options than the published ones."""
    with torch.device("meta"):
        network = build_network(
            spec.name, ndim=spec.ndims[0], in_channels=1, num_classes=2, options=options
        )
    field = receptive_field(network, 1)
    return replace(
        spec,
        options={**spec.options, **options},
        divisor=max(network.divisor),  # type: ignore[arg-type]
        tile_invariant=field is not None,
        receptive_field=None if field is None else max(field),
        published=(),
        costs=(),
    )


def _measure(network: nn.Module, in_channels: int) -> list[list[tuple[int, int]]] | None:
    """Reach before and behind, per axis and position within a period."""
    divisor: tuple[int, ...] = network.divisor  # type: ignore[assignment]
    one = torch.ones((), dtype=torch.float64)
    state = {name: one.expand(p.shape) for name, p in network.named_parameters()}
    axes = []
    for axis, period in enumerate(divisor):
        try:
            per_position = _measure_axis(network, state, in_channels, axis, period)
        except (UnboundedError, RuntimeError):
            return None
        if per_position is None:
            return None
        axes.append(per_position)
    return axes


def _measure_axis(
    network: nn.Module, state: dict[str, Tensor], in_channels: int, axis: int, period: int
) -> list[tuple[int, int]] | None:
    ndim = len(network.divisor)  # type: ignore[arg-type]
    length = -(-256 // (2 * period)) * 2 * period
    while length <= LONGEST:
        size = [1] * ndim
        size[axis] = length
        x = torch.ones((period, 1, *size), dtype=torch.float64, requires_grad=True)
        with OneAxis(axis, ndim):
            y = functional_call(network, state, spread(x, in_channels))
        start = length // 2
        y = y.movedim(2 + axis, 1).flatten(2).sum(2)[:, start : start + period]
        (gradient,) = torch.autograd.grad(y.diagonal().sum(), x)
        touched = gradient.reshape(period, length) != 0
        if not touched.any(dim=1).all():
            return None
        if not touched[:, [0, -1]].any():
            return [
                (start + n - int(where[0]), int(where[-1]) - start - n)
                for n, where in enumerate(row.nonzero().flatten() for row in touched)
            ]
        length *= 2
    return None

"""Public checkpoints of known architectures, turned into networks of this zoo."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from .pretrained import (
    Build,
    State,
    changed,
    fit,
    imagenet_statistics,
    read_state_dict,
    state_shapes,
)
from .registry import build_network, get_spec


@dataclass(frozen=True)
class Imported:
    """A network made from a checkpoint, and what there is to know about it.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    architecture : str
        Name in the registry.
    ndim, in_channels, num_classes : int
        Read off the shapes of the weights. A checkpoint with one output (the probability
        of an object) becomes two classes, background and object.
    options : mapping
        Options of the network other than the defaults.
    mean, std : tuple of float
        Per channel, for intensities in 0..1: ImageNet's, which the public checkpoints use.
    """

    network: nn.Module
    architecture: str
    ndim: int
    in_channels: int
    num_classes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def import_checkpoint(path: str | os.PathLike[str], architecture: str, **options: Any) -> Imported:
    """Load a state dictionary whose parameters are named as in this zoo.

    That holds for the public checkpoints of U²-Net and of torchvision's FCN and DeepLabV3,
    and for what `torch.save` wrote of any network made here. Auxiliary heads are dropped.

    Parameters
    ----------
    path : str or path
        See `zoo.pretrained.read_state_dict`.
    architecture : str
        A name of `list_models`.
    **options
        Options the checkpoint was trained with, where they differ from the defaults.

    Raises
    ------
    InputError
        If the file cannot be read or belongs to another architecture; the message names
        the first parameter that does not fit.
    """
    spec = get_spec(architecture)
    state = read_state_dict(path)
    if "aux" in spec.options:
        state = {k: v for k, v in state.items() if not k.startswith("aux_")}
    kernels = [tensor for tensor in state.values() if tensor.ndim >= 4]
    if not kernels:
        raise InputError(f"{path} holds no convolution, so it is not a {spec.title}.")
    ndim = kernels[0].ndim - 2
    build: Build = partial(_build, architecture, ndim, options)
    in_channels = _infer(state, build, channels=True)
    num_classes = _infer(state, build, channels=False)
    if in_channels is None or num_classes is None:
        raise InputError(f"The parameters in {path} are not named as those of a {spec.title}.")
    if num_classes == 1:
        state, num_classes = _two_classes(state, build, in_channels), 2
    network = build(in_channels, num_classes)
    fit(network, state, str(path), build)
    mean, std = imagenet_statistics(in_channels)
    return Imported(
        network.eval(), architecture, ndim, in_channels, num_classes, dict(options), mean, std
    )


def _build(
    architecture: str, ndim: int, options: Mapping[str, Any], in_channels: int, num_classes: int
) -> nn.Module:
    return build_network(
        architecture, ndim=ndim, in_channels=in_channels, num_classes=num_classes, options=options
    )


def _infer(state: State, build: Build, *, channels: bool) -> int | None:
    """Read the number of input channels, or of classes, off a shape that depends on it."""
    low, high = (5, 7), ((6, 7) if channels else (5, 8))
    a, b = state_shapes(build, *low), state_shapes(build, *high)
    wanted = (5, 6) if channels else (7, 8)
    for name in a:
        for axis, sizes in enumerate(zip(a[name], b[name], strict=True)):
            if sizes == wanted and name in state and state[name].ndim == len(a[name]):
                return state[name].shape[axis]
    return None


def _two_classes(state: State, build: Build, in_channels: int) -> dict[str, Tensor]:
    """Put a background of logit 0 beside a single logit: softmax is then its sigmoid.

    Along every axis that counts classes, zeros come before each entry.
    """
    one, two = state_shapes(build, in_channels, 1), state_shapes(build, in_channels, 2)
    widened = dict(state)
    for name in changed(one, two):
        if state[name].shape != one[name]:
            raise InputError(
                f"The checkpoint does not fit the network: {name} has the shape "
                f"{tuple(state[name].shape)}, not {tuple(one[name])}; check the options."
            )
        tensor = state[name].new_zeros(two[name])
        axes = zip(one[name], two[name], strict=True)
        where = tuple(slice(None) if a == b else slice(1, None, 2) for a, b in axes)
        tensor[where] = state[name]
        widened[name] = tensor
    return widened

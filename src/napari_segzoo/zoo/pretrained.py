"""Pretrained weights: by name through torchvision, or from a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, RunError
from .spec import ModelSpec

State = Mapping[str, Tensor]
Build = Callable[[int, int], nn.Module]
"""Makes a network from a number of input channels and of classes."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NAMED = {"imagenet": "IMAGENET1K_V1", "coco_voc": "COCO_WITH_VOC_LABELS_V1"}
"""What torchvision calls them."""

DROPPED = ("aux_", "backbone.fc.", "backbone.classifier.")
"""Parts of public weights that a network may do without."""
UNREADABLE = (
    *(UnpicklingError, OSError, RuntimeError, EOFError),
    *(AttributeError, LookupError, TypeError, ValueError),
)
"""What PyTorch raises on files that are damaged or something else."""


def imagenet_statistics(in_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation, per channel, that ImageNet weights expect.

    For intensities in 0..1. An image with other than three channels gets the average of
    red, green and blue for each.
    """
    if in_channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    return (sum(IMAGENET_MEAN) / 3,) * in_channels, (sum(IMAGENET_STD) / 3,) * in_channels


def load_weights(
    network: nn.Module, weights: str | os.PathLike[str], spec: ModelSpec, build: Build
) -> list[str]:
    """Fill a network with pretrained weights.

    The first layer is adapted to other numbers of channels; layers whose shape depends on
    the number of classes keep their random weights if that number differs.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    weights : str or path
        A name of ``spec.weights``, or a file that `read_state_dict` reads: of the whole
        network, or of its backbone as torchvision stores it.
    spec : ModelSpec
        What the network is.
    build : callable
        Makes the same network with given numbers of channels and classes.

    Returns
    -------
    list of str
        Parameters that kept their random weights.

    Raises
    ------
    InputError
        For a name the network does not have, or a file that does not fit.
    RunError
        If a download fails.
    """
    if str(weights) not in NAMED:
        return fit(network, read_state_dict(weights), str(weights), build)
    if weights not in spec.weights:
        known = f"it has {' and '.join(spec.weights)}" if spec.weights else "there are none for it"
        raise InputError(f"{spec.title} has no weights {weights!r}; {known}, or name a file.")
    backbone: Any = network.backbone
    if getattr(backbone, "stem", "torchvision") != "torchvision":
        raise InputError(
            f"There are no {weights} weights for the deep stem of {spec.title}; "
            "choose the option stem=torchvision."
        )
    if backbone.width != 64:
        raise InputError(
            f"The {weights} weights need the published width of 64, not {backbone.width}."
        )
    if weights == "coco_voc" and backbone.name != spec.options["backbone"]:
        raise InputError(
            f"The coco_voc weights of {spec.title} are for {spec.options['backbone']}, "
            f"not {backbone.name}."
        )
    model = backbone.name if weights == "imagenet" else spec.name
    return fit(network, _download(model, NAMED[str(weights)]), f"{weights} ({model})", build)


def _download(model: str, version: str) -> State:
    try:
        from torchvision.models import get_model_weights  # type: ignore[import-untyped]
    except (ImportError, RuntimeError) as error:
        raise RunError(
            f"torchvision could not be loaded ({error}); install the one that belongs to your "
            "PyTorch, or give a file of weights with --weights FILE."
        ) from error
    entry = get_model_weights(model)[version]
    try:
        state: State = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise RunError(
            f"The weights {entry.url} could not be downloaded ({error}); fetch that file on a "
            "machine with a network and give it with --weights FILE."
        ) from error
    return state


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read named tensors from a file; nothing in it is executed.

    Parameters
    ----------
    path : str or path
        A ``.safetensors`` file, or what `torch.save` wrote of a state dictionary, on its
        own or as the entry ``state_dict``, ``model`` or the like of a checkpoint.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file of weights {path}.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is damaged: {error}.") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise InputError(
            f"{path} is damaged or holds more than weights; only a plain state dictionary is "
            "read, since anything else could run code (torch.save(network.state_dict(), FILE) "
            "writes one)."
        ) from error
    for key in ("state_dict", "model_state_dict", "model", "net", "network"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds no state dictionary, but {type(content).__name__}.")
    if not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} holds entries other than tensors, so it is no state dictionary.")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def fit(network: nn.Module, state: State, source: str, build: Build) -> list[str]:
    """Copy a state dictionary of the network or of its backbone into the network.

    See `load_weights`; `source` names the state in errors.
    """
    backbone = getattr(network, "backbone", None)
    whole = network.state_dict()
    if isinstance(backbone, nn.Module) and len(whole.keys() & state.keys()) < len(whole) // 2:
        inner = {f"backbone.{name}": tensor for name, tensor in state.items()}
        wanted = {f"backbone.{name}" for name in backbone.state_dict()}
        state = _with_vgg_classifier(network, inner)
        head = [name for name in whole if name not in wanted and name not in state]
    else:
        head = [name for name in whole if name.startswith("aux_") and name not in state]
    surplus = [n for n in state if n not in whole and not n.startswith(DROPPED)]
    if surplus:
        raise InputError(
            f"{source} does not fit the network: it holds {surplus[0]}, which that has not."
        )
    in_channels, num_classes = 1, 2
    shapes = state_shapes(build, in_channels, num_classes)
    by_channels = changed(shapes, state_shapes(build, in_channels + 1, num_classes))
    by_classes = changed(shapes, state_shapes(build, in_channels, num_classes + 1))
    filled: dict[str, Tensor] = {}
    for name, tensor in whole.items():
        if name in head or (name not in state and name.endswith("num_batches_tracked")):
            continue
        if name not in state:
            raise InputError(f"{source} does not fit the network: it holds no {name}.")
        found = state[name]
        if name in by_channels and found.shape != tensor.shape:
            found = adapt_kernel(found, tensor.shape[1])
        if found.shape == tensor.shape:
            filled[name] = found
        elif name in by_classes:
            head.append(name)
        else:
            raise InputError(
                f"{source} does not fit the network: {name} has the shape "
                f"{tuple(found.shape)}, not {tuple(tensor.shape)}."
            )
    network.load_state_dict(filled, strict=False)
    return head


def _with_vgg_classifier(network: nn.Module, state: dict[str, Tensor]) -> State:
    """Turn VGG16's first two linear layers into FCN's convolutions where they fit."""
    extra = {}
    for layer, source in (("fc6", "backbone.classifier.0"), ("fc7", "backbone.classifier.3")):
        conv = getattr(network, layer, None)
        weight = state.get(f"{source}.weight")
        if conv is not None and weight is not None and weight.numel() == conv.weight.numel():
            extra[f"{layer}.weight"] = weight.reshape(conv.weight.shape)
            extra[f"{layer}.bias"] = state[f"{source}.bias"]
    return {**state, **extra}


def adapt_kernel(kernel: Tensor, in_channels: int) -> Tensor:
    """Spread a first kernel (out, in, ...) over another number of input channels.

    Each gets the mean over the old ones, scaled so that an image with equal channels
    gives the same result as before.
    """
    mean = kernel.mean(1, keepdim=True)
    scale = kernel.shape[1] / in_channels
    return (mean * scale).repeat(1, in_channels, *[1] * (kernel.ndim - 2))


def state_shapes(build: Build, in_channels: int, num_classes: int) -> dict[str, torch.Size]:
    """Shapes of a network's state, without memory for it."""
    with torch.device("meta"):
        return {k: v.shape for k, v in build(in_channels, num_classes).state_dict().items()}


def changed(a: Mapping[str, torch.Size], b: Mapping[str, torch.Size]) -> set[str]:
    """Names whose shapes differ."""
    return {name for name in a if a[name] != b[name]}

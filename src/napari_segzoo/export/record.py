"""What goes along with the weights, so that others know what goes in and what comes out."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..model import ModelInfo, SegmentationModel
from ..zoo.registry import get_spec

if TYPE_CHECKING:
    from torch import nn

OUTPUT = "logits; softmax over axis 1 gives probabilities, argmax the channel that is found"


def program_version() -> str:
    """Version of napari-segzoo."""
    try:
        return version("napari-segzoo")
    except PackageNotFoundError:
        return "unknown"


def divisor_of(network: nn.Module) -> tuple[int, ...]:
    """What the size of an image must be a multiple of, along [Z,] Y, X."""
    steps: Any = network.divisor
    return tuple(steps)


def output_channels(info: ModelInfo) -> tuple[str, ...]:
    """Name the channels of the network's output.

    These are the classes; a network that separates objects finds their interior and border.
    """
    names = tuple(c.name for c in info.classes)
    if info.task == "instances":
        return (names[0], f"{names[1]} interior", f"{names[1]} border")
    return names


def model_record(model: SegmentationModel) -> dict[str, Any]:
    """Return what others need to know of a model, as values that JSON has."""
    info, spec = model.info, get_spec(model.info.architecture)
    return {
        "name": info.name,
        "description": info.description,
        "licence": info.licence,
        "architecture": info.architecture,
        "reference": f"{spec.reference}, {spec.url}" if spec.url else spec.reference,
        "task": info.task,
        "classes": [c.name for c in info.classes],
        "output": OUTPUT,
        "output_channels": list(output_channels(info)),
        "normalization": _normalization(info),
        "divisor": list(divisor_of(model.network)),
        "voxel_size": list(info.voxel_size) if info.voxel_size else None,
        "unit": info.unit,
        "made_with": f"napari-segzoo {program_version()}",
    }


def _normalization(info: ModelInfo) -> dict[str, Any]:
    """Only the fields that the kind of normalisation has a use for."""
    fields = {
        k: list(v) if isinstance(v, tuple) else v for k, v in asdict(info.normalization).items()
    }
    used = {"fixed": ("mean", "std"), "zscore": ()}.get(info.normalization.kind, ("low", "high"))
    return {k: v for k, v in fields.items() if k in ("kind", *used)}

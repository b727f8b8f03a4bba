"""The documentation that goes into a package: Markdown for people."""

from __future__ import annotations

from ..model import ModelInfo, SegmentationModel
from ..zoo.blocks import count_parameters
from ..zoo.registry import get_spec
from .record import divisor_of, output_channels, program_version

NOT_STATED = "not stated"


def package_readme(model: SegmentationModel, name: str) -> str:
    """Write what a model is, what it expects, and how to check it.

    Parameters
    ----------
    model : SegmentationModel
        What the package holds.
    name : str
        Title.
    """
    info = model.info
    spec = get_spec(info.architecture)
    sizes = " × ".join(str(n) for n in divisor_of(model.network))
    paper = f"[{spec.reference}]({spec.url})" if spec.url else spec.reference
    channels = "\n".join(f"{n}. {c}" for n, c in enumerate(output_channels(info)))
    parts = [
        f"# {name}",
        info.description or f"{spec.title} for {info.ndim}D images.",
        "## Input",
        f"{info.ndim}D images with {info.in_channels} channel(s). Sides are multiples of {sizes} "
        f"voxels along {'Z, Y, X' if info.ndim == 3 else 'Y, X'}. {_voxels(info)}",
        _scaling(info),
        "## Output",
        "The probability of each channel, in this order (the first is number 0):",
        channels,
        _meaning(info),
        "## Weights",
        f"{spec.title}, {paper}; {count_parameters(model.network):,} parameters. "
        f"Licence: {info.licence or NOT_STATED}. The ONNX file and the PyTorch state dictionary "
        "hold the same network, whose output are logits; softmax over the channels, which the "
        "description asks for, makes probabilities of them. The state dictionary belongs to "
        f"`napari_segzoo.create_model` of napari-segzoo {program_version()}.",
        "## Validation",
        "The test image is drawn by a generator of fluorescence nuclei, whatever the model was "
        "trained on: it shows that another program computes the same, not that the model is good "
        "at anything. To validate the model, segment images of your own that it was not trained "
        "on, draw what is right for some of them, and compare, for example with "
        "`napari-segzoo evaluate`, by Dice and, for single objects, average precision.",
    ]
    return "\n\n".join(parts) + "\n"


def _voxels(info: ModelInfo) -> str:
    if info.voxel_size is None:
        return "The voxel size of the training images is not known."
    sizes = " × ".join(f"{n:g}" for n in info.voxel_size)
    return f"A voxel of the training images was {sizes} {info.unit}."


def _scaling(info: ModelInfo) -> str:
    """Say how intensities are scaled, and where a package and napari-segzoo differ."""
    scaling = info.normalization
    whole = (
        "Statistics are to be taken of the whole image, each channel by itself, not of each tile. "
        "napari-segzoo takes them of at most a million voxels spread over the image, so in large "
        "images its numbers differ a little"
    )
    if scaling.kind == "percentile":
        return (
            f"The percentiles {scaling.low:g} and {scaling.high:g} are mapped to 0 and 1. {whole}; "
            "where both percentiles are equal, it takes the smallest and largest value instead."
        )
    if scaling.kind == "zscore":
        return f"The mean is subtracted, and the result divided by the standard deviation. {whole}."
    if scaling.kind == "range":
        return f"Intensities from {scaling.low:g} to {scaling.high:g} are mapped to 0 to 1."
    return (
        "A fixed mean is subtracted and the result divided by a fixed standard deviation. The "
        "numbers are for 8-bit images, 0 to 255: scale others to that range first. napari-segzoo "
        "itself scales integers of any type by the largest value of the type."
    )


def _meaning(info: ModelInfo) -> str:
    if info.task == "instances":
        return (
            "For single objects, label the connected parts in which the interior is the most "
            "probable, and let them grow into the border."
        )
    return "The most probable channel is the class of a voxel."

"""Input and output as bioimage.io describes them: axes, intensities, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from bioimageio.spec.model import v0_5

from ..io.units import PIXEL
from ..model import ModelInfo
from .record import output_channels

INPUT, OUTPUT = "image", "probabilities"
HALO = {2: (32, 32), 3: (8, 16, 16)}
"""Voxels at the border of a tile that programs should leave out, at least, along [Z,] Y, X."""
EIGHT_BIT = 255


def input_tensor(info: ModelInfo, divisor: Sequence[int], folder: Path) -> v0_5.InputTensorDescr:
    """Describe the image that goes in.

    Parameters
    ----------
    info : ModelInfo
        All but the weights.
    divisor : sequence of int
        What the sides must be multiples of, along [Z,] Y, X.
    folder : Path
        Holds ``test_inputs.npy`` and, for people, ``sample_input.tif``.
    """
    sizes = [
        v0_5.ParameterizedSize(min=ceil((2 * halo + 1) / step) * step, step=step)
        for halo, step in zip(halos(divisor), divisor, strict=True)
    ]
    space = [
        v0_5.SpaceInputAxis(id=v0_5.AxisId(letter), size=size, **_scale(info, n))
        for n, (letter, size) in enumerate(zip(_letters(info), sizes, strict=True))
    ]
    channels = v0_5.ChannelAxis(channel_names=_channel_names(info.in_channels))
    eight_bit = info.normalization.kind == "fixed"
    return v0_5.InputTensorDescr(
        id=v0_5.TensorId(INPUT),
        description="Intensities as the microscope or camera gives them",
        axes=[v0_5.BatchAxis(), channels, *space],
        data=v0_5.IntervalOrRatioDataDescr(
            type="float32", range=(0, EIGHT_BIT) if eight_bit else (None, None)
        ),
        preprocessing=preprocessing(info),
        test_tensor=v0_5.FileDescr(source=folder / "test_inputs.npy"),
        sample_tensor=v0_5.FileDescr(source=folder / "sample_input.tif"),
    )


def output_tensor(info: ModelInfo, divisor: Sequence[int], folder: Path) -> v0_5.OutputTensorDescr:
    """Describe the probabilities that come out; see `input_tensor`."""
    space = [
        v0_5.SpaceOutputAxisWithHalo(
            id=v0_5.AxisId(letter),
            size=v0_5.SizeReference(tensor_id=v0_5.TensorId(INPUT), axis_id=v0_5.AxisId(letter)),
            halo=halo,
            **_scale(info, n),
        )
        for n, (letter, halo) in enumerate(zip(_letters(info), halos(divisor), strict=True))
    ]
    channels = v0_5.ChannelAxis(channel_names=list(output_channels(info)))
    return v0_5.OutputTensorDescr(
        id=v0_5.TensorId(OUTPUT),
        description="Probability of each channel; they sum up to 1",
        axes=[v0_5.BatchAxis(), channels, *space],
        data=v0_5.IntervalOrRatioDataDescr(type="float32", range=(0, 1)),
        postprocessing=[v0_5.SoftmaxDescr(kwargs=v0_5.SoftmaxKwargs())],
        test_tensor=v0_5.FileDescr(source=folder / "test_outputs.npy"),
        sample_tensor=v0_5.FileDescr(source=folder / "sample_output.tif"),
    )


def halos(divisor: Sequence[int]) -> list[int]:
    """Return the halo along each axis; twice of it is a multiple of the divisor."""
    wanted = HALO[len(divisor)]
    steps = [step // 2 if step % 2 == 0 else step for step in divisor]
    return [ceil(n / step) * step for n, step in zip(wanted, steps, strict=True)]


def preprocessing(info: ModelInfo) -> list[v0_5.PreprocessingDescr]:
    """Say how intensities are scaled before the network.

    All kinds are expressed exactly but "fixed", which depends on the type of the image; it is
    given for 8-bit images.
    """
    scaling, axes = info.normalization, [v0_5.AxisId(letter) for letter in _letters(info)]
    step: v0_5.PreprocessingDescr
    if scaling.kind == "percentile":
        step = v0_5.ScaleRangeDescr(
            kwargs=v0_5.ScaleRangeKwargs(
                axes=axes, min_percentile=scaling.low, max_percentile=scaling.high
            )
        )
    elif scaling.kind == "zscore":
        step = v0_5.ZeroMeanUnitVarianceDescr(kwargs=v0_5.ZeroMeanUnitVarianceKwargs(axes=axes))
    elif scaling.kind == "range":
        gain = 1 / (scaling.high - scaling.low)
        step = v0_5.ScaleLinearDescr(
            kwargs=v0_5.ScaleLinearKwargs(gain=gain, offset=-scaling.low * gain)
        )
    else:
        step = v0_5.FixedZeroMeanUnitVarianceDescr(
            kwargs=v0_5.FixedZeroMeanUnitVarianceAlongAxisKwargs(
                axis=v0_5.AxisId("channel"),
                mean=[EIGHT_BIT * m for m in scaling.mean],
                std=[EIGHT_BIT * s for s in scaling.std],
            )
        )
    return [step]


def _letters(info: ModelInfo) -> str:
    return "zyx"[-info.ndim :]


def _scale(info: ModelInfo, axis: int) -> dict[str, Any]:
    """Return the voxel size along an axis as keywords, if it is known."""
    if info.voxel_size is None or info.unit == PIXEL:
        return {}
    return {"scale": info.voxel_size[axis], "unit": info.unit}


def _channel_names(count: int) -> list[str]:
    named = {1: ["intensity"], 3: ["red", "green", "blue"]}
    return named.get(count) or [f"channel {n}" for n in range(count)]

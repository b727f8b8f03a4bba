"""What the model of a fine-tuning will be: from a base, or new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import InputError
from ..io import Image
from ..model import ModelInfo, SegmentationModel, default_classes
from ..preprocess import Normalization
from ..zoo import get_spec
from .job import FinetuneOptions
from .pairs import Pair

SMALL_UNET: Mapping[int, tuple[int, ...]] = {2: (16, 32, 64, 128, 256), 3: (16, 32, 64, 128)}
"""Widths of the U-Net trained from scratch by default: quick, and content with few labels."""


def info_from_base(
    base: SegmentationModel,
    pairs: Sequence[Pair],
    options: FinetuneOptions,
    num_classes: int,
    class_names: Sequence[str],
) -> ModelInfo:
    info = base.info
    channels = max(pair.channels for pair in pairs)
    if channels not in (1, info.in_channels):
        info = replace(info, in_channels=channels)
        if info.normalization.kind == "fixed":
            info = replace(info, normalization=Normalization())
    same_classes = len(info.classes) == num_classes and not class_names
    classes = info.classes if same_classes else default_classes(num_classes, tuple(class_names))
    provenance = {"base": info.name or info.architecture, "base_provenance": dict(info.provenance)}
    first = pairs[0].image
    return replace(
        info,
        classes=classes,
        task=options.task,
        name="",
        description="",
        voxel_size=_voxel_size(first, info.ndim),
        unit=first.unit,
        provenance=provenance,
    )


def info_from_scratch(
    pairs: Sequence[Pair],
    options: FinetuneOptions,
    num_classes: int,
    class_names: Sequence[str],
) -> ModelInfo:
    deep = any("Z" in p.image.axes and p.image.shape[p.image.axes.index("Z")] > 1 for p in pairs)
    ndim = options.ndim or (3 if deep else 2)
    get_spec(options.architecture)
    if ndim == 3:
        for pair in pairs:
            if "Z" not in pair.image.axes:
                raise InputError(
                    f"A 3D network needs images with an axis Z, but one has the axes "
                    f"{pair.image.axes}; name its axes, or train a 2D network."
                )
    first = pairs[0].image
    chosen = dict(options.architecture_options)
    if options.architecture == "unet" and not chosen:
        chosen = {"widths": SMALL_UNET[ndim]}
        if ndim == 3:
            chosen["residual"] = True
            chosen["strides"] = anisotropic_strides(first, len(SMALL_UNET[3]) - 1)
    return ModelInfo(
        architecture=options.architecture,
        ndim=ndim,
        in_channels=max(pair.channels for pair in pairs),
        classes=default_classes(num_classes, tuple(class_names)),
        options=chosen,
        task=options.task,
        voxel_size=_voxel_size(first, ndim),
        unit=first.unit,
    )


def _voxel_size(image: Image, ndim: int) -> tuple[float, ...] | None:
    return image.voxel_size[-ndim:] if len(image.voxel_size) >= ndim else None


def anisotropic_strides(image: Image, depth: int) -> tuple[tuple[int, int, int], ...]:
    """Down-sampling steps that leave Z alone until its voxels are about as long as those in Y.

    Z is not halved either where fewer than two slices would be left (Isensee et al. 2021,
    Nat Methods 18:203).
    """
    z, y = image.voxel_size[0], image.voxel_size[1]
    slices = image.shape[image.axes.index("Z")]
    steps = []
    for _ in range(depth):
        step = 2 if z < 2 * y and slices >= 4 else 1
        steps.append((step, 2, 2))
        z, y, slices = z * step, y * 2, slices // step
    return tuple(steps)

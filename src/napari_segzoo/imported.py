"""Public checkpoints of other programs, turned into models of this one."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .model import ModelInfo, SegmentationModel, default_classes
from .preprocess import Normalization

UNKNOWN_LICENCE = "not stated; see where the weights come from"


def import_model(
    path: str | os.PathLike[str],
    architecture: str,
    *,
    options: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    licence: str = "",
) -> SegmentationModel:
    """Turn a state dictionary into a model; nothing in the file is executed.

    Parameters
    ----------
    path : str or path
        Weights named as in this zoo: public checkpoints of U²-Net and of torchvision's FCN and
        DeepLabV3, or what `torch.save` wrote of a network made here.
    architecture : str
        A name of `list_models`.
    options : mapping, optional
        Options of the network, where they differ from the defaults.
    class_names : sequence of str
        From the background on; 21 classes without names are those of PASCAL VOC.
    licence : str
        Terms of the weights.

    Returns
    -------
    SegmentationModel
        It expects intensities scaled by ImageNet's statistics, as public checkpoints do, and
        tells the file and its SHA-256 as provenance.

    Raises
    ------
    InputError
        If the file cannot be read or belongs to another architecture, or the names are not
        one per class.
    """
    from .training.dataset import VOC_CLASSES
    from .zoo.checkpoints import import_checkpoint

    path = Path(path)
    found = import_checkpoint(path, architecture, **(options or {}))
    names = tuple(class_names)
    if names and len(names) != found.num_classes:
        raise InputError(
            f"{len(names)} class names were given, but {path} has {found.num_classes} classes, "
            "background included."
        )
    if not names and found.num_classes == len(VOC_CLASSES):
        names = VOC_CLASSES
    info = ModelInfo(
        architecture=architecture,
        ndim=found.ndim,
        in_channels=found.in_channels,
        classes=default_classes(found.num_classes, names),
        options=dict(found.options),
        normalization=Normalization("fixed", mean=found.mean, std=found.std),
        name=path.stem,
        description=f"Imported from {path.name}",
        licence=licence or UNKNOWN_LICENCE,
        provenance={
            "imported_from": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "date": datetime.date.today().isoformat(),
        },
    )
    return SegmentationModel(info, found.network)

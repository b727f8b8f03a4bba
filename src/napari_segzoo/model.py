"""SegmentationModel: a network with all that is needed to run it on an image."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .io import written_whole
from .io.blocks import check_free, check_writable
from .preprocess import Normalization
from .zoo import create_model, list_models

if TYPE_CHECKING:
    from torch import nn

FORMAT = "napari-segzoo-model"
FORMAT_VERSION = 1
TASKS = ("semantic", "instances")
PALETTE = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Colours for classes 0, 1, ...: Okabe & Ito's, told apart by the colour-blind."""
DRAWING_PALETTE = ("transparent", "#aa66ff", *PALETTE[1:])
"""Colours for what is drawn: labels 2, 3, ... have those of the classes that they become."""


@dataclass(frozen=True)
class SegmentClass:
    """Name and colour (``#rrggbb``) of one class."""

    name: str
    color: str


def default_classes(count: int, names: tuple[str, ...] = ()) -> tuple[SegmentClass, ...]:
    """Return `count` classes, background first, with names where given and distinct colours."""
    fallback = ["background", *(f"class {n}" for n in range(1, count))]
    names = tuple(names) + tuple(fallback[len(names) :])
    return tuple(SegmentClass(names[n], PALETTE[n % len(PALETTE)]) for n in range(count))


@dataclass(frozen=True)
class ModelInfo:
    """Everything about a model but its weights.

    Parameters
    ----------
    architecture : str
        Name in the registry.
    ndim, in_channels : int
        Spatial dimensions and image channels.
    classes : tuple of SegmentClass
        What label values 0, 1, ... mean; 0 is the background.
    options : mapping
        Options of the network.
    task : {"semantic", "instances"}
        "instances": the network separates background, interior and border of objects
        (3 logits) and `classes` are background and object.
    normalization : Normalization
        How intensities are scaled before the network.
    voxel_size : tuple of float or None
        Of the training images, along [Z,] Y, X, in `unit`.
    unit : str
        Unit of `voxel_size`.
    name, description, licence : str
        For people.
    provenance : mapping
        How it was trained: data, steps, scores, versions (JSON values).
    """

    architecture: str
    ndim: int
    in_channels: int
    classes: tuple[SegmentClass, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    task: str = "semantic"
    normalization: Normalization = field(default_factory=Normalization)
    voxel_size: tuple[float, ...] | None = None
    unit: str = "pixel"
    name: str = ""
    description: str = ""
    licence: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise InputError(f"task must be semantic or instances, not {self.task!r}.")
        if len(self.classes) < 2:
            raise InputError("A model needs at least two classes, one of them the background.")

    @property
    def num_outputs(self) -> int:
        """Channels of logits."""
        return 3 if self.task == "instances" else len(self.classes)

    def to_json(self) -> str:
        """Return the whole record as JSON."""
        return json.dumps({**asdict(self), "options": dict(self.options)}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> ModelInfo:
        """Read what `to_json` wrote; raises ValueError, TypeError or KeyError if malformed."""
        record = json.loads(text)
        fixed = {name: tuple(record["normalization"][name]) for name in ("mean", "std")}
        return ModelInfo(
            **{
                **record,
                "classes": tuple(SegmentClass(**c) for c in record["classes"]),
                "normalization": Normalization(**{**record["normalization"], **fixed}),
                "voxel_size": record["voxel_size"] and tuple(record["voxel_size"]),
                "options": {k: _tuples(v) for k, v in record["options"].items()},
            }
        )


@dataclass(frozen=True)
class SegmentationModel:
    """A network together with what it expects of an image and what its output means.

    Parameters
    ----------
    info : ModelInfo
        All but the weights.
    network : torch.nn.Module
        Maps (N, C, [Z,] Y, X) to logits (N, `info.num_outputs`, [Z,] Y, X).
    """

    info: ModelInfo
    network: nn.Module

    @staticmethod
    def create(info: ModelInfo) -> SegmentationModel:
        """Build the network that `info` describes, with random weights."""
        network = create_model(
            info.architecture,
            ndim=info.ndim,
            in_channels=info.in_channels,
            num_classes=info.num_outputs,
            **info.options,
        )
        return SegmentationModel(info, network)

    def with_info(self, **changes: Any) -> SegmentationModel:
        """Return a model with the same network and changed fields of `info`."""
        return SegmentationModel(replace(self.info, **changes), self.network)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write one safetensors file; it appears under `path` only when whole.

        Raises
        ------
        InputError
            If `path` exists and `overwrite` is not set, or its folder does not exist.
        RunError
            If the disk is full or may not be written.
        """
        from safetensors.torch import save_file

        path = check_model_target(path, overwrite=overwrite)
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}
        metadata = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "model": self.info.to_json(),
        }
        with written_whole(path, overwrite=overwrite) as temporary:
            save_file(tensors, temporary, metadata)
            temporary.chmod(0o644)
        return path

    @staticmethod
    def load(path: str | os.PathLike[str]) -> SegmentationModel:
        """Read a model file; nothing in it is executed.

        Raises
        ------
        InputError
            If the file is missing, truncated, or no model of this program.
        """
        from safetensors.torch import load_file

        path = Path(path)
        info = read_info(path)
        _check_shapes(path, info)
        model = SegmentationModel.create(info)
        model.network.load_state_dict(load_file(path))
        model.network.eval()
        return model


def _check_shapes(path: Path, info: ModelInfo) -> None:
    """Compare the weights in a file with the network it announces, before taking memory."""
    import torch
    from safetensors import safe_open

    try:
        with torch.device("meta"):
            network = SegmentationModel.create(info).network
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} announces a network that cannot be built: {error}") from error
    expected = {name: list(value.shape) for name, value in network.state_dict().items()}
    with safe_open(path, framework="numpy") as stored:
        found = {n: list(stored.get_slice(n).get_shape()) for n in stored.keys()}  # noqa: SIM118
    if found != expected:
        raise InputError(f"{path} does not hold the weights that its header announces.")


def check_model_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return the path of a model to be written.

    Raises
    ------
    InputError
        If it has another ending than ``.safetensors``, exists and `overwrite` is not set, or
        its folder does not exist or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"A model file must end in .safetensors, which {path} does not.")
    check_free(path, overwrite=overwrite)
    check_writable(path.parent)
    return path


def read_info(path: str | os.PathLike[str]) -> ModelInfo:
    """Read what a model file says of itself, without PyTorch and without its weights."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no model file {path}.")
    try:
        with safe_open(path, framework="numpy") as stored:
            metadata = stored.metadata() or {}
    except (SafetensorError, OSError) as error:
        what = "a model of this program is one whole .safetensors file"
        raise InputError(f"{path} is not a model file, or it is damaged; {what}.") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is a safetensors file, but not a napari-segzoo model.")
    if int(metadata.get("format_version", "0")) > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer napari-segzoo; update to open it.")
    try:
        return ModelInfo.from_json(metadata["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The description inside {path} is damaged.") from error


def count_stored_parameters(path: str | os.PathLike[str]) -> int:
    """Count the trainable parameters in a model file from its header alone."""
    from safetensors import safe_open

    buffers = ("running_mean", "running_var", "num_batches_tracked")
    with safe_open(Path(path), framework="numpy") as stored:
        names = [n for n in stored.keys() if not n.endswith(buffers)]  # noqa: SIM118
        return sum(prod(stored.get_slice(n).get_shape()) for n in names)


def bundled_models() -> dict[str, Path]:
    """Names and files of the models that come with the package."""
    folder = Path(str(files("napari_segzoo") / "weights"))
    return {p.stem: p for p in sorted(folder.glob("*.safetensors"))}


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file of a bundled name or a path.

    Raises
    ------
    InputError
        If there is neither.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise InputError(f"A model is a bundled name or a file, not {name_or_path!r}.")
    name, bundled = os.fspath(name_or_path), bundled_models()
    path = bundled.get(name, Path(name))
    if not path.is_file():
        what = f"There is no model {name!r}: no such file"
        if name in {spec.name for spec in list_models()}:
            what = f"{name} is a network that is yet to be trained, by finetune or train"
        raise InputError(f"{what}; bundled models: {', '.join(bundled)}.")
    return path


def load_model(name_or_path: str | os.PathLike[str]) -> SegmentationModel:
    """Load a bundled model by name, or a model file by path.

    Raises
    ------
    InputError
        If there is no such model, or the file is damaged or not a model.
    """
    return SegmentationModel.load(find_model(name_or_path))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value

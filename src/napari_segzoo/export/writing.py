"""Choosing the format, and writing a file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError
from ..io import written_whole
from ..io.blocks import check_free
from ..model import SegmentationModel, load_model
from .record import divisor_of, output_channels

FORMATS = {"onnx": ".onnx", "bioimageio": ".zip"}
"""Formats and their endings."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it agrees with the model.

    Parameters
    ----------
    path : Path
        The file.
    format : {"onnx", "bioimageio"}
        What it is.
    axes : str
        Of input and output: "NCYX" or "NCZYX".
    in_channels : int
        Of the input.
    divisor : tuple of int
        What the input size must be a multiple of, along [Z,] Y, X.
    output_channels : tuple of str
        What the channels of the output are.
    opset : int
        Version of ONNX's operators.
    checked_shape : tuple of int
        Shape of the input on which ONNX Runtime was compared with PyTorch.
    largest_difference : float
        Between the logits of both.
    format_version : str
        Of the description of a package; "" for ONNX.
    notes : tuple of str
        What bioimage.io asks for beyond what is there.
    """

    path: Path
    format: str
    axes: str
    in_channels: int
    divisor: tuple[int, ...]
    output_channels: tuple[str, ...]
    opset: int
    checked_shape: tuple[int, ...]
    largest_difference: float
    format_version: str = ""
    notes: tuple[str, ...] = ()


def choose_format(out: str | os.PathLike[str], format: str | None = None) -> str:
    """Return "onnx" or "bioimageio": what is asked for, or what the ending names.

    Raises
    ------
    InputError
        If there is no such format, or the ending is not that of the format.
    """
    ending = Path(out).suffix.lower()
    if format is None:
        found = [name for name, own in FORMATS.items() if own == ending]
        if not found:
            raise InputError(
                f"{out} must end in .onnx for ONNX or .zip for a package of bioimage.io."
            )
        return found[0]
    if format not in FORMATS:
        raise InputError(f"format must be {' or '.join(FORMATS)}, not {format!r}.")
    if ending != FORMATS[format]:
        raise InputError(f"A file of the format {format} must end in {FORMATS[format]}, not {out}.")
    return format


def export_model(
    model: SegmentationModel | str | os.PathLike[str],
    out: str | os.PathLike[str],
    format: str | None = None,
    *,
    authors: Sequence[str] = (),
    licence: str = "",
    overwrite: bool = False,
) -> Exported:
    """Write a model as a file that other programs run, and compare it with the model.

    Parameters
    ----------
    model : SegmentationModel, str or path
        A model, the name of a bundled one, or a model file.
    out : str or path
        ``.onnx`` or ``.zip``; it appears under this name only when it is whole and agrees.
    format : {"onnx", "bioimageio"}, optional
        What the ending of `out` names, if left out.
    authors : sequence of str
        Who made the model, for bioimage.io.
    licence : str
        Terms of the weights, preferably an SPDX identifier such as CC-BY-4.0, instead of those
        that the model states.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Exported
        With the largest difference between the logits of the file, run by ONNX Runtime, and of
        the model.

    Raises
    ------
    InputError
        If the ending, the format or an author is none that can be written, the file exists, its
        folder does not, there is no such model, or a library is not installed.
    RunError
        If PyTorch cannot convert the network, the file does not agree with the model, or the
        disk is full.
    """
    format, path = choose_format(out, format), Path(out)
    check_free(path, overwrite=overwrite)
    _check_installed(format)
    if not isinstance(model, SegmentationModel):
        named = load_model(model)
        model = named.with_info(name=named.info.name or Path(model).stem)
    if licence:
        model = model.with_info(licence=licence)
    with written_whole(path, overwrite=overwrite) as temporary:
        written = _write(model, temporary, format, authors)
        temporary.chmod(0o644)
    return replace(written, path=path)


def _write(model: SegmentationModel, path: Path, format: str, authors: Sequence[str]) -> Exported:
    """Write one file under a temporary name."""
    version, notes = "", tuple[str, ...]()
    if format == "onnx":
        from .onnx_file import write_onnx

        check = write_onnx(model, path)
    else:
        from .package import write_package

        check, version, notes = write_package(model, path, authors)
    info = model.info
    return Exported(
        path=path,
        format=format,
        axes="NCZYX" if info.ndim == 3 else "NCYX",
        in_channels=info.in_channels,
        divisor=divisor_of(model.network),
        output_channels=output_channels(info),
        opset=check.opset,
        checked_shape=check.shape,
        largest_difference=check.largest_difference,
        format_version=version,
        notes=notes,
    )


def _check_installed(format: str) -> None:
    """Raise `InputError` if a library is missing, before anything is computed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        if format == "bioimageio":
            import bioimageio.spec  # noqa: F401
    except ImportError as error:
        raise InputError(
            f'Export as {format} needs more packages: pip install "napari-segzoo[{format}]".'
        ) from error

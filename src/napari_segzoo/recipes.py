"""Runs written down: as a command line, and as a Python script, that repeat them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from .inference import PredictOptions


def predict_command(
    model: str, image: str, output_file: str, axes: str, options: PredictOptions
) -> str:
    """Return the command line that runs `model` over the file `image`.

    Parameters
    ----------
    model : str
        Bundled name or model file.
    image, output_file : str
        Files read and written.
    axes : str
        Axes of the image.
    options : PredictOptions
        How to run; what has its default value is left out.
    """
    words = ["predict", model, image, output_file, "--axes", axes]
    for name, value in _changed(options).items():
        words += _flag(name, value)
    return _command(words)


def predict_script(
    model: str, image: str, output_file: str, axes: str, options: PredictOptions
) -> str:
    """Return the Python script that runs `model` over the file `image`; see `predict_command`."""
    arguments = {"axes": axes, **_changed(options), "out": output_file}
    return _script(_call("segzoo.predict", [repr(model), repr(image)], arguments))


def evaluate_command(
    reference: str, prediction: str, spacing: Sequence[float] | None, task: str, ignore: int | None
) -> str:
    """Return the command line that compares two label images.

    Parameters
    ----------
    reference, prediction : str
        Files.
    spacing : sequence of float or None
        Size of a voxel along each axis.
    task : {"semantic", "instances"}
        What is compared.
    ignore : int or None
        Reference value that does not count.
    """
    words = ["evaluate", reference, prediction, *_flag("task", task)]
    if spacing is not None:
        words += _flag("spacing", tuple(spacing))
    if ignore is not None:
        words += _flag("ignore", ignore)
    return _command(words)


def evaluate_script(
    reference: str, prediction: str, spacing: Sequence[float] | None, task: str, ignore: int | None
) -> str:
    """Return the Python script that compares two label images; see `evaluate_command`."""
    files = [f"segzoo.open_image({name!r}).data[:]" for name in (reference, prediction)]
    arguments: dict[str, Any] = {"task": task}
    if spacing is not None:
        arguments["spacing"] = tuple(spacing)
    if ignore is not None:
        arguments["ignore"] = ignore
    return _script(f"report = {_call('segzoo.evaluate', files, arguments)}\nprint(report)")


def _changed(options: PredictOptions) -> dict[str, Any]:
    defaults = {f.name: f.default for f in fields(options)}
    return {k: v for k, v in asdict(options).items() if v != defaults[k]}


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is True:
        return [flag]
    if isinstance(value, tuple | list):
        return [flag, ",".join(f"{v:g}" for v in value)]
    return [flag, str(value)]


def _command(words: Sequence[str]) -> str:
    return shlex.join(["napari-segzoo", *words])


def _call(function: str, positional: Sequence[str], named: dict[str, Any]) -> str:
    lines = [*positional, *(f"{name}={value!r}" for name, value in named.items())]
    return f"{function}(\n" + "".join(f"    {line},\n" for line in lines) + ")"


def _script(body: str) -> str:
    return f"import napari_segzoo as segzoo\n\n{body}\n"

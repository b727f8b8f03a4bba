"""Runs written down: as a command line, and as a Python script, that repeat them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .inference import PredictOptions
from .training.job import FinetuneOptions
from .zoo.option_text import format_option


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


@dataclass(frozen=True)
class Training:
    """A run of `finetune` on files.

    Parameters
    ----------
    out : str
        Model file to write.
    images, labels : tuple of str
        Files, in pairs.
    axes : str
        Axes of the images.
    base : str or None
        Bundled name or file of the model to start from; None for a new network.
    options : FinetuneOptions
        How to train.
    class_names : tuple of str
        The background first; () if they have none.
    validation_images, validation_labels : tuple of str
        Files, in pairs.
    """

    out: str
    images: tuple[str, ...]
    labels: tuple[str, ...]
    axes: str
    base: str | None
    options: FinetuneOptions
    class_names: tuple[str, ...] = ()
    validation_images: tuple[str, ...] = ()
    validation_labels: tuple[str, ...] = ()


def finetune_command(training: Training) -> str:
    """Return the command line that repeats a training; it gives the classes no names."""
    words = ["finetune", training.out]
    for image, labels in zip(training.images, training.labels, strict=True):
        words += ["--image", image, "--labels", labels]
    pairs = zip(training.validation_images, training.validation_labels, strict=True)
    for image, labels in pairs:
        words += ["--val-image", image, "--val-labels", labels]
    words += ["--axes", training.axes]
    for name, value in _unusual(training).items():
        if name == "architecture_options":
            for key, chosen in value.items():
                words += ["--option", format_option(key, chosen)]
        else:
            words += _flag(name, value)
    return _command(words)


def finetune_script(training: Training) -> str:
    """Return the Python script that repeats a training; it replaces no model."""
    arguments = {"axes": training.axes, **_unusual(training)}
    if training.class_names:
        arguments["class_names"] = list(training.class_names)
    if training.validation_images:
        pairs = training.validation_images, training.validation_labels
        arguments["validation"] = tuple(map(list, pairs))
    call = _call(
        "segzoo.finetune", [repr(list(training.images)), repr(list(training.labels))], arguments
    )
    return _script(
        f"out = Path({training.out!r})\n"
        "if out.exists():\n"
        '    raise SystemExit(f"{out} exists already; move it, or choose another name here.")\n'
        f"for event in {call}:\n    print(event)\n\nevent.model.save(out)",
        "from pathlib import Path\n",
    )


def _unusual(training: Training) -> dict[str, Any]:
    base = {} if training.base is None else {"base": training.base}
    return base | _changed(training.options)


@dataclass(frozen=True)
class Measurement:
    """A comparison of two files with `evaluate`.

    Parameters
    ----------
    reference, prediction : str
        Files.
    spacing : tuple of float or None
        Size of a voxel along each axis.
    task : {"semantic", "instances"}
        What is compared.
    ignore : int or None
        Reference value that does not count.
    tolerance : float or None
        Of normalised surface Dice.
    centreline : bool or None
        Whether to take centreline Dice.
    fit : {"crop", "resample"} or None
        What was done about different shapes.
    offset : tuple of float or None
        Where the prediction lies in the reference, in its voxels.
    region : tuple of slice or None
        Part of the reference.
    mask : str or None
        File; only voxels where it is not 0 count.
    """

    reference: str
    prediction: str
    spacing: tuple[float, ...] | None
    task: str
    ignore: int | None = None
    tolerance: float | None = None
    centreline: bool | None = None
    fit: str | None = None
    offset: tuple[float, ...] | None = None
    region: tuple[slice, ...] | None = None
    mask: str | None = None


def evaluate_command(measured: Measurement) -> str:
    """Return the command line that repeats a comparison."""
    words = ["evaluate", measured.reference, measured.prediction]
    for name, value in asdict(measured).items():
        if name == "region" and value is not None:
            words += ["--region", ",".join(f"{s.start}:{s.stop}" for s in value)]
        elif name not in ("reference", "prediction") and value is not None:
            words += _flag(name, value)
    return _command(words)


def evaluate_script(measured: Measurement) -> str:
    """Return the Python script that repeats a comparison; see `evaluate_command`."""
    opened = [
        f"{name} = segzoo.open_image({file!r}, labels=True)"
        for name, file in (
            ("reference", measured.reference),
            ("prediction", measured.prediction),
            ("mask", measured.mask),
        )
        if file is not None
    ]
    pair = {"fit": measured.fit, "region": measured.region, "ignore": measured.ignore}
    arguments = [f"{name}={value!r}" for name, value in pair.items() if value is not None]
    if measured.offset is not None:
        opened.append(
            "step = tuple(a / b for a, b in zip(reference.scale, prediction.scale, strict=True))"
        )
        arguments.append(f"placement=Placement({measured.offset!r}, step)")
    if measured.mask is not None:
        arguments.append("mask=mask.data")
    made = ["reference.data", "prediction.data", *arguments]
    options = ("task", "spacing", "tolerance", "centreline")
    scored = {n: v for n, v in asdict(measured).items() if n in options and v is not None}
    images = ["pair.reference", "pair.prediction", "ignore=pair.ignore"]
    lines = [
        *opened,
        f"pair = {_call('make_pair', made, {})}",
        f"report = pair.place({_call('segzoo.evaluate', images, scored)})",
        "print(report.to_markdown())",
    ]
    names = "Placement, make_pair" if measured.offset is not None else "make_pair"
    return _script("\n".join(lines), f"from napari_segzoo.metrics import {names}\n")


def _changed(options: PredictOptions | FinetuneOptions) -> dict[str, Any]:
    usual = asdict(type(options)())
    return {name: value for name, value in asdict(options).items() if value != usual[name]}


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is True:
        return [flag]
    if isinstance(value, tuple | list):
        return [flag, ",".join(_number(v) for v in value)]
    return [flag, _number(value) if isinstance(value, float) else str(value)]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _command(words: Sequence[str]) -> str:
    return shlex.join(["napari-segzoo", *words])


def _call(function: str, positional: Sequence[str], named: dict[str, Any]) -> str:
    lines = [*positional, *(f"{name}={value!r}" for name, value in named.items())]
    return f"{function}(\n" + "".join(f"    {line},\n" for line in lines) + ")"


def _script(body: str, imports: str = "") -> str:
    return f"import napari_segzoo as segzoo\n{imports}\n{body}\n"

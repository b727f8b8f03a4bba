"""A model as a package for bioimage.io: one zip with description, weights, test and cover."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bioimageio.spec import (
    ValidationContext,
    ValidationSummary,
    load_description,
    save_bioimageio_package,
)
from bioimageio.spec.model import v0_5

from ..errors import InputError, RunError
from ..io import save_image
from ..model import SegmentationModel
from ..zoo.blocks import count_parameters
from ..zoo.registry import get_spec
from ..zoo.spec import ModelSpec
from .onnx_file import OPSET, Check, run_torch, write_onnx
from .readme import package_readme
from .record import divisor_of, model_record, program_version
from .sample import draw_cover, sample_image
from .tensors import input_tensor, output_tensor
from .traceable import for_inference

TASKS = {"semantic": "semantic-segmentation", "instances": "instance-segmentation"}
UNKNOWN_AUTHOR = "unknown"
LICENCE_FILE = "LICENSE.txt"
SHORTEST_NAME, LONGEST_NAME, LONGEST_TEXT = 5, 64, 512
NOTED = 30
"""Severity from which on a remark of the specification is passed on."""


def write_package(
    model: SegmentationModel, path: Path, authors: Sequence[str]
) -> tuple[Check, str, tuple[str, ...]]:
    """Write a package and validate it; only a paper without DOI is looked up in the internet.

    Parameters
    ----------
    model : SegmentationModel
        Neither moved nor changed.
    path : Path
        Where to, ``.zip``; its folder takes the parts meanwhile, in a folder ``parts``.
    authors : sequence of str
        Names; "unknown" if there are none.

    Returns
    -------
    check : Check
        How the ONNX file in it compared with the network.
    format_version : str
        Of the description.
    notes : tuple of str
        What the specification misses.

    Raises
    ------
    InputError
        If a name is none that the specification takes.
    RunError
        If the network cannot be converted, or the package is not valid.
    """
    people = _authors(authors)
    folder = path.parent / "parts"
    folder.mkdir()
    check = write_onnx(model, folder / "weights.onnx")
    _write_parts(model, folder)
    with warnings.catch_warnings(), ValidationContext(log_warnings=False):
        # The specification looks for the files before it looks into the zip.
        warnings.simplefilter("ignore")
        try:
            save_bioimageio_package(_describe(model, people, folder), output_path=path)
        except ValueError as error:
            what = " ".join(str(error).split())
            raise RunError(f"bioimageio.spec does not take the package: {what}") from error
        written = load_description(path)
    return check, str(written.format_version), _notes(written.validation_summary)


def _write_parts(model: SegmentationModel, folder: Path) -> None:
    """Write all files but the description and the ONNX weights."""
    info = model.info
    image = sample_image(info, divisor_of(model.network))
    scaled = info.normalization.measure(image, 0).apply(image)[None]
    logits = torch.from_numpy(run_torch(for_inference(model.network), scaled))
    found = torch.softmax(logits, dim=1).numpy()
    np.save(folder / "test_inputs.npy", image[None].astype(np.float32))
    np.save(folder / "test_outputs.npy", found)
    axes = "CZYX" if info.ndim == 3 else "CYX"
    save_image(folder / "sample_input.tif", image, axes, labels=False)
    save_image(folder / "sample_output.tif", found[0], axes, labels=False)
    draw_cover(info, image, found[0]).save(folder / "cover.png")
    state = {k: v.detach().cpu().contiguous() for k, v in model.network.state_dict().items()}
    torch.save(state, folder / "weights.pt")
    (folder / "README.md").write_text(package_readme(model, package_name(model)), encoding="utf-8")
    (folder / "environment.yaml").write_text(_environment(), encoding="utf-8")
    if info.licence and not _is_spdx(info.licence):
        (folder / LICENCE_FILE).write_text(f"{info.licence}\n", encoding="utf-8")


def _describe(
    model: SegmentationModel, authors: list[v0_5.Author], folder: Path
) -> v0_5.ModelDescr:
    info, divisor = model.info, divisor_of(model.network)
    spec = get_spec(info.architecture)
    return v0_5.ModelDescr(
        name=package_name(model),
        description=(info.description or f"{spec.title} for {info.ndim}D images")[:LONGEST_TEXT],
        authors=authors,
        cite=_cite(spec),
        license=_licence(info.licence, folder),
        tags=_tags(model),
        documentation=v0_5.FileDescr(source=folder / "README.md"),
        covers=[v0_5.FileDescr(source=folder / "cover.png")],
        inputs=[input_tensor(info, divisor, folder)],
        outputs=[output_tensor(info, divisor, folder)],
        weights=_weights(model, folder),
        config=v0_5.Config(
            bioimageio=v0_5.BioimageioConfig(
                task=TASKS[info.task],
                model_parameter_count=count_parameters(model.network),
            ),
            napari_segzoo=model_record(model),
        ),
    )


def _weights(model: SegmentationModel, folder: Path) -> v0_5.WeightsDescr:
    info = model.info
    build = v0_5.ArchitectureFromLibraryDescr(
        import_from="napari_segzoo",
        callable=v0_5.Identifier("create_model"),
        kwargs={
            "name": info.architecture,
            "ndim": info.ndim,
            "in_channels": info.in_channels,
            "num_classes": info.num_outputs,
            **{key: _plain(value) for key, value in info.options.items()},
        },
    )
    return v0_5.WeightsDescr(
        pytorch_state_dict=v0_5.PytorchStateDictWeightsDescr(
            source=folder / "weights.pt",
            architecture=build,
            pytorch_version=v0_5.Version(torch.__version__.split("+")[0]),
            dependencies=v0_5.FileDescr(source=folder / "environment.yaml"),
        ),
        onnx=v0_5.OnnxWeightsDescr(
            source=folder / "weights.onnx", opset_version=OPSET, parent="pytorch_state_dict"
        ),
    )


def package_name(model: SegmentationModel) -> str:
    """Return the model's name with such letters as bioimage.io allows, neither short nor long."""
    name = re.sub(r"[^A-Za-z0-9_+() -]+", "-", model.info.name).strip(" -")
    name = name or get_spec(model.info.architecture).name
    return (name if len(name) >= SHORTEST_NAME else f"{name} segmentation")[:LONGEST_NAME]


def _authors(names: Sequence[str]) -> list[v0_5.Author]:
    for name in names:
        if not name.strip() or "/" in name or "\\" in name:
            raise InputError(f"An author is a name without slashes, not {name!r}.")
    return [v0_5.Author(name=name.strip()) for name in names or (UNKNOWN_AUTHOR,)]


def _cite(spec: ModelSpec) -> list[v0_5.CiteEntry]:
    """Cite the paper of the network, if it can be found by a link."""
    paper = re.fullmatch(r"https?://arxiv\.org/abs/([\d.]+)", spec.url)
    if paper:
        return [v0_5.CiteEntry(text=spec.reference, doi=v0_5.Doi(f"10.48550/arXiv.{paper[1]}"))]
    return [v0_5.CiteEntry(text=spec.reference, url=v0_5.HttpUrl(spec.url))] if spec.url else []


def _licence(text: str, folder: Path) -> v0_5.LicenseId | v0_5.FileDescr | None:
    if not text:
        return None
    if _is_spdx(text):
        return v0_5.LicenseId(text)
    return v0_5.FileDescr(source=folder / LICENCE_FILE)


def _is_spdx(text: str) -> bool:
    try:
        v0_5.LicenseId(text)
    except ValueError:
        return False
    return True


def _tags(model: SegmentationModel) -> list[str]:
    """Words to be found by; some of them are categories of bioimage.io."""
    info = model.info
    spec = get_spec(info.architecture)
    nets = [n for n in ("unet", "resnet", "densenet") if n in info.architecture.replace("_", "")]
    content = [n for n in ("nuclei", "cells") if n[:4] in " ".join(c.name for c in info.classes)]
    found = [
        f"{info.ndim}d",
        "pytorch",
        "segmentation",
        TASKS[info.task],
        *nets,
        *content,
        spec.name,
    ]
    return list(dict.fromkeys([*found, "napari-segzoo"]))


def _environment() -> str:
    """What the PyTorch weights need, as conda reads it."""
    return (
        "channels:\n  - conda-forge\n  - nodefaults\n"
        "dependencies:\n  - python>=3.11\n  - pip\n  - pytorch\n  - torchvision\n"
        f"  - pip:\n      - napari-segzoo=={program_version()}\n"
    )


def _plain(value: Any) -> Any:
    """Turn tuples into lists, as YAML has no others."""
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def _notes(summary: ValidationSummary) -> tuple[str, ...]:
    """What the specification remarks on, a sentence each."""
    return tuple(
        ": ".join(filter(None, [".".join(map(str, warning.loc)), warning.msg]))
        for detail in summary.details
        for warning in detail.warnings
        if warning.severity >= NOTED
    )

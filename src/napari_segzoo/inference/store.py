"""The folder beside a file that is being written: what is done so far, and by which plan."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, RunError, SegzooError
from ..io import open_image
from ..postprocess import Objects
from .device import find_device
from .options import PredictOptions
from .plan import Plan
from .planes import join_plans
from .prediction import Prediction
from .records import read_json, write_json
from .result import probabilities_of, result_shape

if TYPE_CHECKING:
    from ..model import SegmentationModel

CHUNK = {2: 512, 3: 128}
"""Side of the chunks of the arrays, along the axes that the model sees."""
RESULT = "result.zarr"
"""OME-Zarr without a pyramid: labels, probabilities, or objects with provisional numbers."""
CLASSES, SCORES = "classes.zarr", "scores.zarr"
OBJECTS = "objects.npz"
PROGRESS = "progress.json"


def store_of(path: Path) -> Path:
    """Return the folder beside a file to be written."""
    return path.with_name(f".{path.name}.partial")


def discard(store: Path) -> None:
    """Remove a store; if that is interrupted, what is left is known not to be one."""
    (store / PROGRESS).unlink(missing_ok=True)
    shutil.rmtree(store, ignore_errors=True)


def read_progress(store: Path) -> dict[str, Any] | None:
    """Return what `write_progress` wrote; None if there is nothing."""
    record = read_json(store / PROGRESS) if (store / RESULT).exists() else None
    return record if isinstance(record, dict) else None


def write_progress(
    store: Path, identity: str, plan: Plan, done: int, asked: Mapping[str, Any]
) -> None:
    """Write down a plan, how many of its tiles are done, and what was asked for."""
    record = {
        "run": identity,
        "done": done,
        **_choices(plan),
        "others": [_choices(other) for other in plan.others],
        "asked": asked,
    }
    write_json(store / PROGRESS, record)


def asked_of(options: PredictOptions) -> dict[str, Any]:
    """Return what was asked for that a run keeps to when it goes on."""
    tile = options.tile if isinstance(options.tile, str) else np.ravel(options.tile).tolist()
    return {"tile": tile, "precision": options.precision, "device": options.device}


def check_same(
    path: Path, record: Mapping[str, Any], options: PredictOptions, *, elsewhere: bool
) -> None:
    """Raise `InputError` if a run is asked to go on in another way than it was begun.

    Parameters
    ----------
    path : Path
        The file to be.
    record : mapping
        What `write_progress` wrote.
    options : PredictOptions
        What is asked for now; "auto" is as it was.
    elsewhere : bool
        Whether other computers do the work.
    """
    begun = record.get("asked", {})
    for name, now in asked_of(options).items():
        before = record["device"] if name == "device" else begun.get(name, now)
        if now not in ("auto", before, begun.get(name)):
            raise InputError(
                f"{path} was begun with {name}={before}, so it cannot go on with {name}={now}; "
                f"leave out {name}, or run without resume to begin anew."
            )
    try:
        find_device("auto" if elsewhere else record["device"])
    except InputError as error:
        raise InputError(
            f"{path} was begun on the device {record['device']}, which is not here; resume it "
            "where there is one, or run without resume to begin anew."
        ) from error


def is_complete(path: Path, made_by: str = "") -> bool:
    """Whether a file is there and nothing is left to do; removes what was left of a clean-up.

    Raises
    ------
    InputError
        If the file says that another model or other options than `made_by` made it.
    """
    store = store_of(path)
    if not path.exists() or read_progress(store) is not None:
        return False
    other = False
    with suppress(SegzooError):
        found = open_image(path).made_by
        other = bool(found and made_by and found != made_by)
    if other:
        raise InputError(
            f"{path} was made by another model or with other options; choose another name, or "
            "overwrite it instead of resuming."
        )
    discard(store)
    return True


def _choices(plan: Plan) -> dict[str, Any]:
    return {
        "tile": plan.tiling.tile,
        "blend": plan.tiling.blend,
        "overlap": plan.tiling.overlap,
        "device": plan.device,
        "precision": plan.precision,
        "on_trial": plan.on_trial,
        "engine": plan.engine,
        "column_voxels": plan.column_voxels,
    }


def restore(run: Prediction, record: Mapping[str, Any]) -> None:
    """Give a run the plan that an interrupted one had."""
    for one, record_of_one in zip(run.passes, [record, *record["others"]], strict=False):
        one.plan = as_before(one.plan, record_of_one)
    whole = join_plans(run.passes, run.plan.output) if run.passes else as_before(run.plan, record)
    run.plan = whole


def as_before(plan: Plan, record: Mapping[str, Any]) -> Plan:
    """Return the plan that an interrupted run had."""
    tile, overlap = tuple(record["tile"]), tuple(record["overlap"])
    return replace(
        plan,
        tiling=replace(plan.tiling, tile=tile, overlap=overlap, blend=record["blend"]),
        device=record["device"],
        precision=record["precision"],
        on_trial=record["on_trial"],
        engine=record["engine"],
        column_voxels=record["column_voxels"],
    )


def open_store(run: Prediction, store: Path, *, keep: bool) -> None:
    """Let a run write into a folder, anew or where an earlier run with the same plan stopped."""
    model, plan = run.model, run.plan
    run.scratch, run.blank = store, not keep
    run.result = _open_array(store / RESULT, model, plan, keep=keep)
    if plan.output == "instances":
        labels = replace(plan, output="labels")
        classes = _open_array(store / CLASSES, model, labels, keep=keep)
        run.objects = Objects(classes, run.result, run.object_ndim, model.info.task)
        run.result = classes
        if keep and (store / OBJECTS).exists():
            run.objects.load(store / OBJECTS)
    if plan.crf:
        run.scores = _open_array(store / SCORES, model, probabilities_of(plan), keep=keep)


def open_array(path: Path) -> Any:
    """Open an array of a store: `RESULT`, `CLASSES` or `SCORES`."""
    import zarr

    from ..io.zarr_writer import BASE

    return zarr.open_array(path / BASE, mode="r+")


def _open_array(path: Path, model: SegmentationModel, plan: Plan, *, keep: bool) -> Any:
    from ..io.zarr_writer import create_base

    axes, shape, dtype = result_shape(model, plan)
    try:
        if keep:
            return open_array(path)
        side = CHUNK[plan.layout.ndim]
        spatial = plan.layout.model_axes
        chunks = [min(n, side) if a in spatial else 1 for a, n in zip(axes, shape, strict=True)]
        return create_base(path, axes, shape, dtype, chunks)
    except OSError as error:
        raise RunError(
            f"{path.parent.parent} cannot be written to: {error.strerror or error}."
        ) from error

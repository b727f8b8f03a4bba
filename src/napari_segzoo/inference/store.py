"""The folder beside a file that is being written: what is done so far, and by which plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..postprocess import Objects
from .plan import Plan
from .planes import join_plans
from .prediction import Prediction, probabilities_of, result_shape

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
    if not (store / RESULT).exists():
        return None
    try:
        record: dict[str, Any] = json.loads((store / PROGRESS).read_text())
    except (OSError, ValueError):
        return None
    return record


def write_progress(store: Path, identity: str, plan: Plan, done: int) -> None:
    """Write down a plan, and how many of its tiles are done."""
    others = [_choices(other) for other in plan.others]
    record = {"run": identity, "done": done, **_choices(plan), "others": others}
    temporary = store / "progress.new"
    temporary.write_text(json.dumps(record))
    temporary.replace(store / PROGRESS)


def _choices(plan: Plan) -> dict[str, Any]:
    return {
        "tile": plan.tiling.tile,
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
    overlap = tuple(record["overlap"])
    return replace(
        plan,
        tiling=replace(plan.tiling, tile=tuple(record["tile"]), overlap=overlap),
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

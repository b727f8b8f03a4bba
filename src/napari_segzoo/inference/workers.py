"""What runs on the workers of a cluster: one unit of a run, written into the shared store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..io import open_image
from ..model import load_model
from ..postprocess.objects import find_in_block
from .crop import Crop
from .events import TileDone
from .options import PredictOptions
from .plan import Plan, make_plan
from .prediction import Prediction
from .store import CLASSES, RESULT, SCORES, open_array
from .units import Unit

if TYPE_CHECKING:
    from ..axes import Layout
    from ..model import SegmentationModel
    from ..preprocess import Intensity

MODEL, MASK = "model.safetensors", "mask.npy"


@dataclass(frozen=True)
class Shared:
    """What all units of a run have in common; small, as it travels with each.

    Parameters
    ----------
    identity : str
        Of the run, see `fingerprint`.
    store : str
        Folder with the model, the result, and what else the run needs.
    image : str
        File of the image.
    axes : str
        Axes of the image.
    ranges : tuple of (start, stop)
        Part of the image along each axis that the run sees.
    options, plan, intensity, origin
        See `Prediction`.
    """

    identity: str
    store: str
    image: str
    axes: str
    ranges: tuple[tuple[int, int], ...]
    options: PredictOptions
    plan: Plan
    intensity: Intensity
    origin: tuple[int, ...]


def compute(shared: Shared, unit: Unit) -> int:
    """Compute one unit and return the number of its tiles."""
    plan = unit.plan(shared.plan)
    run = _open(shared, plan, unit.leading)
    events = run.run()
    for event in events:
        if (run.plan.tiling, run.plan.batch) != (plan.tiling, plan.batch):
            raise RunError(
                "Memory ran out on a worker; choose a smaller tile, or fewer workers per machine."
            )
        if isinstance(event, TileDone) and event.done == event.total:
            break  # what follows the tiles is done once for all units
    events.close()
    return plan.tiles


def separate_block(
    store: str, around: tuple[int | slice, ...], kept: tuple[slice, ...], task: str
) -> NDArray[np.int32]:
    """Separate the objects in a part of the classes that a run has found; see `find_in_block`."""
    return find_in_block(open_array(Path(store) / CLASSES), around, kept, task)


def settle(shared: Shared) -> Plan:
    """Try out the network and return the plan with nothing left open."""
    from .loading import load_network
    from .reading import TileReader

    run = _open(shared, shared.plan, None)
    reader = TileReader(
        run.image, run.plan.layout, shared.intensity, shared.options.skip_below, run.mask
    )
    for _ in load_network(run, reader):
        pass
    return run.plan


def plan_here(identity: str, store: str, layout: Layout, options: PredictOptions) -> Plan:
    """Plan a run for the device of this worker."""
    return make_plan(_model(identity, store), layout, options)


def _open(shared: Shared, plan: Plan, leading: tuple[int, ...] | None) -> Prediction:
    """Open image and store; for one leading index, or all of them."""
    store, layout = Path(shared.store), shared.plan.layout
    index = dict(zip(layout.leading_axes, leading or (), strict=False))

    def at_index(array: Any, axes: str) -> Any:
        ranges = [
            (index[a], index[a] + 1) if a in index else (0, int(n))
            for a, n in zip(axes, array.shape, strict=True)
        ]
        return Crop(array, tuple(ranges))

    image = Crop(open_image(shared.image, axes=shared.axes).data, shared.ranges)
    written = CLASSES if plan.output == "instances" else RESULT
    axes = layout.leading_axes + "C" * (plan.output == "probabilities") + layout.model_axes
    run = Prediction(
        _model(shared.identity, shared.store),
        at_index(image, layout.axes),
        shared.options,
        plan,
        axes,
        at_index(open_array(store / written), axes),
        intensity=shared.intensity,
        origin=shared.origin,
    )
    if plan.crf:
        run.scores = at_index(
            open_array(store / SCORES), layout.leading_axes + "C" + layout.model_axes
        )
    if (store / MASK).exists():
        mask = np.load(store / MASK, mmap_mode="r")
        whole = layout.leading_axes if mask.ndim > layout.ndim else ""
        run.mask = at_index(mask, whole + layout.model_axes)
    return run


@lru_cache(maxsize=1)
def _model(identity: str, store: str) -> SegmentationModel:
    return load_model(Path(store) / MODEL)

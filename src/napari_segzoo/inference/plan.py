"""The plan of a run, made and shown before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from ..axes import Layout
from ..errors import InputError
from .choice import choose_engine, choose_precision, half_precision
from .device import find_device, free_memory
from .fit import Fit
from .options import PredictOptions as PredictOptions
from .refine import block_bytes
from .remembered import recall
from .tiling import Tiling, round_up

if TYPE_CHECKING:
    import torch

    from ..model import SegmentationModel
    from ..zoo import Cost

TILE_VOXELS = {2: 512**2, 3: 128**3}
"""Voxels of a tile..."""
MOST_TILE_VOXELS = {2: 1024**2, 3: 160**3}
"""...and of a tile whose activations, in float32, stay within the following."""
TILE_BYTES = 512 << 20
COLUMN_BYTES = 512 << 20
"""Sums held at once; several times more where a single tile takes much of it."""
TRIAL_TILES, TRIAL_WORK = 6, 100_000_000_000
"""Runs of fewer tiles or multiply-adds are over before a trial of bfloat16 has paid."""
MOST_TIMES = 6.0
"""How often an exact blend that nobody asked for may compute a voxel, on average."""
MEMORY_SHARE = 0.5
"""Part of the free memory that a run plans with."""


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Parameters
    ----------
    layout : Layout
        The model's view of the image's axes.
    tiling : Tiling
        Tiles and blend.
    device, precision, engine : str
        Where and how the network runs.
    on_trial : bool
        Whether bfloat16 takes the place of float32 if it gives a sample the same labels.
    batch : int
        Tiles per forward pass.
    column_voxels : int
        Most voxels for which probabilities are held at once.
    tile_bytes : int
        Memory of the network's activations for one batch, an upper bound.
    memory : int
        Bytes the run needs above the program itself, an upper bound.
    output : str
        "labels", "instances" or "probabilities".
    tta : bool
        Whether mirrored tiles are averaged.
    crf : bool
        Whether the result is refined by a fully connected CRF.
    others : tuple of Plan
        Plans of slices along Y and X, whose probabilities are averaged with those along Z.
    """

    layout: Layout
    tiling: Tiling
    device: str
    precision: str
    engine: str
    on_trial: bool
    batch: int
    column_voxels: int
    tile_bytes: int
    memory: int
    output: str
    tta: bool
    crf: bool
    others: tuple[Plan, ...] = ()

    @property
    def tiles(self) -> int:
        """Number of tiles over all time points and slices."""
        own = prod(self.layout.leading_shape) * len(self.tiling)
        return own + sum(plan.tiles for plan in self.others)

    @property
    def times(self) -> float:
        """How often a voxel is computed, on average over the image."""
        return len(self.tiling) * prod(self.tiling.window_shape) / prod(self.tiling.shape)

    def summary(self) -> str:
        """Return the plan in one line."""
        tile = "×".join(str(n) for n in self.tiling.window_shape)
        overlap = "×".join(str(n) for n in self.tiling.overlap)
        precision = f"{self.precision}, or bfloat16 where the labels agree"
        return (
            f"{self.device}, {self.engine}, {precision if self.on_trial else self.precision}; "
            f"{self.tiles} tile(s) of {tile} {self.layout.model_axes}, overlap {overlap}, "
            f"{self.tiling.blend} blend; "
            f"{'mean of slices along Z, Y and X; ' if self.others else ''}"
            f"{'refined by a CRF; ' if self.crf else ''}up to {self.memory / 2**20:.0f} MiB; "
            f"axes {self.layout.axes} → {self.output} at the scale of the image"
        )


def make_plan(model: SegmentationModel, layout: Layout, options: PredictOptions) -> Plan:
    """Choose device, precision, tile, overlap and batch within the memory there is.

    Raises
    ------
    InputError
        If an option is impossible, the device is missing, the exact blend is asked for a
        network that sees the whole image, or no tile fits into memory.
    """
    if options.blend == "auto":
        return _plan_by_output(model, layout, options)
    device = find_device("cpu" if options.engine == "openvino" else options.device)
    if options.engine == "openvino" and options.device not in ("auto", "cpu"):
        raise InputError(
            f"The engine openvino runs on the device cpu, not on {options.device}; choose the "
            "engine torch."
        )
    fit = _fit(model, layout, options)
    budget = int(free_memory(device) * MEMORY_SHARE)
    if isinstance(options.tile, str):
        fitted = recall(model, device)
        tile, cost = _own_tile(model, fit, device, int(budget * 0.7), fitted)
    else:
        fitted = None
        tile = fit.tile_near(options.tile)
        cost = _cost(model, tile)
    plan = _finish(model, layout, options, device, fit, tile, cost, budget)
    if fitted is not None and plan.batch > 1:
        batch = min(plan.batch, max(1, fitted // prod(tile)))
        plan = replace(plan, batch=batch, tile_bytes=plan.tile_bytes // plan.batch * batch)
    return plan


def _plan_by_output(model: SegmentationModel, layout: Layout, options: PredictOptions) -> Plan:
    """Plan an exact blend for objects, which depend on the tiles in another, if it pays."""
    if options.output == "instances" and options.overlap is None:
        with suppress(InputError):
            exact = make_plan(model, layout, replace(options, blend="exact"))
            if exact.times <= MOST_TIMES:
                return exact
    return make_plan(model, layout, replace(options, blend="gaussian"))


def shrink_plan(model: SegmentationModel, plan: Plan, options: PredictOptions) -> Plan | None:
    """Return a plan that needs less memory; None if there is none.

    The first of these that is possible: a smaller batch, a smaller tile, half the precision
    (where the precision was left open), the CPU.
    """
    if plan.batch > 1:
        return replace(plan, batch=plan.batch // 2, tile_bytes=plan.tile_bytes // 2)
    same = replace(options, device=plan.device, precision=plan.precision)
    smaller = _fit(model, plan.layout, options).half(plan.tiling.window_shape)
    if smaller is not None and max(smaller) >= max(32, *plan.tiling.divisor):
        changed = replace(same, tile=smaller)
    elif (
        options.precision == "auto"
        and plan.precision == "float32"
        and (half := half_precision(plan.device)) is not None
    ):
        changed = replace(same, tile=plan.tiling.tile, precision=half)
    elif plan.device != "cpu":
        precision = options.precision if options.precision != "float16" else "auto"
        changed = replace(options, device="cpu", precision=precision)
    else:
        return None
    shrunk = make_plan(model, plan.layout, changed)
    return replace(shrunk, tiling=replace(shrunk.tiling, box=plan.tiling.box))


def _fit(model: SegmentationModel, layout: Layout, options: PredictOptions) -> Fit:
    divisor: tuple[int, ...] = model.network.divisor  # type: ignore[assignment]
    halo = _exact_halo(model, divisor) if options.blend == "exact" else None
    return Fit(layout.spatial_shape, divisor, halo, options.overlap)


def _exact_halo(model: SegmentationModel, divisor: Sequence[int]) -> tuple[int, ...]:
    from ..zoo.receptive_field import reach

    reaches = reach(model.network, model.info.in_channels)
    if reaches is None:
        raise InputError(
            f"{model.info.architecture} looks at the whole image at once, so tiles cannot be "
            "exact; choose the gaussian blend."
        )
    return tuple(round_up(max(r), d) for r, d in zip(reaches, divisor, strict=True))


def _own_tile(
    model: SegmentationModel, fit: Fit, device: torch.device, most_bytes: int, fitted: int | None
) -> tuple[tuple[int, ...], Cost]:
    """Choose the tile whose activations, in float32, take at most so many bytes.

    `fitted` is the number of voxels that memory was enough for in an earlier run, if known.
    """
    ndim = len(fit.shape)
    tile = fit.tile(TILE_VOXELS[ndim])
    bytes_per_voxel = _cost(model, tile).activation_bytes / prod(tile)
    voxels = min(MOST_TILE_VOXELS[ndim], int(TILE_BYTES / bytes_per_voxel))
    voxels = max(voxels, TILE_VOXELS[ndim])
    if fit.halo is not None:
        voxels = max(voxels, prod(min(4 * h, p) for h, p in zip(fit.halo, fit.padded, strict=True)))
    tile = fit.tile(voxels if fitted is None else min(voxels, fitted))
    while (cost := _cost(model, tile)).activation_bytes > most_bytes:
        smaller = fit.tile(int(prod(tile) * min(0.9, most_bytes / cost.activation_bytes)))
        if smaller == tile:
            raise InputError(
                f"The smallest tile {tile} of this model needs "
                f"{cost.activation_bytes / 2**30:.1f} GiB and {most_bytes / 2**30:.1f} GiB are "
                f"free on {device}; close other programs or use a smaller model."
            )
        tile = smaller
    return tile, cost


def _cost(model: SegmentationModel, tile: Sequence[int]) -> Cost:
    from ..zoo.cost import planning_cost

    return planning_cost(model.network, model.info.in_channels, tuple(tile))


def _finish(
    model: SegmentationModel,
    layout: Layout,
    options: PredictOptions,
    device: torch.device,
    fit: Fit,
    tile: tuple[int, ...],
    cost: Cost,
    budget: int,
) -> Plan:
    overlap = fit.overlap(tile, limited=isinstance(options.tile, str))
    tiling = Tiling(layout.spatial_shape, tile, overlap, fit.divisor, options.blend)
    tiles = prod(layout.leading_shape) * len(tiling)
    work = tiles * cost.multiply_adds * (2**layout.ndim if options.tta else 1)
    engine = choose_engine(options.engine, device, work)
    approximate = options.output != "probabilities" and options.blend != "exact" and not options.crf
    precision, on_trial = choose_precision(
        options.precision,
        device,
        approximate=approximate,
        worth=tiles >= TRIAL_TILES and work >= TRIAL_WORK,
    )
    tile_bytes = cost.activation_bytes * precision.itemsize // 4
    batch = 1
    if device.type == "cuda":
        batch = max(1, min(16, int(budget * 0.7) // max(tile_bytes, 1)))
    scores_bytes = 4 * model.info.num_outputs
    column_bytes = min(budget // 5, max(COLUMN_BYTES, 8 * prod(tile) * scores_bytes))
    column_voxels = max(column_bytes, 64 << 20) // scores_bytes
    held = min(tile[0] * prod(layout.spatial_shape[1:]), max(column_voxels, prod(tile)))
    memory = tile_bytes * batch + held * scores_bytes
    if options.crf:
        memory = max(memory, block_bytes(model, layout))
    return Plan(
        layout=layout,
        tiling=tiling,
        device=str(device),
        precision=str(precision).removeprefix("torch."),
        engine=engine,
        on_trial=on_trial,
        batch=batch,
        column_voxels=column_voxels,
        tile_bytes=tile_bytes * batch,
        memory=memory,
        output=options.output,
        tta=options.tta,
        crf=options.crf,
    )

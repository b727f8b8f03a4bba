"""The plan of a run, made and shown before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..axes import Layout
from ..errors import InputError
from .device import find_device, find_precision, free_memory
from .refine import block_bytes
from .tiling import BLENDS, Tiling, round_up

if TYPE_CHECKING:
    import torch

    from ..model import SegmentationModel

OUTPUTS = ("labels", "instances", "probabilities")
ENGINES = ("auto", "torch")
GAUSSIAN_OVERLAP = 0.25
LARGEST_TILE = {2: 512, 3: 128}
"""Larger tiles save little and fall out of the processor's cache."""
MEMORY_SHARE = 0.5
"""Part of the free memory that a run plans with."""


@dataclass(frozen=True)
class PredictOptions:
    """How to run a model; see `predict` for the meaning of each field."""

    output: str = "labels"
    tile: int | Sequence[int] | str = "auto"
    overlap: float | None = None
    blend: str = "gaussian"
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    tta: bool = False
    crf: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("output", self.output, OUTPUTS),
            ("blend", self.blend, BLENDS),
            ("engine", self.engine, ENGINES),
        ):
            if value not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise InputError(
                f"overlap is a share of the tile from 0 to below 1, not {self.overlap}."
            )
        if isinstance(self.tile, str) and self.tile != "auto":
            raise InputError(f"tile must be auto or one to three whole numbers, not {self.tile!r}.")


DEFAULTS = PredictOptions()


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
    """

    layout: Layout
    tiling: Tiling
    device: str
    precision: str
    engine: str
    batch: int
    column_voxels: int
    tile_bytes: int
    memory: int
    output: str
    tta: bool
    crf: bool

    @property
    def tiles(self) -> int:
        """Number of tiles over all time points and slices."""
        repeats = 1
        for n in self.layout.leading_shape:
            repeats *= n
        return repeats * len(self.tiling)

    def summary(self) -> str:
        """Return the plan in one line."""
        tile = "×".join(str(n) for n in self.tiling.window_shape)
        overlap = "×".join(str(n) for n in self.tiling.overlap)
        return (
            f"{self.device} {self.precision}; {self.tiles} tile(s) of {tile} "
            f"{self.layout.model_axes}, overlap {overlap}, {self.tiling.blend} blend; "
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
    device = find_device(options.device)
    precision = find_precision(options.precision, device)
    divisor: tuple[int, ...] = model.network.divisor  # type: ignore[assignment]
    halo = _exact_halo(model) if options.blend == "exact" else (0,) * layout.ndim
    budget = int(free_memory(device) * MEMORY_SHARE)
    tile = _first_tile(options.tile, layout, divisor, halo)
    bytes_needed = _activation_bytes(model, tile, precision)
    while options.tile == "auto" and bytes_needed > budget * 0.7:
        smaller = halve_tile(tile, divisor, halo)
        if smaller is None:
            raise InputError(
                f"The smallest tile {tile} of this model needs {bytes_needed / 2**30:.1f} GiB and "
                f"{budget / 2**30:.1f} GiB are free on {device}; close other programs or use a "
                "smaller model."
            )
        tile = smaller
        bytes_needed = _activation_bytes(model, tile, precision)
    return _finish(model, layout, options, device, precision, tile, halo, bytes_needed, budget)


def shrink_plan(model: SegmentationModel, plan: Plan, options: PredictOptions) -> Plan | None:
    """Return a plan that needs less memory: smaller batch, then tile, then the CPU; or None."""
    if plan.batch > 1:
        return replace(plan, batch=max(1, plan.batch // 2))
    divisor = plan.tiling.divisor
    halo = _exact_halo(model) if plan.tiling.blend == "exact" else (0,) * len(divisor)
    smaller = halve_tile(plan.tiling.window_shape, divisor, halo)
    if smaller is not None and max(smaller) >= max(32, *divisor):
        return make_plan(model, plan.layout, replace(options, tile=smaller, device=plan.device))
    if plan.device != "cpu":
        return make_plan(model, plan.layout, replace(options, device="cpu", precision="auto"))
    return None


def halve_tile(
    tile: Sequence[int], divisor: Sequence[int], halo: Sequence[int]
) -> tuple[int, ...] | None:
    """Halve the longest side that can be halved; None if none can."""
    halves = [round_up(t / 2, d) for t, d in zip(tile, divisor, strict=True)]
    least = [2 * h + d for h, d in zip(halo, divisor, strict=True)]
    possible = [a for a in range(len(tile)) if least[a] <= halves[a] < tile[a]]
    if not possible:
        return None
    longest = max(possible, key=lambda a: tile[a])
    return tuple(halves[a] if a == longest else t for a, t in enumerate(tile))


def _exact_halo(model: SegmentationModel) -> tuple[int, ...]:
    from ..zoo.receptive_field import reach

    reaches = reach(model.network, model.info.in_channels)
    if reaches is None:
        raise InputError(
            f"{model.info.architecture} looks at the whole image at once, so tiles cannot be "
            "exact; choose the gaussian blend."
        )
    return tuple(
        round_up(max(r), d)
        for r, d in zip(reaches, model.network.divisor, strict=True)  # type: ignore[arg-type]
    )


def _first_tile(
    asked: int | Sequence[int] | str, layout: Layout, divisor: Sequence[int], halo: Sequence[int]
) -> tuple[int, ...]:
    ndim = layout.ndim
    padded = [round_up(n, d) for n, d in zip(layout.spatial_shape, divisor, strict=True)]
    if isinstance(asked, str):
        wanted = [max(LARGEST_TILE[ndim], 4 * h) for h in halo]
        wanted = [p if p <= 1.25 * w else w for p, w in zip(padded, wanted, strict=True)]
    else:
        numbers = [asked] * ndim if isinstance(asked, int) else [int(n) for n in asked]
        if len(numbers) != ndim or min(numbers) < 1:
            raise InputError(
                f"tile must be one number or {ndim} numbers of at least 1, not {asked!r}."
            )
        wanted = numbers
    tile = tuple(min(round_up(w, d), p) for w, d, p in zip(wanted, divisor, padded, strict=True))
    for t, h, p, d in zip(tile, halo, padded, divisor, strict=True):
        if t < p and t < 2 * h + d:
            raise InputError(
                f"The exact blend of this model needs tiles of at least {2 * h + d} voxels a side, "
                f"not {t}; choose a larger tile or the gaussian blend."
            )
    return tile


def _activation_bytes(model: SegmentationModel, tile: Sequence[int], precision: torch.dtype) -> int:
    from ..zoo.cost import cost

    bytes_float32 = cost(model.network, model.info.in_channels, tuple(tile)).activation_bytes
    return bytes_float32 * precision.itemsize // 4


def _finish(
    model: SegmentationModel,
    layout: Layout,
    options: PredictOptions,
    device: torch.device,
    precision: torch.dtype,
    tile: tuple[int, ...],
    halo: Sequence[int],
    tile_bytes: int,
    budget: int,
) -> Plan:
    divisor: tuple[int, ...] = model.network.divisor  # type: ignore[assignment]
    if options.blend == "exact":
        overlap = [2 * h for h in halo]
    else:
        share = GAUSSIAN_OVERLAP if options.overlap is None else options.overlap
        overlap = [min(round_up(t * share, d), t - d) for t, d in zip(tile, divisor, strict=True)]
    padded = [round_up(n, d) for n, d in zip(layout.spatial_shape, divisor, strict=True)]
    overlap = [0 if t >= p else o for o, t, p in zip(overlap, tile, padded, strict=True)]
    batch = 1
    if device.type == "cuda":
        batch = max(1, min(16, int(budget * 0.7) // max(tile_bytes, 1)))
    scores_bytes = 4 * model.info.num_outputs
    column_voxels = max(int(budget * 0.2), 64 << 20) // scores_bytes
    voxels = tile[0]
    for n in layout.spatial_shape[1:]:
        voxels *= n
    tile_voxels = 1
    for n in tile:
        tile_voxels *= n
    held = min(voxels, max(column_voxels, tile_voxels)) * scores_bytes
    memory = tile_bytes * batch + held
    if options.crf:
        memory = max(memory, block_bytes(model, layout))
    return Plan(
        layout=layout,
        tiling=Tiling(layout.spatial_shape, tile, tuple(overlap), divisor, options.blend),
        device=str(device),
        precision=str(precision).removeprefix("torch."),
        engine="torch",
        batch=batch,
        column_voxels=column_voxels,
        tile_bytes=tile_bytes * batch,
        memory=memory,
        output=options.output,
        tta=options.tta,
        crf=options.crf,
    )

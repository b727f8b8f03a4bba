"""What is told of a network, in words, without PyTorch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import InputError
from .spec import Cost, ModelSpec

Facts = list[tuple[str, str]]
DEFAULT_TILE = {2: (512, 512), 3: (64, 128, 128)}
_TILE_INVARIANT = {
    True: "yes, tiles can give exactly what the whole image gives",
    False: "no, the result depends on the tile",
}


def parse_tile(text: str) -> tuple[int, ...]:
    """Read the sides of a tile, such as "512, 512" or "64x128x128"; () if there is no text.

    Raises
    ------
    InputError
        If it is not one, two or three whole numbers above 0.
    """
    sides = tuple(int(n) for n in re.findall(r"\d+", text))
    if not re.fullmatch(r"\s*(\d+\s*([,x×\s]\s*\d+\s*)*)?", text) or len(sides) > 3 or 0 in sides:
        raise InputError(f"A tile is N, or Y,X, or Z,Y,X voxels, such as 512,512, not {text!r}.")
    return sides


def tiles_for(title: str, ndims: Sequence[int], sides: Sequence[int]) -> list[tuple[int, ...]]:
    """Return one tile per number of dimensions that `sides` fit.

    Parameters
    ----------
    title : str
        Network or model, for messages.
    ndims : sequence of int
        Numbers of dimensions it has.
    sides : sequence of int
        Two or three sides; one for all axes; or none, for a usual tile.

    Raises
    ------
    InputError
        If it does not have as many dimensions as there are sides.
    """
    if len(sides) < 2:
        return [tuple(sides) * n or DEFAULT_TILE[n] for n in ndims]
    if len(sides) not in ndims:
        has = " and ".join(f"{n}D" for n in ndims)
        raise InputError(f"{title} works in {has}, so a tile cannot have {len(sides)} sides.")
    return [tuple(sides)]


def default_costs(spec: ModelSpec, sides: Sequence[int] = ()) -> list[Cost]:
    """Return what tiles of the published configuration cost; see `tiles_for`.

    Measured, by PyTorch, for a network without stored figures.
    """
    tiles = tiles_for(spec.title, spec.ndims, sides)
    stored = [cost for cost in map(spec.cost, tiles) if cost is not None]
    if len(stored) == len(tiles):
        return stored
    from .cost import configuration_cost

    return [
        configuration_cost(
            spec.name, ndim=len(tile), in_channels=1, num_classes=2, options={}, tile=tile
        )
        for tile in tiles
    ]


def network_facts(spec: ModelSpec, costs: Sequence[Cost]) -> Facts:
    """Return titles and texts, all but the paper.

    Parameters
    ----------
    spec : ModelSpec
        The network.
    costs : sequence of Cost
        Of tiles, one per number of dimensions that is to be told.
    """
    parameters = ", ".join(f"{c.parameters:,} in {len(c.tile)}D" for c in costs)
    return [
        ("Network", spec.title if spec.family in spec.title else f"{spec.title} ({spec.family})"),
        ("Dimensions", " or ".join(f"{n}D" for n in spec.ndims)),
        *([("Parameters", parameters)] if costs else []),
        *((f"Tile {by(c.tile)}", cost_text(c)) for c in costs),
        ("Receptive field", field_text(spec)),
        ("Tile-invariant", _TILE_INVARIANT[spec.tile_invariant]),
        ("Sizes", f"multiples of {spec.divisor}; images are padded"),
        ("Weights", ", ".join(spec.weights) or "none; trained from random weights"),
        *([("Licence", f"weights: {spec.weights_licence}")] if spec.weights else []),
    ]


def field_text(spec: ModelSpec) -> str:
    """Say how far a network sees."""
    if spec.receptive_field is None:
        return "the whole image"
    return f"{spec.receptive_field} voxels along an axis"


def cost_text(cost: Cost) -> str:
    """Say what a tile costs."""
    return f"{short(cost.multiply_adds)} multiply-adds, {memory_text(cost.memory)}"


def by(sides: Sequence[int]) -> str:
    """Write 512×512."""
    return "×".join(str(n) for n in sides)


def short(number: float) -> str:
    """Write a count with three digits and a decimal prefix: 31.0 M."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{_three_digits(number / size)} {prefix}"
    return _three_digits(number)


def memory_text(count: float) -> str:
    """Write bytes as MiB or GiB."""
    mib = count / 2**20
    return f"{mib:.0f} MiB" if mib < 1000 else f"{_three_digits(mib / 1024)} GiB"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"

"""`models` and `info`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..zoo.option_text import parse_option
from .app import app, print_json, say

if TYPE_CHECKING:
    from ..model import ModelInfo
    from ..zoo import Cost, ModelSpec

TILE_HELP = "N, or Y,X, or Z,Y,X voxels of the tile whose cost is told."


@app.command()
def models(
    search: Annotated[
        list[str] | None,
        typer.Argument(help="Words of a name, a family or a paper; all without them."),
    ] = None,
    tile: Annotated[str, typer.Option(help=TILE_HELP)] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the networks of the zoo and the trained models that come with the program."""
    from ..model import bundled_models, read_info
    from ..zoo import list_models
    from ..zoo.facts import default_costs, parse_tile
    from ..zoo.registry import matches

    words, sides = " ".join(search or ()), parse_tile(tile)
    specs = list_models(len(sides) if len(sides) > 1 else None, words)
    infos = {name: read_info(path) for name, path in bundled_models().items()}
    trained = {n: i for n, i in infos.items() if matches(words, f"{n} {i.description}")}
    if json:
        networks = [_spec_record(spec, default_costs(spec, sides)) for spec in specs]
        models = [_info_record(name, info) for name, info in trained.items()]
        print_json({"networks": networks, "trained": models})
        return
    if not specs and not trained:
        say(f"Nothing matches {words!r}; `napari-segzoo models` without words lists all.")
    if specs:
        _print_networks(specs, sides)
    if trained:
        print("Trained models")
    for name, info in trained.items():
        print(f"  {name:28} {info.ndim}D     {info.description}")


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A network, a bundled model, or a model file.")],
    tile: Annotated[str, typer.Option(help=TILE_HELP)] = "",
    channels: Annotated[int, typer.Option(help="Channels of the image, for a network.")] = 1,
    classes: Annotated[int, typer.Option(help="Classes, for a network.")] = 2,
    option: Annotated[
        list[str], typer.Option("--option", help="key=value of the network; repeat for more.")
    ] = [],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what is known of one network or trained model, and what a tile costs."""
    from ..errors import InputError
    from ..model import find_model
    from ..zoo import get_spec, list_models
    from ..zoo.facts import default_costs, network_facts, parse_tile, tiles_for

    sides = parse_tile(tile)
    changed = bool(option) or (channels, classes) != (1, 2)
    if model not in {spec.name for spec in list_models()}:
        try:
            path = find_model(model)
        except InputError:
            raise InputError(
                f"There is no network or trained model {model!r}, and no such file; "
                "`napari-segzoo models` lists both."
            ) from None
        if changed:
            raise InputError(
                "--channels, --classes and --option are for networks that are yet to be trained; "
                f"those of {model} are settled."
            )
        _tell_model(model, path, sides, json)
        return
    spec = get_spec(model)
    if changed:
        from ..zoo.receptive_field import configured

        options = dict(parse_option(o) for o in option)
        spec = configured(spec, options)
        tiles = tiles_for(spec.title, spec.ndims, sides)
        costs = _measure(spec.name, tiles, channels, classes, options)
    else:
        costs = default_costs(spec, sides)
    if json:
        print_json(_spec_record(spec, costs))
        return
    facts = [*network_facts(spec, costs), ("Paper", spec.reference), ("", spec.url)]
    for title, text in [*facts, *_options_and_counts(spec)]:
        print(f"{title:18} {text}")


def _tell_model(model: str, path: Path, sides: Sequence[int], json: bool) -> None:
    from ..model import count_stored_parameters, read_info
    from ..zoo.facts import by, cost_text, tiles_for

    info = read_info(path)
    record = _info_record(model, info)
    record["parameters"] = count_stored_parameters(path)
    tiles = tiles_for(model, (info.ndim,), sides) if sides else []
    costs = _measure(info.architecture, tiles, info.in_channels, info.num_outputs, info.options)
    if json:
        print_json({**record, "costs": [_cost_record(cost) for cost in costs]})
        return
    for key, value in record.items():
        print(f"{key + ':':18} {value}")
    for cost in costs:
        print(f"{'tile ' + by(cost.tile) + ':':18} {cost_text(cost)}")


def _measure(
    name: str,
    tiles: Sequence[tuple[int, ...]],
    channels: int,
    classes: int,
    options: Mapping[str, Any],
) -> list[Cost]:
    if not tiles:
        return []
    from ..zoo.cost import configuration_cost

    return [
        configuration_cost(
            name,
            ndim=len(tile),
            in_channels=channels,
            num_classes=classes,
            options=options,
            tile=tile,
        )
        for tile in tiles
    ]


def _print_networks(specs: Sequence[ModelSpec], sides: Sequence[int]) -> None:
    """Print a table: the costs in the lowest number of dimensions that is listed."""
    from ..zoo.facts import by, default_costs, memory_text, short

    costs = [default_costs(spec, sides)[0] for spec in specs]
    tiles = " or ".join(dict.fromkeys(by(cost.tile) for cost in costs))
    print(f"Networks to train; costs of a tile of {tiles} voxels, 1 channel, 2 classes")
    row = "  {:28} {:6} {:>10} {:>14} {:>9}  {:15}  {:14}  {:18}  {}"
    titles = ("name", "dims", "parameters", "multiply-adds", "memory", "receptive field")
    print(row.format(*titles, "tile-invariant", "weights", "paper"))
    for spec, cost in zip(specs, costs, strict=True):
        print(
            row.format(
                spec.name,
                "/".join(f"{n}D" for n in spec.ndims),
                short(cost.parameters),
                short(cost.multiply_adds),
                memory_text(cost.memory),
                spec.receptive_field or "whole image",
                "yes" if spec.tile_invariant else "no",
                ", ".join(spec.weights),
                spec.reference,
            )
        )
    for weights, terms in dict.fromkeys((s.weights, s.weights_licence) for s in specs if s.weights):
        print(f"Weights {', '.join(weights)}: {terms}")


def _options_and_counts(spec: ModelSpec) -> list[tuple[str, str]]:
    options = (
        f"{key}={dumps(value, separators=(',', ':'))}" for key, value in spec.options.items()
    )
    counts = (
        f"{c.count:,} ({c.ndim}D, {c.in_channels} → {c.num_classes} channels; {c.source})"
        for c in spec.published
    )
    return [*(("Option", o) for o in options), *(("Published count", c) for c in counts)]


def _spec_record(spec: ModelSpec, costs: Sequence[Cost]) -> dict[str, Any]:
    return {
        "name": spec.name,
        "title": spec.title,
        "family": spec.family,
        "ndims": list(spec.ndims),
        "reference": spec.reference,
        "url": spec.url,
        "divisor": spec.divisor,
        "tile_invariant": spec.tile_invariant,
        "receptive_field": spec.receptive_field,
        "options": dict(spec.options),
        "parameters": spec.published[0].count if spec.published else costs[0].parameters,
        "published": [asdict(count) for count in spec.published],
        "costs": [_cost_record(cost) for cost in costs],
        "weights": list(spec.weights),
        "weights_licence": spec.weights_licence,
    }


def _cost_record(cost: Cost) -> dict[str, Any]:
    return {**asdict(cost), "memory_bytes": cost.memory}


def _info_record(name: str, info: ModelInfo) -> dict[str, Any]:
    record = asdict(info)
    return {**record, "name": name, "classes": [c["name"] for c in record["classes"]]}

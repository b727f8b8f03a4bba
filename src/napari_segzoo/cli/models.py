"""`models` and `info`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from .app import app, print_json


@app.command()
def models(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the networks of the zoo and the trained models that come with the program."""
    from ..model import bundled_models, read_info
    from ..zoo import list_models

    trained = {name: read_info(path) for name, path in bundled_models().items()}
    if json:
        print_json(
            {
                "networks": [_spec_record(spec) for spec in list_models()],
                "trained": [_info_record(name, info) for name, info in trained.items()],
            }
        )
        return
    print("Networks to train")
    for spec in list_models():
        dims = "/".join(f"{n}D" for n in spec.ndims)
        print(f"  {spec.name:28} {dims:6} {spec.title:28} {spec.reference}")
    print("Trained models")
    for name, info in trained.items():
        print(f"  {name:28} {info.ndim}D     {info.description}")


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A network, a bundled model, or a model file.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what is known of one network or trained model."""
    from ..model import count_stored_parameters, find_model, read_info
    from ..zoo import get_spec, list_models

    if model in {spec.name for spec in list_models()}:
        record = _spec_record(get_spec(model))
    else:
        path = find_model(model)
        record = _info_record(model, read_info(path))
        record["parameters"] = count_stored_parameters(path)
    if json:
        print_json(record)
        return
    for key, value in record.items():
        print(f"{key + ':':18} {value}")


def _spec_record(spec: Any) -> dict[str, Any]:
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
        "parameters": spec.published[0].count if spec.published else None,
        "weights": list(spec.weights),
    }


def _info_record(name: str, info: Any) -> dict[str, Any]:
    record = asdict(info)
    return {**record, "name": name, "classes": [c["name"] for c in record["classes"]]}

"""What the Model dock says of a network or a trained model, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..model import ModelInfo, count_stored_parameters
from ..zoo import ModelSpec, get_spec
from ..zoo.facts import field_text, network_facts, tiles_for
from .shared_model import Choice

Rows = list[tuple[str, str]]
LINK_COLOR = "#56b4e9"


def describe(choice: Choice, sides: Sequence[int] = ()) -> str:
    """Return a table in HTML; `sides` are those of the tile whose cost is told."""
    spec = get_spec(choice.architecture)
    if choice.info is None:
        rows = _describe_network(spec, sides)
    else:
        rows = _describe_model(choice, choice.info, spec)
    lines = (
        f'<tr><td style="padding: 3px 10px 3px 0"><b>{title}</b></td>'
        f'<td style="padding: 3px 0">{text}</td></tr>'
        for title, text in rows
    )
    return f"<table>{''.join(lines)}</table>"


def _describe_network(spec: ModelSpec, sides: Sequence[int]) -> Rows:
    costs = [spec.cost(tile) for tile in tiles_for(spec.title, spec.ndims, sides)]
    facts = network_facts(spec, [cost for cost in costs if cost is not None])
    return [*((title, escape(text)) for title, text in facts), *_paper(spec)]


def _describe_model(choice: Choice, info: ModelInfo, spec: ModelSpec) -> Rows:
    channels = "1 channel" if info.in_channels == 1 else f"{info.in_channels} channels"
    rows = [
        ("Network", escape(spec.title)),
        ("Dimensions", f"{info.ndim}D, {channels}"),
        ("Finds", "separate objects" if info.task == "instances" else "classes"),
        ("Classes", _classes(info)),
    ]
    if info.description:
        rows.append(("About", escape(info.description)))
    if choice.path is not None:
        rows.append(("Parameters", f"{count_stored_parameters(choice.path):,}"))
    elif choice.model is not None:
        tensors = choice.model.network.parameters()
        rows.append(("Parameters", f"{sum(t.numel() for t in tensors if t.requires_grad):,}"))
    rows.append(("Receptive field", field_text(spec)))
    if info.voxel_size:
        size = " × ".join(f"{v:.4g}" for v in info.voxel_size)
        rows.append(("Voxel size", f"{size} {escape(info.unit)}"))
    rows.append(("Trained", _provenance(info)))
    if bases := _bases(info.provenance):
        rows.append(("Started from", bases))
    rows.append(("Licence", escape(info.licence) or "not stated"))
    rows.append(("File", escape(str(choice.path)) if choice.path else "not saved yet"))
    return rows + _paper(spec)


def _classes(info: ModelInfo) -> str:
    return "<br>".join(
        f'<span style="color:{c.color}">■</span> {n} {escape(c.name)}'
        for n, c in enumerate(info.classes)
    )


def _provenance(info: ModelInfo) -> str:
    told_apart = ("base", "base_provenance")
    known = {
        k: v for k, v in info.provenance.items() if v not in (None, {}) and k not in told_apart
    }
    if not known:
        return "not stated"
    lines = [line for key, value in known.items() for line in _told(key, value)]
    return "<br>".join(map(escape, lines))


def _told(name: str, value: object) -> list[str]:
    """One line, or one for each part of a table."""
    if isinstance(value, dict) and any(isinstance(part, dict) for part in value.values()):
        return [line for key, part in value.items() for line in _told(f"{name}, {key}", part)]
    return [f"{_spaced(name)}: {_plain(value)}"]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _bases(provenance: Mapping[str, Any]) -> str:
    """One line for each model that came before this one, the last first."""
    lines = []
    while "base" in provenance:
        name, before = provenance["base"], provenance.get("base_provenance")
        provenance = before if isinstance(before, dict) else {}
        told = [_plain(name)]
        told += [f"{_plain(provenance['steps'])} steps"] if "steps" in provenance else []
        told += [_plain(provenance["date"])] if "date" in provenance else []
        lines.append(escape(", ".join(told)))
    return "<br>".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{_spaced(str(k))}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return str(value)


def _paper(spec: ModelSpec) -> Rows:
    return [
        (
            "Paper",
            f'<a href="{escape(spec.url)}" style="color:{LINK_COLOR}">{escape(spec.reference)}</a>',
        )
    ]

"""Fill the page on networks from the registry, so that a new network appears in it by itself."""

from itertools import groupby
from typing import Any

from napari_segzoo import ModelSpec, list_models
from napari_segzoo.zoo.drawing import draw_network
from napari_segzoo.zoo.facts import by, default_costs, field_text, memory_text, short

MARK = "<!-- networks -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the mark by an overview and by what is known of each network."""
    return markdown.replace(MARK, _networks()) if MARK in markdown else markdown


def _networks() -> str:
    specs = sorted(list_models(), key=lambda spec: spec.family)
    parts = [_overview(specs)]
    for family, members in groupby(specs, key=lambda spec: spec.family):
        parts += [f"## {family}", *map(_network, members)]
    return "\n\n".join(parts)


def _overview(specs: list[ModelSpec]) -> str:
    rows = [
        "| network | parameters | multiply-adds | memory | receptive field |",
        "|---|---|---|---|---|",
    ]
    for spec in specs:
        cost = default_costs(spec)[0]
        cells = (
            f"[{spec.name}](#{spec.name})",
            short(cost.parameters),
            short(cost.multiply_adds),
            memory_text(cost.memory),
            str(spec.receptive_field or "whole image"),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _network(spec: ModelSpec) -> str:
    paper = f"[{spec.reference}]({spec.url})" if spec.url else spec.reference
    invariant = "tile-invariant" if spec.tile_invariant else "not tile-invariant"
    weights = (
        f"Weights: {', '.join(spec.weights)} ({spec.weights_licence})." if spec.weights else ""
    )
    costs = [
        f"| {len(cost.tile)}D, {by(cost.tile)} | {cost.parameters:,} | {short(cost.multiply_adds)} "
        f"| {memory_text(cost.memory)} |"
        for cost in default_costs(spec)
    ]
    return "\n".join(
        [
            f"### {spec.name} {{ #{spec.name} }}\n",
            f"**{spec.title}**: {paper}. Receptive field: {field_text(spec)}; {invariant}; "
            f"sizes are multiples of {spec.divisor}. {weights}\n",
            f"<div>{draw_network(spec.name)}</div>\n",
            "| dimensions, tile | parameters | multiply-adds | memory |",
            "|---|---|---|---|",
            *costs,
            *_published(spec),
        ]
    )


def _published(spec: ModelSpec) -> list[str]:
    if not spec.published:
        return []
    counts = (
        f"{c.count:,} ({c.ndim}D, {c.in_channels} → {c.num_classes} channels"
        f"{''.join(f', {key}={value}' for key, value in c.options.items())}; {c.source})"
        for c in spec.published
    )
    return [f"\nPublished counts: {'; '.join(counts)}."]

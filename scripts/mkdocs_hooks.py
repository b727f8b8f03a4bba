"""Fill the page on networks from the registry, so that a new network appears in it by itself."""

from itertools import groupby
from typing import Any

from napari_segzoo import ModelSpec, list_models

MARK = "<!-- networks -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the mark by one table per family."""
    return markdown.replace(MARK, _tables()) if MARK in markdown else markdown


def _tables() -> str:
    specs = sorted(list_models(), key=lambda spec: spec.family)
    families = groupby(specs, key=lambda spec: spec.family)
    return "\n\n".join(_family(family, list(members)) for family, members in families)


def _family(family: str, specs: list[ModelSpec]) -> str:
    rows = [
        f"## {family}\n",
        "| name | | dimensions | parameters | paper |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*rows, *map(_row, specs)])


def _row(spec: ModelSpec) -> str:
    dimensions = ", ".join(f"{n}D" for n in spec.ndims)
    paper = f"[{spec.reference}]({spec.url})" if spec.url else spec.reference
    return f"| `{spec.name}` | {spec.title} | {dimensions} | {_parameters(spec)} | {paper} |"


def _parameters(spec: ModelSpec) -> str:
    """The first published count in millions, with what it was counted for."""
    if not spec.published:
        return ""
    first = spec.published[0]
    arguments = f"{first.ndim}D, {first.in_channels} → {first.num_classes} channels"
    return f"{first.count / 1e6:.2f} M ({arguments})"

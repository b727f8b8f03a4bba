"""Small versions of every registered network, in each number of dimensions it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from napari_segzoo.zoo import create_model, list_models


@dataclass(frozen=True)
class Case:
    """A registered network with options that make it small and quick."""

    name: str
    ndim: int
    options: dict[str, Any]

    def build(self, in_channels: int, num_classes: int) -> torch.nn.Module:
        return create_model(
            self.name,
            ndim=self.ndim,
            in_channels=in_channels,
            num_classes=num_classes,
            **self.options,
        )

    @property
    def size(self) -> tuple[int, ...]:
        """A small input size that every network takes."""
        return (64, 64) if self.ndim == 2 else (32, 32, 32)


def small_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options that keep the form of a network and make it narrow."""
    small: dict[str, Any] = {}
    if "widths" in options:
        small["widths"] = tuple(6 + n for n in range(len(options["widths"])))
    if "blocks" in options:
        small["blocks"] = (1,) * len(options["blocks"])
    if "width" in options:
        small["width"] = 16 if name.startswith("u2net") else 8 if name == "segnet" else 4
    if str(options.get("backbone", "")).startswith("resnet"):
        small["backbone"] = "resnet50" if name == "deeplabv3_resnet50" else "resnet18"
    if "layers" in options:
        small |= {"layers": (1, 2, 1, 1, 2), "bottleneck": 2, "growth_rate": 4}
    if "modules" in options:
        small |= {"modules": (1, 1, 1), "stem_width": 8}
    for extra in {"aux", "deep_supervision"} & set(options):
        small[extra] = True
    return small


def _cases() -> list[Case]:
    """One case per network and dimension; deeper backbones differ in nothing but depth."""
    cases, seen = [], set()
    for spec in list_models():
        small = small_options(spec.name, dict(spec.options))
        form = repr((spec.builder, sorted({**spec.options, **small}.items(), key=lambda i: i[0])))
        if form in seen:
            continue
        seen.add(form)
        cases += [Case(spec.name, ndim, small) for ndim in spec.ndims]
    return cases


CASES = _cases()
every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, id=f"{c.name}-{c.ndim}d", marks=[pytest.mark.slow] * (c.name == "u2net"))
        for c in CASES
    ],
)
"""U²-Net is slow, and the form of U²-NetP."""

"""What is asked of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ..errors import InputError
from .choice import ENGINES
from .tiling import BLENDS

OUTPUTS = ("labels", "instances", "probabilities")
PLANES = ("z", "zyx")


@dataclass(frozen=True)
class PredictOptions:
    """How to run a model; see `predict` for the meaning of each field."""

    output: str = "labels"
    tile: int | Sequence[int] | str = "auto"
    overlap: float | None = None
    blend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    tta: bool = False
    crf: bool = False
    skip_below: float | None = None
    region: str | None = None
    planes: str = "z"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("output", self.output, OUTPUTS),
            ("blend", self.blend, ("auto", *BLENDS)),
            ("engine", self.engine, ENGINES),
            ("planes", self.planes, PLANES),
        ):
            if value not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
        object.__setattr__(self, "device", str(self.device))
        shared: Any = 0.0 if self.overlap is None else self.overlap
        if not (isinstance(shared, Real) and 0 <= float(shared) < 1):
            raise InputError(
                f"overlap is a share of the tile from 0 to below 1, not {self.overlap!r}."
            )
        sides = np.ravel(np.array(self.tile))
        whole = sides.dtype.kind in "iu" and 1 <= sides.size <= 3
        if not whole and not (isinstance(self.tile, str) and self.tile == "auto"):
            raise InputError(f"tile must be auto or one to three whole numbers, not {self.tile!r}.")
        if self.crf and self.planes != "z":
            raise InputError("The CRF refines slices along Z only; leave out crf or planes.")


DEFAULTS = PredictOptions()

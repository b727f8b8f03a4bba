"""Drawings of networks, made from a pass through them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .registry import build_network, get_spec

POOLED = math.inf
"""Stride of what is pooled to a size that does not follow from that of the image."""
LENGTH = {2: 512, 3: 128}

WIDTH, STEP, PITCH, MARGIN = 640.0, 12.0, 30.0, 52.0
"""Pixels: the widest drawing, the widest column, between two rows, beside the rows."""
MOST_CHANNELS = 4096


class Cell(NamedTuple):
    """Where a convolution stands: how coarse its result is, and how many lie before it."""

    stride: float
    depth: int


@dataclass(frozen=True)
class Flow:
    """How a signal passes through the convolutions of a network.

    Parameters
    ----------
    channels : mapping of Cell to int
        Channels that the convolutions at the same place make together.
    links : set of (Cell, Cell)
        Which results go into which convolutions, left out where a row of neighbours leads
        from one to the other. The image is ``Cell(1, 0)``, the logits ``Cell(1, depth + 1)``.
    """

    channels: dict[Cell, int]
    links: frozenset[tuple[Cell, Cell]]

    @property
    def depth(self) -> int:
        """Convolutions on the longest way."""
        return max(cell.depth for cell in self.channels)


def trace(network: nn.Module, in_channels: int) -> Flow:
    """Follow a pass through a network on the meta device, in evaluation mode."""
    divisor: tuple[int, ...] = network.divisor  # type: ignore[assignment]
    length = math.ceil(LENGTH[len(divisor)] / max(divisor)) * max(divisor)
    image = torch.empty((1, in_channels, *(length,) * len(divisor)), device="meta")
    tracer = _Tracer(image, max(divisor))
    with torch.no_grad(), tracer:
        logits = network.eval()(image)
    end = Cell(1, 1 + max(cell.depth for cell in tracer.channels))
    links = tracer.links | {(tracer.cells[n], end) for n in tracer.origins[id(logits)]}
    seen = {*tracer.channels, Cell(1, 0)}
    return Flow(
        dict(tracer.channels), frozenset((a, b) for a, b in links if not _in_row(a, b, seen))
    )


def _in_row(first: Cell, last: Cell, cells: Container[Cell]) -> bool:
    """Whether neighbours in a row lead from one cell to the other."""
    return first.stride == last.stride and all(
        Cell(first.stride, n) in cells for n in range(first.depth + 1, last.depth)
    )


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Numbers the convolutions and notes where their inputs come from; 0 is the image."""

    def __init__(self, image: Tensor, coarsest: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cells = [Cell(1, 0)]
        self.channels: Counter[Cell] = Counter()
        self.links: set[tuple[Cell, Cell]] = set()
        self.origins = {id(image): frozenset({0})}
        self._ndim, self._length, self._coarsest = image.ndim, image.shape[-1], coarsest
        self._leading: list[frozenset[int]] = [frozenset()]
        """Per convolution, those whose result came to it by its own row alone."""
        self._kept: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        origins = frozenset[int]().union(*(self.origins.get(id(t), ()) for t in inputs))
        if func.overloadpacket is torch.ops.aten.convolution and origins:
            origins = frozenset({self._add(self._stride(result), result.shape[1], origins)})
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.origins[id(tensor)] = self._nearest(origins, self._stride(tensor))
                self._kept.append(tensor)
        return result

    def _stride(self, tensor: Tensor) -> float:
        stride = self._length / tensor.shape[-1] if tensor.ndim == self._ndim else POOLED
        return stride if stride <= self._coarsest else POOLED

    def _nearest(self, numbers: frozenset[int], stride: float) -> frozenset[int]:
        """Leave out convolutions whose result has come to another one along its row."""
        last = [n for n in numbers if self.cells[n].stride == stride]
        return numbers.difference(*(self._leading[n] for n in last))

    def _add(self, stride: float, channels: int, origins: frozenset[int]) -> int:
        cell = Cell(stride, 1 + max(self.cells[n].depth for n in origins))
        in_row = [n for n in origins if self.cells[n].stride == cell.stride]
        self._leading.append(origins.union(*(self._leading[n] for n in in_row)))
        self.links |= {(self.cells[n], cell) for n in origins}
        self.channels[cell] += channels
        self.cells.append(cell)
        return len(self.cells) - 1


def draw_network(name: str) -> str:
    """Draw a network of the zoo, of one channel and two classes, as an SVG element.

    Columns are convolutions in the order in which a signal passes through them, rows are
    resolutions, the height of a bar grows with the square root of the number of channels, and
    lines lead from one row to another or past what lies between. Grey are image and logits.
    """
    spec = get_spec(name)
    with torch.device("meta"):
        network = build_network(name, ndim=spec.ndims[0], in_channels=1, num_classes=2, options={})
    return draw(trace(network, 1), spec.title)


def draw(flow: Flow, title: str) -> str:
    """Draw a pass as an SVG element; see `draw_network`."""
    rows = {stride: n for n, stride in enumerate(sorted({c.stride for c in flow.channels} | {1}))}
    step = min(STEP, WIDTH / (flow.depth + 2))
    gap = 0.25 * step if step > 4 else 0.0

    def x(depth: int) -> float:
        return MARGIN + depth * step

    def y(stride: float) -> float:
        return PITCH * (rows[stride] + 0.6)

    def bar(cell: Cell, half: float) -> str:
        top = f"M{x(cell.depth):.1f} {y(cell.stride) - half:.1f}h{step - gap:.1f}"
        return f"{top}v{2 * half:.1f}h{gap - step:.1f}z"

    bars = "".join(bar(cell, _half(n)) for cell, n in sorted(flow.channels.items()))
    ends = bar(Cell(1, 0), 6) + bar(Cell(1, flow.depth + 1), 6)
    lines = "".join(
        f"M{x(a.depth + 1) - gap:.1f} {y(a.stride):.1f}L{x(b.depth):.1f} {y(b.stride):.1f}"
        for a, b in sorted(flow.links)
    )
    labels = "".join(
        f'<text x="{MARGIN - 12:.0f}" y="{y(stride) + 3.5:.1f}" text-anchor="end">'
        f"{_resolution(stride)}</text>"
        for stride in rows
    )
    width, height = x(flow.depth + 2), PITCH * (len(rows) + 0.2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" font-size="10" '
        f'font-family="sans-serif" fill="currentColor" style="max-width: 100%">'
        f"<title>{escape(title)}</title>{labels}"
        f'<path d="{lines}" fill="none" stroke="currentColor" stroke-opacity="0.45"/>'
        f'<path d="{ends}" fill-opacity="0.3"/><path d="{bars}" fill="#009688"/></svg>'
    )


def _half(channels: int) -> float:
    """Half the height of a bar."""
    return 1 + 0.42 * PITCH * math.sqrt(min(channels, MOST_CHANNELS) / MOST_CHANNELS)


def _resolution(stride: float) -> str:
    return "pooled" if stride == POOLED else "1" if stride == 1 else f"1/{stride:g}"

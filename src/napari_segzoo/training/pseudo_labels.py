"""What a network makes of its own training images: a target where nothing is drawn.

A network reads thin structures better when they are enlarged. So it looks at the training images
enlarged, from time to time, and what it then says is what it should say of any patch cut from
them, however turned, shrunk and changed in intensity (self-training with agreement between
augmentations: Lee 2013, ICML workshop on challenges in representation learning; Sohn et al. 2020,
NeurIPS, arXiv:2001.07685).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inference.tiling import round_up
from .data import TrainingImage
from .step import find_memory_format

ZOOMS = (1, 2)
"""What it says at each of them is averaged."""
LEAST_WAIT, WAIT = 16, 1 / 3
"""Steps to the first look and from one to the next, at least, and as a share of those done."""
ROOM = 1 << 19
"""Voxels after which a look ends."""
WINDOW, CONTEXT = 256, 32
"""Side of what is looked at in one piece, and how far beyond it the network sees."""


class PseudoLabels:
    """Keeps the class probabilities of training images.

    Parameters
    ----------
    items : sequence of TrainingImage
        The images.
    count : int
        Number of classes, K.
    divisor : sequence of int
        What the sizes of an input of the network have to be multiples of.
    precision : torch.dtype
        Of forward passes.
    step : int
        Steps that the network was trained before, on other drawings.
    """

    def __init__(
        self,
        items: Sequence[TrainingImage],
        count: int,
        divisor: Sequence[int],
        precision: torch.dtype,
        step: int = 0,
    ) -> None:
        self._divisor, self._precision = divisor, precision
        self._begun = step
        self._due = max(step, LEAST_WAIT)
        nothing = [np.zeros((count, *item.target.shape), np.float32) for item in items]
        self.items = [
            replace(item, guess=torch.from_numpy(guess))
            for item, guess in zip(items, nothing, strict=True)
        ]
        self._windows = [(n, w) for n, item in enumerate(self.items) for w in _windows(item)]
        self._next = 0

    def due(self, step: int) -> bool:
        """Tell whether it is time for a look after a step."""
        return step >= self._due

    def look(
        self, step: int, network: nn.Module, device: torch.device, stop: Callable[[], bool]
    ) -> None:
        """Renew the probabilities of as many windows as there is room for, the oldest first.

        Parameters
        ----------
        step : int
            Steps done.
        network : Module
            In evaluation mode, on `device`.
        device : torch.device
        stop : callable
            Asked before each window whether to leave it at that.
        """
        self._due = step + max(LEAST_WAIT, round(WAIT * (step - self._begun)))
        seen = 0
        for _ in self._windows:
            if stop() or seen >= ROOM:
                break
            n, window = self._windows[self._next % len(self._windows)]
            self._next += 1
            self._look_at(self.items[n], window, network, device)
            seen += int(np.prod([s.stop - s.start for s in window]))

    @torch.inference_mode()
    def _look_at(
        self,
        item: TrainingImage,
        window: tuple[slice, ...],
        network: nn.Module,
        device: torch.device,
    ) -> None:
        assert item.guess is not None
        around = [
            slice(max(0, s.start - CONTEXT), min(n, s.stop + CONTEXT))
            for s, n in zip(window, item.target.shape, strict=True)
        ]
        x = item.image[(slice(None), *around)][None].to(device)
        p = torch.stack([self._classify(network, x, zoom) for zoom in ZOOMS]).mean(dim=0)
        inner = [
            slice(s.start - a.start, s.stop - a.start) for s, a in zip(window, around, strict=True)
        ]
        item.guess[(slice(None), *window)] = p[0][(slice(None), *inner)].cpu()

    def _classify(self, network: nn.Module, x: Tensor, zoom: int) -> Tensor:
        """Return the class probabilities of (1, C, [Z,] Y, X), looked at enlarged."""
        layout = find_memory_format(x.ndim - 2, x.device)
        mode = "bilinear" if x.ndim == 4 else "trilinear"
        enlarged = F.interpolate(x, scale_factor=float(zoom), mode=mode)
        size = enlarged.shape[2:]
        beyond = [round_up(n, d) - n for n, d in zip(size, self._divisor, strict=True)]
        pad = [p for n in reversed(beyond) for p in (0, n)]
        enlarged = F.pad(enlarged, pad, mode="replicate").contiguous(memory_format=layout)
        with torch.autocast(
            x.device.type, self._precision, enabled=self._precision != torch.float32
        ):
            logits = network(enlarged)
        inside = [slice(0, n) for n in size]
        p = torch.softmax(logits.float()[(slice(None), slice(None), *inside)], dim=1)
        return F.interpolate(p, scale_factor=1 / zoom, mode="area")


def _windows(item: TrainingImage) -> list[tuple[slice, ...]]:
    """Cut an image into windows of nearly the same size."""
    edges = []
    for n in item.target.shape:
        cuts = np.linspace(0, n, -(-n // WINDOW) + 1).round().astype(int)
        edges.append([slice(int(a), int(b)) for a, b in pairwise(cuts)])
    return list(product(*edges))

"""One forward pass over a batch of tiles: intensities in, class probabilities out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Forward = Callable[[NDArray[np.float32]], Tensor]


def make_forward(
    network: nn.Module, *, ndim: int, device: torch.device, precision: torch.dtype, tta: bool
) -> Forward:
    """Prepare a network for inference.

    Parameters
    ----------
    network : torch.nn.Module
        Copied, so that the caller's stays where it is.
    ndim : int
        Spatial dimensions.
    device, precision
        Where and in which data type it runs.
    tta : bool
        Average the probabilities over all mirrored versions of the tile.

    Returns
    -------
    callable
        Maps normalised float32 tiles (N, C, [Z,] Y, X) to probabilities (N, K, [Z,] Y, X),
        a float32 tensor on `device`.
    """
    layout = torch.channels_last if ndim == 2 else torch.channels_last_3d
    if device.type == "mps":
        layout = torch.contiguous_format
    network = copy.deepcopy(network).eval().to(device).to(memory_format=layout)
    spatial = range(2, 2 + ndim)
    mirrors = [list(m) for n in range(ndim + 1 if tta else 1) for m in combinations(spatial, n)]

    def probabilities(x: Tensor) -> Tensor:
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits = network(x)
        return torch.softmax(logits.float(), dim=1)

    def forward(tiles: NDArray[np.float32]) -> Tensor:
        with torch.inference_mode():
            x = (
                torch.from_numpy(tiles)
                .to(device, non_blocking=True)
                .contiguous(memory_format=layout)
            )
            if mirrors == [[]]:
                return probabilities(x)
            total = torch.zeros(())
            for axes in mirrors:
                total = total.to(device) + probabilities(x.flip(axes)).flip(axes)
            return total / len(mirrors)

    return forward


def to_labels(scores: Tensor, *, foreground_only: bool) -> NDArray[Any]:
    """Turn probabilities (K, ...) into label values (...), uint8 or, above 256 classes, uint16.

    With `foreground_only` the label is 1 wherever the most probable class is not 0.
    """
    labels = scores.argmax(dim=0)
    if foreground_only:
        labels = labels > 0
    if scores.shape[0] <= 256:
        small: NDArray[Any] = labels.to(torch.uint8).cpu().numpy()
        return small
    wide: NDArray[Any] = labels.to(torch.int32).cpu().numpy()
    return wide.astype(np.uint16)

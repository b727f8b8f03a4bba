"""One forward pass over a batch of tiles: intensities in, class probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .fold import fold_normalization
from .onednn import convolve_by_onednn

Forward = Callable[[NDArray[np.float32]], Tensor]
Engine = Callable[[Tensor], Tensor]
"""Maps tiles (N, C, [Z,] Y, X) on a device to logits (N, K, [Z,] Y, X)."""


def make_forward(
    network: nn.Module,
    *,
    shape: Sequence[int],
    device: torch.device,
    precision: torch.dtype,
    engine: str,
    tta: bool,
) -> Forward:
    """Prepare a network for inference.

    Parameters
    ----------
    network : torch.nn.Module
        Neither moved nor changed.
    shape : sequence of int
        Of a batch of tiles, (N, C, [Z,] Y, X).
    device, precision
        Where and in which data type it runs.
    engine : {"torch", "openvino"}
        What executes it.
    tta : bool
        Average the probabilities over all mirrored versions of the tile.

    Returns
    -------
    callable
        Maps normalised float32 tiles (N, C, [Z,] Y, X) to probabilities (N, K, [Z,] Y, X),
        a float32 tensor on `device`.

    Raises
    ------
    ConversionError
        If OpenVINO does not know an operation of the network.
    """
    if engine == "openvino":
        from .openvino_engine import openvino_engine

        compute = openvino_engine(network, shape, precision)
    else:
        compute = torch_engine(network, shape, device, precision)
    spatial = range(2, len(shape))
    mirrors = [
        list(m) for n in range(len(spatial) + 1 if tta else 1) for m in combinations(spatial, n)
    ]

    def probabilities(x: Tensor) -> Tensor:
        return torch.softmax(compute(x).float(), dim=1)

    def forward(tiles: NDArray[np.float32]) -> Tensor:
        with torch.inference_mode():
            x = _send(tiles, device)
            total = probabilities(x)
            for axes in mirrors[1:]:
                total += probabilities(x.flip(axes)).flip(axes)
            return total.div_(len(mirrors)) if tta else total

    return forward


def torch_engine(
    network: nn.Module, shape: Sequence[int], device: torch.device, precision: torch.dtype
) -> Engine:
    """Run a network through PyTorch: normalisation folded, channels last, oneDNN."""
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    if device.type == "mps":
        layout = torch.contiguous_format
    network = fold_normalization(network, shape[1], shape[2:])
    network = network.to(device).to(memory_format=layout)
    if device.type == "cpu" and precision in (torch.float32, torch.bfloat16):
        network = convolve_by_onednn(network, precision)

    def compute(x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=layout)
        with _convolutions(device), _autocast(device, precision):
            logits: Tensor = network(x)
        return logits

    return compute


def _send(tiles: NDArray[np.float32], device: torch.device) -> Tensor:
    """Copy tiles to a device, to a GPU from pinned memory and without waiting for it."""
    x = torch.from_numpy(tiles)
    if device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def _autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def _convolutions(device: torch.device) -> AbstractContextManager[Any]:
    """Let cuDNN choose the fastest algorithm for the tile, but never round float32 to TF32."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)


def to_labels(scores: Tensor, *, foreground_only: bool) -> NDArray[Any]:
    """Turn probabilities (K, ...) into label values (...), uint8 or, above 256 classes, uint16.

    The label is the first of the most probable classes; with `foreground_only` it is 1 wherever
    that class is not 0.
    """
    dtype = np.uint8 if scores.shape[0] <= 256 else np.uint16
    if scores.device.type == "cpu":
        labels = _first_largest(scores.numpy(), dtype)
    else:
        sent = torch.uint8 if dtype == np.uint8 else torch.int32
        labels = scores.argmax(dim=0).to(sent).cpu().numpy().astype(dtype, copy=False)
    return (labels > 0).astype(np.uint8) if foreground_only else labels


def _first_largest(scores: NDArray[np.float32], dtype: type) -> NDArray[Any]:
    """Argmax over the first axis, some hundred times faster than PyTorch's on the CPU."""
    best = scores[0]
    labels = np.zeros(best.shape, dtype)
    for k in range(1, len(scores)):
        np.maximum(labels, (scores[k] > best) * dtype(k), out=labels)
        best = np.maximum(best, scores[k])
    return labels

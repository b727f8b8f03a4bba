"""Tiled inference by other libraries, each called as its documentation does.

Every function takes a network, a normalised image (C, [Z,] Y, X) as float32, the number of
classes, tile and overlap, and returns a function that computes labels ([Z,] Y, X).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Run = Callable[[], NDArray]
PACKAGES = {"MONAI": "monai", "nnU-Net": "nnunetv2", "tiler": "tiler"}


def missing() -> list[str]:
    """Name the peers that are not installed."""
    return [name for name, package in PACKAGES.items() if find_spec(package) is None]


def channels_last(ndim: int) -> torch.memory_format:
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


def gaussian(tile: tuple[int, ...]) -> Tensor:
    """Return the weights of our Gaussian blend, scaled so that no library raises the smallest."""
    weights = torch.ones((), dtype=torch.float64)
    for n in tile:
        offsets = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / (n / 8)
        weights = weights[..., None] * torch.exp(-(offsets**2) / 2).clamp(min=1e-3) * 1e3
    return weights.float()


def monai(
    network: nn.Module,
    image: NDArray[np.float32],
    tile: tuple[int, ...],
    overlap: float,
    *,
    best_layout: bool = True,
    bfloat16: bool = False,
    probabilities: bool = False,
    weights: Tensor | None = None,
) -> Run:
    """MONAI with tiles one by one; its argmax is NumPy's, faster than PyTorch's on CPUs.

    `probabilities` and `weights` make it blend what we blend, with our weights.
    """
    from monai.inferers import sliding_window_inference

    layout = channels_last(len(tile)) if best_layout else torch.contiguous_format
    network = copy.deepcopy(network).to(memory_format=layout)
    x = torch.from_numpy(image)[None].contiguous(memory_format=layout)

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = network(x)
        return logits.softmax(1) if probabilities else logits.float()

    def run() -> NDArray:
        with torch.inference_mode():
            scores = sliding_window_inference(
                x, tile, 1, forward, overlap=overlap, mode="gaussian", roi_weight_map=weights
            )
        return scores[0].numpy().argmax(0)

    return run


def nnunet(
    network: nn.Module, image: NDArray[np.float32], classes: int, tile: tuple[int, ...], step: float
) -> Run:
    """nnU-Net's predictor without mirroring; `step` is 1 - overlap, by default 0.5."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    predictor = nnUNetPredictor(
        tile_step_size=step,
        use_mirroring=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.network = copy.deepcopy(network)
    predictor.list_of_parameters = [network.state_dict()]
    predictor.configuration_manager = SimpleNamespace(patch_size=tile)
    predictor.label_manager = LabelManager(
        {"background": 0} | {f"{k}": k for k in range(1, classes)}, None
    )
    data = torch.from_numpy(image if image.ndim == 4 else image[:, None])

    def run() -> NDArray:
        logits = predictor.predict_logits_from_preprocessed_data(data)
        labels = predictor.label_manager.convert_logits_to_segmentation(logits)
        return labels.numpy().reshape(image.shape[1:])

    return run


def tiler(
    network: nn.Module,
    image: NDArray[np.float32],
    classes: int,
    tile: tuple[int, ...],
    overlap: float,
) -> Run:
    """Tiles by tiler, with our Gaussian weights, around the network in its best layout."""
    from tiler import Merger, Tiler

    layout = channels_last(len(tile))
    network = copy.deepcopy(network).to(memory_format=layout)
    channels = len(image)
    window = np.broadcast_to(gaussian(tile).numpy(), (1, *tile)).copy()

    def run() -> NDArray:
        cut = Tiler(image.shape, (channels, *tile), overlap=overlap, channel_dimension=0)
        joined = Merger(
            Tiler((1, *image.shape[1:]), (1, *tile), overlap=overlap, channel_dimension=0),
            window=window,
            logits=classes,
        )
        with torch.inference_mode():
            for number, block in cut(image):
                x = torch.from_numpy(block)[None].contiguous(memory_format=layout)
                joined.add(number, network(x)[0][:, None].numpy())
        return joined.merge(argmax=True)[0]

    return run

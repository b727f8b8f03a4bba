"""Small models and images that the tests share."""

import numpy as np
import torch

from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes
from napari_segzoo.preprocess import Normalization

AS_IS = Normalization("range", 0.0, 1.0)


def tiny_model(
    ndim=2, in_channels=1, classes=3, *, task="semantic", normalization=AS_IS, seed=0, **options
):
    """A U-Net with random weights whose logits vary enough for all classes to occur."""
    torch.manual_seed(seed)
    options = {"widths": (4, 8), **options}
    info = ModelInfo(
        "unet", ndim, in_channels, default_classes(classes), options, task, normalization
    )
    model = SegmentationModel.create(info)
    model.network.eval()
    with torch.no_grad():
        head = model.network.head
        head.weight.mul_(8)
        logits = model.network(torch.rand(1, in_channels, *(32,) * ndim))
        head.bias.sub_(logits.mean([0, *range(2, 2 + ndim)]))
    return model


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def squares(size=96, seed=0, ndim=2):
    """Bright blocks on a dark, noisy ground: (image uint8, foreground bool)."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((size,) * ndim, bool)
    for _ in range(6):
        corner = rng.integers(4, size - 24, ndim)
        truth[tuple(slice(c, c + 16) for c in corner)] = True
    image = np.where(truth, 180, 60) + rng.normal(0, 12, truth.shape)
    return image.clip(0, 255).astype(np.uint8), truth


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


class Watched:
    """An array that records the largest region anyone has read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.ndim = array.ndim
        self.largest = self.total = 0

    def __getitem__(self, where):
        block = self.array[where]
        self.largest = max(self.largest, block.size)
        self.total += block.size
        return block

"""Random crops of labelled images, resized and mirrored, in an order that a seed fixes.

The crop at a position of an epoch depends on seed, epoch and position alone. A training that
goes on after an interruption, or that is shared by several processes, therefore sees the
same crops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil, prod
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..axes import find_layout
from ..errors import InputError
from ..preprocess import Normalization
from .data import IGNORE
from .dataset import Dataset, Sample
from .survey import Survey, open_sample, read_values

Labelled = tuple[Tensor, Tensor]
"""Image (C, [Z,] Y, X) float32, normalised, and target ([Z,] Y, X) int16."""

FOREGROUND_SHARE = 1 / 3
"""Crops placed on a voxel of a class drawn evenly from those in the image."""
AHEAD = 3
"""Batches that are prepared while one is trained on."""


@dataclass
class Reader:
    """Reads samples, and keeps those that fit into memory.

    Parameters
    ----------
    dataset, survey
        What there is.
    normalization : Normalization
        Measured over each image.
    room : int
        Bytes that kept images may take.
    """

    dataset: Dataset
    survey: Survey
    normalization: Normalization
    room: int
    _kept: dict[Sample, list[Labelled]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def read(self, sample: Sample) -> list[Labelled]:
        """Return the images in a file: one per index of the axes that the model does not see."""
        if sample in self._kept:
            return self._kept[sample]
        found = self._open(sample)
        size = sum(t.nbytes for pair in found for t in pair)
        with self._lock:
            if size <= self.room and sample not in self._kept:
                self._kept[sample] = found
                self.room -= size
        return found

    def _open(self, sample: Sample) -> list[Labelled]:
        image = open_sample(sample, self.dataset.channels, self.survey.axes)
        layout = find_layout(
            image.shape, image.axes, ndim=self.survey.ndim, in_channels=self.survey.in_channels
        )
        try:
            intensity = self.normalization.measure(image.data, layout.channel_axis)
        except InputError as error:
            raise InputError(f"{sample.image}: {error}") from error
        labels = self.survey.labels
        target = labels.to_target(read_values(sample, labels.ignore))
        whole = tuple(slice(0, n) for n in layout.spatial_shape)
        return [
            (
                torch.from_numpy(intensity.apply(layout.read(image.data, leading, whole))),
                torch.from_numpy(np.ascontiguousarray(target[leading])),
            )
            for leading in np.ndindex(*layout.leading_shape)
        ]


@dataclass(frozen=True)
class CropOptions:
    """How crops are taken.

    Parameters
    ----------
    size : tuple of int
        Along the spatial axes.
    resize : (float, float)
        Images are resized by a random factor from this range.
    mirrored : tuple of int
        Spatial axes along which crops are mirrored at random.
    foreground : float
        Share of crops placed on a voxel of a class drawn evenly from those in the image.
    """

    size: tuple[int, ...]
    resize: tuple[float, float]
    mirrored: tuple[int, ...]
    foreground: float


def crop_options(
    dataset: Dataset, found: Survey, size: tuple[int, ...], resize: tuple[float, float]
) -> CropOptions:
    """Choose what suits photographs, scans of bodies, or images in which objects lie anyhow."""
    if dataset.photographs:
        return CropOptions(size, resize, (len(size) - 1,), 0.0)
    mirrored = () if found.body_scans else tuple(range(len(size)))
    return CropOptions(size, resize, mirrored, FOREGROUND_SHARE)


def take_crop(pair: Labelled, options: CropOptions, rng: np.random.Generator) -> Labelled:
    """Cut a random crop.

    Returns
    -------
    image : Tensor of float32, (C, *size)
        0 beyond the borders of the image.
    target : Tensor of int64, size
        `IGNORE` beyond them.
    """
    image, target = pair
    scale = rng.uniform(*options.resize)
    window = [max(1, ceil(n / scale)) for n in options.size]
    spare = [n - w for n, w in zip(target.shape, window, strict=True)]
    low, high = np.minimum(spare, 0), np.maximum(spare, 0)
    start = rng.integers(low, high + 1)
    if rng.random() < options.foreground:
        voxel = _pick_voxel(target, rng)
        if voxel is not None:
            start = np.clip(voxel - rng.integers(0, window), low, high)
    image, target = _cut(image, start, window, 0.0), _cut(target, start, window, IGNORE)
    if list(options.size) != window:
        image, target = _resize(image, target, options.size)
    axes = [a for a in options.mirrored if rng.random() < 0.5]
    return image.flip([a + 1 for a in axes]), target.flip(axes).long()


def _pick_voxel(target: Tensor, rng: np.random.Generator) -> np.ndarray | None:
    values = target.numpy()
    classes = np.unique(values)
    classes = classes[classes != IGNORE]
    if not classes.size:
        return None
    places = np.flatnonzero(values == rng.choice(classes))
    return np.array(np.unravel_index(rng.choice(places), values.shape))


def _cut(tensor: Tensor, start: np.ndarray, window: Sequence[int], outside: float) -> Tensor:
    """Cut a window along the last axes; what lies beyond the tensor is filled."""
    sizes = tensor.shape[-len(window) :]
    inside, pad = [], []
    for a, w, n in zip(start.tolist(), window, sizes, strict=True):
        inside.append(slice(max(a, 0), min(a + w, n)))
        pad.append((max(-a, 0), max(a + w - n, 0)))
    flat = [p for pair in reversed(pad) for p in pair]
    part = tensor[(slice(None),) * (tensor.ndim - len(window)) + tuple(inside)]
    return F.pad(part, flat, value=outside)


def _resize(image: Tensor, target: Tensor, size: tuple[int, ...]) -> Labelled:
    flat = len(size) == 2
    resized = F.interpolate(
        image[None],
        size=size,
        mode="bilinear" if flat else "trilinear",
        align_corners=False,
        antialias=flat,
    )
    nearest = F.interpolate(target[None, None].float(), size=size, mode="nearest-exact")
    return resized[0], nearest[0, 0].to(target.dtype)


class Epochs:
    """The crops of all epochs.

    An epoch has as many crops as it takes to cover the training images once, rounded up to
    whole batches; a large image gives more than a small one.

    Parameters
    ----------
    reader : Reader
        Where images come from.
    options : CropOptions
        How crops are taken.
    batch : int
        Crops per step, all processes together.
    seed : int
        Fixes everything.
    rank, processes : int
        Which of how many processes this is; it gets every `processes`-th crop of a batch.
    """

    def __init__(
        self,
        reader: Reader,
        options: CropOptions,
        batch: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.reader, self.options, self.seed = reader, options, seed
        self.batch, self.rank, self.processes = batch, rank, processes
        self._items = [
            (number, index)
            for number, (leading, spatial) in enumerate(reader.survey.shapes)
            for index in range(prod(leading))
            for _ in range(max(1, round(prod(spatial) / prod(options.size))))
        ]
        self.steps = ceil(len(self._items) / batch)

    def batches(self, first: int, readers: int) -> Generator[Labelled, None, None]:
        """Yield images (N, C, ...) and targets (N, ...) from step `first` on, without end."""
        pool = ThreadPoolExecutor(readers)
        pending: deque[list[Future[Labelled]]] = deque()
        try:
            step = first
            while True:
                while len(pending) <= AHEAD:
                    pending.append([pool.submit(self.crop, *at) for at in self.positions(step)])
                    step += 1
                crops = [future.result() for future in pending.popleft()]
                yield torch.stack([c[0] for c in crops]), torch.stack([c[1] for c in crops])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def positions(self, step: int) -> list[tuple[int, int]]:
        """Epoch and position in it of the crops that this process gets at a step."""
        epoch, number = divmod(step, self.steps)
        start = number * self.batch
        return [(epoch, p) for p in range(start + self.rank, start + self.batch, self.processes)]

    def crop(self, epoch: int, position: int) -> Labelled:
        """Return one crop."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self._items))
        number, index = self._items[order[position % len(order)]]
        pair = self.reader.read(self.reader.dataset.training[number])[index]
        rng = np.random.default_rng((self.seed, epoch, position))
        return take_crop(pair, self.options, rng)

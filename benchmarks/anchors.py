"""Score what few-shot training has to beat, and what it should come near, on its tasks.

usage: python benchmarks/anchors.py TASKS [TASKS ...] [--ways forest plain full] [--data DATA]
       [--budget 60] [--full-budget 600]

TASKS and the score are those of few_shot.py. "forest" is a random forest on filtered intensities,
as in ilastik, "plain" a U-Net trained on the strokes in the usual way for the budget, "full" our
own training from scratch on all labels of the images that DATA has for training (nuclei2d/ and
axon_sem/, each with index.csv, train/images and train/labels).
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from few_shot import mean_dice
from skimage.feature import multiscale_basic_features
from torch.nn import functional as F

import napari_segzoo as segzoo
from napari_segzoo.preprocess import Normalization

SETS = {
    "axon": ("axon_sem", None),
    "fluorescence": ("nuclei2d", "fluorescence"),
    "histology": ("nuclei2d", "histology_purple"),
}
"""Data set and kind of image behind each task."""
CROP, BATCH, RATE = 256, 4, 1e-3


def read(folder, labels=False):
    return [
        np.asarray(segzoo.open_image(path, labels=labels).data[:])
        for path in sorted(folder.glob("*.tif"))
    ]


def forest(task, seed, arguments):
    """Random forest with 100 trees, Gaussian, edge and texture filters of 0.5 to 16 pixels."""
    from sklearn.ensemble import RandomForestClassifier

    strokes = read(task / "scribbles", labels=True)
    seen = [filtered(i)[s > 0] for i, s in zip(read(task / "images"), strokes, strict=True)]
    known = [s[s > 0] for s in strokes]
    trees = RandomForestClassifier(100, n_jobs=-1, random_state=seed)
    trees.fit(np.concatenate(seen), np.concatenate(known))

    def predict(image):
        values = filtered(image)
        found = trees.predict(values.reshape(-1, values.shape[-1]))
        return found.reshape(image.shape[:2]) - 1

    return predict


def filtered(image):
    values = image.astype(np.float32)
    values = (values - values.min()) / max(float(np.ptp(values)), 1e-6)
    channels = -1 if image.ndim == 3 else None
    return multiscale_basic_features(values, sigma_min=0.5, sigma_max=16, channel_axis=channels)


def plain(task, seed, arguments):
    """U-Net of widths 16 to 256: Adam, cross-entropy on what is drawn, turned random crops."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    images = [normalised(i) for i in read(task / "images")]
    strokes = [torch.from_numpy(s.astype(np.int64)) for s in read(task / "scribbles", labels=True)]
    channels, classes = images[0].shape[0], max(int(s.max()) for s in strokes)
    network = segzoo.create_model(
        "unet", ndim=2, in_channels=channels, num_classes=classes, widths=(16, 32, 64, 128, 256)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    start = time.monotonic()
    while time.monotonic() - start < arguments.budget:
        crops = [random_crop(images, strokes, rng) for _ in range(BATCH)]
        x, drawn = (torch.stack(part) for part in zip(*crops, strict=True))
        loss = F.cross_entropy(network(x), drawn - 1, ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()

    def predict(image):
        x = normalised(image)[None]
        sides = [-n % 16 for n in x.shape[2:]]
        padded = F.pad(x, (0, sides[1], 0, sides[0]), mode="replicate")
        with torch.inference_mode():
            found = network(padded).argmax(1)[0].numpy()
        return found[: image.shape[0], : image.shape[1]]

    return predict


def normalised(image):
    channel_axis = 2 if image.ndim == 3 else None
    values = np.moveaxis(np.atleast_3d(image), 2, 0)
    return torch.from_numpy(Normalization().measure(image, channel_axis).apply(values))


def random_crop(images, strokes, rng):
    """Cut a square around a drawn pixel, mirrored and turned by quarters at random."""
    n = rng.integers(len(images))
    drawn = np.argwhere(strokes[n].numpy() > 0)
    middle = drawn[rng.integers(len(drawn))]
    sides = [min(CROP, s) for s in strokes[n].shape]
    start = [
        int(np.clip(m - rng.integers(side), 0, size - side))
        for m, side, size in zip(middle, sides, strokes[n].shape, strict=True)
    ]
    region = (..., *(slice(a, a + side) for a, side in zip(start, sides, strict=True)))
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    crops = [torch.rot90(part[region], turns, (-2, -1)) for part in (images[n], strokes[n])]
    return [part.flip(-1) if mirrored else part for part in crops]


def full(task, seed, arguments):
    """Our training from scratch on all labels of all training images."""
    images, labels = [], []
    for image, values in training_pairs(arguments.data, *SETS[task.name]):
        images.append(image)
        labels.append(values)
    *_, last = segzoo.finetune(
        images, labels, unlabeled="background", budget=arguments.full_budget, seed=seed
    )
    return lambda image: segzoo.predict(last.model, image)


def training_pairs(data, name, modality):
    folder = data / name
    for row in csv.DictReader((folder / "index.csv").open()):
        if row["split"] == "train" and modality in (None, row["modality"]):
            stem = folder / "train"
            image = segzoo.open_image(stem / "images" / f"{row['name']}.png")
            labels = segzoo.open_image(stem / "labels" / f"{row['name']}.tif", labels=True)
            values = np.asarray(labels.data[:])
            yield image, values if modality is None else (values > 0).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path, nargs="+")
    parser.add_argument("--ways", nargs="+", default=["forest", "plain"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--full-budget", type=float, default=600)
    arguments = parser.parse_args()
    ways = {"forest": forest, "plain": plain, "full": full}
    print("| task | way | seed | Dice |\n|---|---|---|---|", flush=True)
    for way in arguments.ways:
        for name in sorted({p.name for tasks in arguments.tasks for p in tasks.iterdir()}):
            for seed, tasks in enumerate(arguments.tasks):
                predict = ways[way](tasks / name, seed, arguments)
                tests = zip(
                    read(tasks / name / "test_images"),
                    read(tasks / name / "test_labels", labels=True),
                    strict=True,
                )
                dice = np.mean([mean_dice(truth, predict(image)) for image, truth in tests])
                print(f"| {name} | {way} | {seed} | {dice:.3f} |", flush=True)


if __name__ == "__main__":
    main()

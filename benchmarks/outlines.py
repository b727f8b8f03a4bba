"""Score fine-tuning on a few outlined nuclei, through the command line, as a table.

usage: python benchmarks/outlines.py DATA [--base nuclei] [--budget 60] [--seeds 0 1 2] [--missed]

DATA is as for `scripts/train_nuclei.py`. Each seed draws two other fluorescence images of train/
and 20 nuclei in them, 8 to 12 in each; the other nuclei are left undrawn. The score is the AP at
IoU 0.5 (TP / (TP + FP + FN)), pooled over the fluorescence images of val/. With --missed, up to 12
nuclei are outlined in each of two images of val/ that the base finds less than 30% of: in those
with the most of them by seed 0, in the next two by seed 1. Scored are the others, before and after.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from few_shot import call

import napari_segzoo as segzoo

NUCLEI = 20
MOST_MISSED, FOUND = 12, 0.3
Pairs = list[tuple[Path, np.ndarray]]


def fluorescence(data: Path, split: str) -> Iterator[tuple[Path, np.ndarray]]:
    for row in csv.DictReader((data / "index.csv").open()):
        if row["split"] == split and row["modality"] == "fluorescence":
            image = data / split / "images" / f"{row['name']}.png"
            yield image, tifffile.imread(data / split / "labels" / f"{row['name']}.tif")


def draw(data: Path, seed: int, folder: Path) -> list[str | Path]:
    """Write the outlined nuclei of two images; return the options that name them."""
    rng = np.random.default_rng(seed)
    images = [(image, ids) for image, ids in fluorescence(data, "train") if ids.max() >= NUCLEI]
    first = int(rng.integers(8, 13))
    options: list[str | Path] = []
    chosen = rng.choice(len(images), 2, replace=False)
    for number, count in zip(chosen, (first, NUCLEI - first), strict=True):
        image, ids = images[number]
        outlined = rng.choice(np.unique(ids)[1:], count, replace=False)
        labels = folder / f"{image.stem}.tif"
        tifffile.imwrite(labels, np.where(np.isin(ids, outlined), ids, 0).astype(np.uint16))
        options += ["--image", image, "--labels", labels]
    return options


def draw_missed(pairs: Pairs, base: str, seed: int, folder: Path) -> tuple[list[str | Path], Pairs]:
    """Write outlines of nuclei that the base misses; return the options, and the other images."""
    model = segzoo.load_model(base)
    missed = []
    for image, ids in pairs:
        found = segzoo.predict(model, image, output="instances") > 0
        size, covered = (
            np.bincount(ids[where].ravel(), minlength=ids.max() + 1) for where in (..., found)
        )
        missed.append([n for n in np.unique(ids)[1:] if covered[n] < FOUND * size[n]])
    order = np.argsort([-len(ids) for ids in missed], kind="stable").tolist()
    chosen = order[2 * seed : 2 * seed + 2]
    options: list[str | Path] = []
    for number in chosen:
        image, ids = pairs[number]
        labels = folder / f"{image.stem}.tif"
        outlined = np.isin(ids, missed[number][:MOST_MISSED])
        tifffile.imwrite(labels, np.where(outlined, ids, 0).astype(np.uint16))
        options += ["--image", image, "--labels", labels]
    return options, [pair for number, pair in enumerate(pairs) if number not in chosen]


def pooled_ap(pairs: Pairs, model: str | Path, folder: Path) -> float:
    """Return TP / (TP + FP + FN) at IoU 0.5 over all images."""
    images, results = folder / "images", folder / "results"
    images.mkdir(parents=True)
    for image, _ in pairs:
        (images / image.name).symlink_to(image.resolve())
    call("predict", model, images, results, "--output", "instances")
    matched = either = 0
    for image, ids in pairs:
        found = segzoo.open_image(results / f"{image.stem}.tif", labels=True).data[:]
        report = segzoo.evaluate(ids, found, task="instances")
        both = report["n_reference"] + report["n_prediction"]
        hits = round(report["f1"]["0.5"] * both / 2) if both else 0
        matched, either = matched + hits, either + both - hits
    return matched / max(either, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", default="nuclei")
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--missed", action="store_true")
    a = parser.parse_args()
    val = list(fluorescence(a.data, "val"))
    print("| seed | steps | AP@0.5 before | after |\n|---|---|---|---|", flush=True)
    for seed in a.seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model = folder / "model.safetensors"
            start = ["--task", "instances", "--base", a.base, "--seed", seed]
            scored = val
            if a.missed:
                outlined, scored = draw_missed(val, a.base, seed, folder)
            else:
                outlined = draw(a.data, seed, folder)
            record = call("finetune", model, *outlined, *start, "--budget", a.budget)
            before = pooled_ap(scored, a.base, folder / "before")
            after = pooled_ap(scored, model, folder / "after")
            print(f"| {seed} | {record['steps']} | {before:.3f} | {after:.3f} |", flush=True)


if __name__ == "__main__":
    main()

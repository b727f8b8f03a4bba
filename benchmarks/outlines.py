"""Score fine-tuning on a few outlined nuclei, through the command line, as a table.

usage: python benchmarks/outlines.py DATA [--base nuclei] [--budget 60] [--seeds 0 1 2]

DATA is as for `scripts/train_nuclei.py`. Each seed draws two other fluorescence images of train/
and 20 nuclei in them, 8 to 12 in each; the other nuclei are left undrawn. The score is the AP at
IoU 0.5 (TP / (TP + FP + FN)), pooled over the fluorescence images of val/.
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


def pooled_ap(data: Path, model: Path, folder: Path) -> float:
    """Return TP / (TP + FP + FN) at IoU 0.5 over all fluorescence images of val/."""
    pairs = list(fluorescence(data, "val"))
    images = folder / "images"
    images.mkdir()
    for image, _ in pairs:
        (images / image.name).symlink_to(image.resolve())
    call("predict", model, images, folder / "results", "--output", "instances")
    matched = either = 0
    for image, ids in pairs:
        found = segzoo.open_image(folder / "results" / f"{image.stem}.tif", labels=True).data[:]
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
    a = parser.parse_args()
    print("| seed | steps | AP@0.5 |\n|---|---|---|", flush=True)
    for seed in a.seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            model = folder / "model.safetensors"
            start = ["--task", "instances", "--base", a.base, "--seed", seed]
            outlined = draw(a.data, seed, folder)
            record = call("finetune", model, *outlined, *start, "--budget", a.budget)
            ap = pooled_ap(a.data, model, folder)
            print(f"| {seed} | {record['steps']} | {ap:.3f} |", flush=True)


if __name__ == "__main__":
    main()

"""Score fine-tuning in 3D on volumes with drawn slices, through the command line, as a table.

usage: python benchmarks/volumes.py DATA [--volumes 3] [--every 5] [--budget 180] [--seeds 0 1 2]
                                    [--base MODEL] [--again SECONDS ...]

DATA has train/ and val/ with images/ and labels/, .nii.gz of the same names. Each seed draws other
volumes of train/, and in each of them every so many slices as a whole (1: all). The score is the
mean over the volumes of val/ of the mean Dice of the foreground classes. With --again the model
then trains on from itself, on the same slices, and is scored once more, for each number of seconds.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from few_shot import call

import napari_segzoo as segzoo


def draw(labels, every, first, out):
    """Write every so many slices of a dense labels file: 0 not drawn, 1 background, 2, ..."""
    dense = np.asarray(segzoo.open_image(labels, labels=True).data[:])
    drawn = np.zeros(dense.shape, np.uint8)
    drawn[first::every] = dense[first::every] + 1
    tifffile.imwrite(out, drawn, compression="zlib")


def score(data, model, results):
    """Return the mean Dice of each class over the volumes of val/."""
    call("predict", model, data / "val" / "images", results)
    dice = []
    for path in sorted((data / "val" / "labels").glob("*.nii.gz")):
        truth = segzoo.open_image(path, labels=True)
        found = segzoo.open_image(results / path.name, labels=True)
        report = segzoo.evaluate(truth.data[:], found.data[:], surfaces=False)
        dice.append([d for name, d in report["dice"].items() if name not in ("0", "mean")])
    return np.mean(dice, axis=0)


def rounds(data, volumes, every, budgets, seed, base):
    """Yield the number of steps and the Dice of each class, after each training."""
    rng = np.random.default_rng(seed)
    names = sorted(p.name for p in (data / "train" / "images").glob("*.nii.gz"))
    with tempfile.TemporaryDirectory() as name:
        folder, drawn = Path(name), []
        for name in rng.choice(names, volumes, replace=False):
            file = folder / f"{name}.tif"
            draw(data / "train" / "labels" / name, every, int(rng.integers(every)), file)
            drawn += ["--image", data / "train" / "images" / name, "--labels", file]
        for number, budget in enumerate(budgets):
            model = folder / f"{number}.safetensors"
            start = ["--base", base] if base else []
            record = call("finetune", model, *drawn, *start, "--budget", budget, "--seed", seed)
            yield record["steps"], score(data, model, folder / f"results {number}")
            base = model


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--volumes", type=int, default=3)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--budget", type=float, default=180)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--base")
    parser.add_argument("--again", type=float, nargs="*", default=[])
    a = parser.parse_args()
    print("| seed | steps | Dice per class | mean |\n|---|---|---|---|", flush=True)
    for seed in a.seeds:
        budgets = [a.budget, *a.again]
        for steps, dice in rounds(a.data, a.volumes, a.every, budgets, seed, a.base):
            each = ", ".join(f"{d:.3f}" for d in dice)
            print(f"| {seed} | {steps} | {each} | {dice.mean():.3f} |", flush=True)


if __name__ == "__main__":
    main()

"""Score fine-tuning on stroke tasks through the command line, as a Markdown table.

usage: python benchmarks/few_shot.py TASKS [TASKS ...] [--bases nuclei none] [--budget 60]

Each TASKS is a folder of tasks; each task has images/, scribbles/ (0 not drawn, 1 background, 2,
... the classes), test_images/ and test_labels/ (the same classes, dense), as .tif. The score is
the mean over test images of the mean Dice of the classes from 2 on. "none" is from scratch.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import napari_segzoo as segzoo


def call(*arguments):
    command = [sys.executable, "-m", "napari_segzoo", *map(str, arguments), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout.splitlines()[-1])


def mean_dice(truth, predicted):
    values = [c for c in np.unique(truth) if c > 1]
    pairs = [(truth == c, predicted == c - 1) for c in values]
    return float(np.mean([2 * (t & p).sum() / max(t.sum() + p.sum(), 1) for t, p in pairs]))


def score(task, base, budget, seed):
    """Return the score and the number of steps."""
    with tempfile.TemporaryDirectory() as folder:
        model, results = Path(folder) / "model.safetensors", Path(folder) / "results"
        drawn = []
        for image in sorted((task / "images").glob("*.tif")):
            drawn += ["--image", image, "--labels", task / "scribbles" / image.name]
        start = [] if base == "none" else ["--base", base]
        record = call("finetune", model, *drawn, *start, "--budget", budget, "--seed", seed)
        call("predict", model, task / "test_images", results)
        dice = []
        for path in sorted((task / "test_labels").glob("*.tif")):
            truth = segzoo.open_image(path, labels=True).data[:]
            found = segzoo.open_image(results / path.name, labels=True).data[:]
            dice.append(mean_dice(truth, found))
    return float(np.mean(dice)), record["steps"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path, nargs="+")
    parser.add_argument("--bases", nargs="+", default=["nuclei", "none"])
    parser.add_argument("--budget", type=float, default=60)
    arguments = parser.parse_args()
    print("| task | base | seed | steps | Dice |\n|---|---|---|---|---|", flush=True)
    for base in arguments.bases:
        for name in sorted({p.name for tasks in arguments.tasks for p in tasks.iterdir()}):
            for seed, tasks in enumerate(arguments.tasks):
                dice, steps = score(tasks / name, base, arguments.budget, seed)
                print(f"| {name} | {base} | {seed} | {steps} | {dice:.3f} |", flush=True)


if __name__ == "__main__":
    main()

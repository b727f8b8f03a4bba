"""Score fine-tuning on six lines drawn in one half of a stack, on the other half, as a table.

usage: python benchmarks/stack_strokes.py IMAGE LABELS [--bases generalist-3d none] [--budget 60]
                                          [--spacing 0.284 0.127 0.127] [--seeds 0 1 2]

IMAGE and LABELS are a stack and its objects, ZYX. In two slices of the first half three lines of 60
voxels along X are drawn, background and foreground by the labels, at places chosen by the seed.
The score is the Dice of the foreground in the second half. "none" is from scratch.
"""

import argparse
from pathlib import Path

import numpy as np

import napari_segzoo as segzoo

LENGTH, MARGIN = 60, 6


def draw_lines(foreground, seed):
    rng = np.random.default_rng(seed)
    drawn = np.zeros(foreground.shape, np.uint8)
    depth, height, width = foreground.shape
    for z in rng.choice(np.arange(MARGIN, depth - MARGIN), 2, replace=False):
        for _ in range(3):
            y, x = int(rng.integers(5, height - 5)), int(rng.integers(0, width - LENGTH))
            line = z, y, slice(x, x + LENGTH)
            drawn[line] = 1 + foreground[line]
    return drawn


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--bases", nargs="+", default=["generalist-3d", "none"])
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--spacing", type=float, nargs=3, default=[0.284, 0.127, 0.127])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    a = parser.parse_args()
    stack = np.asarray(segzoo.open_image(a.image).data[:])
    foreground = np.asarray(segzoo.open_image(a.labels, labels=True).data[:]) > 0
    middle = len(stack) // 2
    first, second = slice(0, middle - 2), slice(middle + 2, None)

    def image(part):
        return segzoo.Image(stack[part], "ZYX", tuple(a.spacing), "micrometer")

    print("| base | seed | drawn voxels | steps | Dice |\n|---|---|---|---|---|", flush=True)
    for base in a.bases:
        for seed in a.seeds:
            lines = draw_lines(foreground[first], seed)
            start = None if base == "none" else base
            *_, finished = segzoo.finetune(
                image(first), lines, base=start, budget=a.budget, seed=seed
            )
            found = np.asarray(segzoo.predict(finished.model, image(second))) > 0
            report = segzoo.evaluate(foreground[second], found, surfaces=False)
            dice = report["dice"]["1"]
            steps, drawn = finished.steps, np.count_nonzero(lines)
            print(f"| {base} | {seed} | {drawn} | {steps} | {dice:.3f} |", flush=True)


if __name__ == "__main__":
    main()

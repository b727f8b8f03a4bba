"""Whether tiles show in the result: jumps of the probabilities across borders of tiles.

usage: python benchmarks/seams.py [PICTURE]

The bundled model `nuclei` runs over generated nuclei in tiles of 256 x 256: blended as by
default, side by side without overlap, and as one tile. Printed is the mean absolute difference
of the foreground's probability between neighbouring pixels across the borders of the blended
run's tiles, over that of all other neighbours; beside it the same for the one tile, where these
lines mean nothing. Then all again for side-by-side tiles and their borders.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from inference import nuclei_image
from numpy.typing import NDArray

from napari_segzoo.inference import PredictOptions, prepare
from napari_segzoo.model import load_model

SIDE, TILE = 1024, 256
BLENDED, BESIDE = 0.25, 0.0
SHOWN = slice(430, 610)


def probabilities(
    image: NDArray[np.uint16], tile: int, overlap: float
) -> tuple[NDArray[np.float32], list[int]]:
    """Return the probability of foreground, and where tiles begin or end inside the image."""
    options = PredictOptions("probabilities", tile, overlap=overlap, device="cpu")
    run = prepare(load_model("nuclei"), image, options=options)
    for _ in run.run():
        pass
    windows = run.plan.tiling.windows()[0]
    ends = {w.lo for w in windows} | {w.hi for w in windows}
    return 1 - run.result[0], sorted(e for e in ends if 0 < e < SIDE)


def jumps(p: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean absolute difference across each line between pixels, over both axes."""
    down, right = np.abs(np.diff(p, axis=0)), np.abs(np.diff(p, axis=1))
    return (down.mean(1, dtype=float) + right.mean(0, dtype=float)) / 2


def at_borders(p: NDArray[np.float32], borders: list[int]) -> float:
    """Return the mean jump across borders, over that across all other lines."""
    across = jumps(p)
    here = np.zeros(across.size, bool)
    here[np.array(borders) - 1] = True
    return float(across[here].mean() / across[~here].mean())


def draw(
    path: Path,
    image: NDArray[np.uint16],
    whole: NDArray[np.float32],
    runs: dict[str, tuple[NDArray[np.float32], list[int]]],
) -> None:
    figure, axes = plt.subplots(
        2, 3, figsize=(11, 6.4), height_ratios=[3, 1.4], layout="constrained"
    )
    extent = (SHOWN.start, SHOWN.stop, SHOWN.stop, SHOWN.start)
    part = (SHOWN, SHOWN)
    axes[0, 0].imshow(image[part], cmap="gray", extent=extent)
    axes[0, 0].set_title("image")
    largest = max(float(np.abs(p - whole)[part].max()) for p, _ in runs.values())
    for panel, (name, (p, borders)) in zip(axes[0, 1:], runs.items(), strict=True):
        shown = panel.imshow(
            (p - whole)[part], cmap="RdBu_r", vmin=-largest, vmax=largest, extent=extent
        )
        panel.set_title(f"{name}:\nprobability minus that of one tile")
        for border in (b for b in borders if SHOWN.start < b < SHOWN.stop):
            panel.axvline(border, color="black", linewidth=0.6, linestyle=":")
            panel.axhline(border, color="black", linewidth=0.6, linestyle=":")
    figure.colorbar(shown, ax=list(axes[0, 1:]), shrink=0.8)
    top = max(float(jumps(p).max()) for p, _ in runs.values()) * 1.05
    every = {"one tile": (whole, [])} | runs
    for panel, (name, (p, borders)) in zip(axes[1], every.items(), strict=True):
        panel.plot(np.arange(1, SIDE), jumps(p), linewidth=0.6, color="0.5")
        panel.plot(borders, jumps(p)[np.array(borders, int) - 1], "o", color="C3", markersize=4)
        panel.set(
            title=f"{name}{'; dots: borders' if borders else ''}",
            ylim=(0, top),
            xlabel="line between pixels",
        )
    axes[1, 0].set_ylabel("mean jump")
    figure.savefig(path, dpi=110)


def main() -> None:
    image = nuclei_image((SIDE, SIDE))
    whole, _ = probabilities(image, SIDE, BESIDE)
    runs = {
        "tiles blended": probabilities(image, TILE, BLENDED),
        "tiles side by side": probabilities(image, TILE, BESIDE),
    }
    for name, (p, borders) in runs.items():
        print(
            f"{name}: jump across borders over elsewhere {at_borders(p, borders):.3f}, "
            f"one tile across the same lines {at_borders(whole, borders):.3f}; "
            f"largest difference from one tile {np.abs(p - whole).max():.3f}"
        )
    if len(sys.argv) > 1:
        draw(Path(sys.argv[1]), image, whole, runs)


if __name__ == "__main__":
    main()

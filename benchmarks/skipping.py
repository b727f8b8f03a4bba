"""How much faster an image is segmented if its empty tiles are skipped.

usage: python benchmarks/skipping.py [--shape 4096 4096] [--tile 512] [--engine torch] [--rounds 5]

Parts of an image of noise are set to 0, and `predict` skips tiles in which nothing reaches 1.
Printed is how much faster that is than all tiles, over what it would be if time were in
proportion to the tiles that are computed; medians of rounds that take turns.
"""

import argparse
import json
import statistics
import time

import numpy as np
from inference import OVERLAP, random_model
from numpy.typing import NDArray

from napari_segzoo.inference import PredictOptions, prepare
from napari_segzoo.model import SegmentationModel

OCCUPIED = (0.5, 0.25, 0.1)


def empty_but(image: NDArray[np.uint16], part: float) -> NDArray[np.uint16]:
    """Keep the first rows of an image only."""
    kept = np.zeros_like(image)
    rows = round(part * len(image))
    kept[:rows] = image[:rows]
    return kept


def scattered(image: NDArray[np.uint16], part: float) -> NDArray[np.uint16]:
    """Keep small squares at random places, so many that about this part of the tiles has any."""
    kept = np.zeros_like(image)
    rng = np.random.default_rng(0)
    side = 64
    for _ in range(round(part * image.size / 512**2)):
        corner = [int(rng.integers(0, n - side)) for n in image.shape]
        place = tuple(slice(c, c + side) for c in corner)
        kept[place] = image[place]
    return kept


def seconds(model: SegmentationModel, image: NDArray[np.uint16], options: PredictOptions) -> float:
    started = time.perf_counter()
    for _ in prepare(model, image, options=options).run():
        pass
    return time.perf_counter() - started


def computed(
    model: SegmentationModel, image: NDArray[np.uint16], options: PredictOptions
) -> tuple[int, int]:
    """Return the tiles that hold anything, and all."""
    plan = prepare(model, image, options=options).plan
    tiles = [tile for layer in plan.tiling.layers() for tile in layer]
    return sum(bool(image[tile.read].any()) for tile in tiles), len(tiles)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs="+", default=[4096, 4096])
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--engine", nargs="+", default=["torch", "openvino"])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    model = random_model(len(arguments.shape))
    full = np.random.default_rng(0).integers(1, 65536, arguments.shape, np.uint16)
    images = {"full": full}
    images |= {f"first rows, {part}": empty_but(full, part) for part in OCCUPIED}
    images |= {f"scattered, {part}": scattered(full, part) for part in OCCUPIED}
    for engine in arguments.engine:
        options = PredictOptions(
            tile=arguments.tile,
            overlap=OVERLAP,
            precision="float32",
            engine=engine,
            device="cpu",
            skip_below=1,
        )
        taken: dict[str, list[float]] = {name: [] for name in images}
        for _ in range(arguments.rounds):
            for name, image in images.items():
                taken[name].append(seconds(model, image, options))
        whole = statistics.median(taken["full"])
        for name, image in images.items():
            some, every = computed(model, image, options)
            median = statistics.median(taken[name])
            record = {
                "engine": engine,
                "image": name,
                "tiles": some,
                "of": every,
                "seconds": round(median, 3),
                "speedup": round(whole / median, 2),
                "over proportion": round(whole / median * some / every, 3),
            }
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()

"""What speed costs in quality: Dice on images of nuclei, in both precisions, beside MONAI.

usage: python benchmarks/quality.py DATA [--tile 128]

DATA holds `val/images/*.png` and `val/labels/*.tif` (object numbers) of nuclei, see
`benchmarks/few_shot.py`. All run the bundled model `nuclei` with the same tiles and overlap; MONAI
blends logits, ours probabilities. Printed are the mean Dice of the foreground over all images, and
the share of pixels with the label that PyTorch in float32 gives.
"""

import argparse
from pathlib import Path

import numpy as np
import peers
from inference import OVERLAP
from numpy.typing import NDArray

import napari_segzoo as segzoo
from napari_segzoo.axes import find_layout
from napari_segzoo.inference.openvino_engine import is_installed
from napari_segzoo.model import SegmentationModel, load_model


def ours(
    model: SegmentationModel, image: segzoo.Image, tile: int, engine: str, precision: str
) -> NDArray[np.bool_]:
    found = segzoo.predict(
        model,
        image,
        tile=tile,
        overlap=OVERLAP,
        engine=engine,
        precision=precision,
        device="cpu",
    )
    return found > 0


def monai(model: SegmentationModel, image: segzoo.Image, tile: int) -> NDArray[np.bool_]:
    layout = find_layout(image.shape, image.axes, ndim=2, in_channels=model.info.in_channels)
    whole = tuple(slice(0, n) for n in layout.spatial_shape)
    intensity = model.info.normalization.measure(image.data, layout.channel_axis)
    floats = intensity.apply(layout.read(image.data, (), whole))
    missing = [(-n) % d for n, d in zip(floats.shape[1:], model.network.divisor, strict=True)]
    floats = np.pad(floats, [(0, 0), *((0, m) for m in missing)], mode="reflect")
    sides = tuple(min(tile, n) for n in floats.shape[1:])
    labels = peers.monai(model.network, floats, sides, OVERLAP)()
    return labels[whole] > 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--tile", type=int, default=128)
    arguments = parser.parse_args()
    model = load_model("nuclei")
    model.network.eval()
    engines = ("torch", "openvino") if is_installed() else ("torch",)
    ways = {
        f"ours, {engine} {precision}": (engine, precision)
        for engine in engines
        for precision in ("float32", "bfloat16")
    }
    names = [*ways, *(["MONAI"] if "MONAI" not in peers.missing() else [])]
    dice: dict[str, list[float]] = {name: [] for name in names}
    same: dict[str, list[int]] = {name: [] for name in names}
    pixels = 0
    for path in sorted((arguments.data / "val" / "images").iterdir()):
        image = segzoo.open_image(path)
        truth = segzoo.open_image(arguments.data / "val" / "labels" / f"{path.stem}.tif").data[:]
        found = {name: ours(model, image, arguments.tile, *way) for name, way in ways.items()}
        if "MONAI" in names:
            found["MONAI"] = monai(model, image, arguments.tile)
        pixels += truth.size
        for name in names:
            report = segzoo.evaluate(truth > 0, found[name], surfaces=False)
            dice[name].append(report["dice"]["1"])
            same[name].append(int((found[name] == found[names[0]]).sum()))
    print(f"{len(dice[names[0]])} images, tile {arguments.tile}")
    for name in names:
        print(f"{name}: Dice {np.nanmean(dice[name]):.4f}, same {sum(same[name]) / pixels:.5f}")


if __name__ == "__main__":
    main()

"""Speed of tiled inference, beside MONAI, nnU-Net, tiler and plain PyTorch.

usage: python benchmarks/inference.py [--ndim 2 3] [--shape 2048 2048] [--tile 512] [--rounds 5]
                                      [--only default nnU-Net] [--trained]

All run the same network with the same weights on the same image, in one process, by turns;
printed are medians. Tiles and overlap are the same, except in ours at its default settings and
nnU-Net at a step of 0.5, which is its default. Ours reads and normalises uint16; the others get
a normalised float32 image; all end with labels. bfloat16 is left out where the processor would
emulate it.

- `redundancy`: voxels forwarded per voxel of the image;
- `outside`: what a run takes beyond its set-up and the bare forward passes of its tiles, as a
  share of the latter;
- `equal`: share of voxels with the label of MONAI in float32 where that blends what we blend,
  probabilities, with our weights. Tiles lie the same where the image is some whole number of
  steps larger than a tile.
"""

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import peers
import torch
from numpy.typing import NDArray
from torch import nn

from napari_segzoo.inference import PredictOptions, prepare
from napari_segzoo.inference.device import computes_bfloat16
from napari_segzoo.inference.forward import torch_engine
from napari_segzoo.inference.kept_memory import kept_memory
from napari_segzoo.inference.openvino_engine import is_installed, openvino_engine
from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes, load_model
from napari_segzoo.preprocess import Normalization
from napari_segzoo.synthetic import nuclei

WIDTHS = {2: (16, 32, 64, 128, 256), 3: (8, 16, 32, 64)}
SHAPE = {2: (2048, 2048), 3: (96, 320, 320)}
TILE = {2: (512, 512), 3: (96, 128, 128)}
OVERLAP = 0.25
PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16}
YARDSTICKS = ("MONAI", "MONAI channels_last", "nnU-Net step 0.5")


@dataclass
class Way:
    """One way to run the network, and what was measured of it."""

    run: Callable[[], Any]
    forwarded: float = 0.0
    setup: float = 0.0
    seconds: list[float] = field(default_factory=list)
    labels: Any = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def time(self) -> None:
        started = time.perf_counter()
        self.labels = self.run()
        self.seconds.append(time.perf_counter() - started)


Ways = dict[str, Way]


def random_model(ndim: int) -> SegmentationModel:
    """Return a U-Net with random weights and two classes, about equally frequent."""
    torch.manual_seed(0)
    normalization = Normalization("range", 0.0, 65535.0)
    info = ModelInfo(
        "unet", ndim, 1, default_classes(2), {"widths": WIDTHS[ndim]}, normalization=normalization
    )
    model = SegmentationModel.create(info)
    model.network.eval()
    with torch.no_grad():
        logits = model.network(torch.rand(1, 1, *(64,) * ndim))
        model.network.head.bias.sub_(logits.mean([0, *range(2, 2 + ndim)]))
    return model


def nuclei_image(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Return generated nuclei, about 40 pixels wide and as crowded as in the sample image."""
    count = round(60 * shape[0] * shape[1] / 512**2)
    return nuclei(shape, voxel_size=(0.25, 0.25), count=count)[0]


def normalised(model: SegmentationModel, image: NDArray[np.uint16]) -> NDArray[np.float32]:
    channels = np.broadcast_to(image, (model.info.in_channels, *image.shape))
    return np.ascontiguousarray(model.info.normalization.measure(image, None).apply(channels))


def ours(
    model: SegmentationModel, image: NDArray[np.uint16], options: PredictOptions
) -> Callable[[], Any]:
    def run() -> Any:
        prediction = prepare(model, image, options=options)
        for _ in prediction.run():
            pass
        return prediction.result

    return run


def forward_passes(
    model: SegmentationModel, tile: tuple[int, ...], count: int, engine: str, precision: str
) -> Way:
    """Run the bare network as often as there are tiles."""
    shape = (1, model.info.in_channels, *tile)
    started = time.perf_counter()
    if engine == "openvino":
        compute = openvino_engine(model.network, shape, PRECISION[precision])
    else:
        compute = torch_engine(model.network, shape, torch.device("cpu"), PRECISION[precision])
    setup = time.perf_counter() - started
    x = torch.rand(shape)

    def run() -> None:
        with kept_memory(), torch.inference_mode():
            for _ in range(count):
                compute(x)

    return Way(run, setup=setup)


def counted(network: nn.Module, tally: list[int]) -> nn.Module:
    """Copy a network; the copy adds the voxels it is given to the tally."""

    def count(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        tally[0] += inputs[0][:, 0].numel()

    network = copy.deepcopy(network)
    network.register_forward_pre_hook(count)
    return network


def peer_ways(
    model: SegmentationModel, image: NDArray[np.float32], tile: tuple[int, ...], tally: list[int]
) -> Ways:
    network, classes = counted(model.network, tally), model.info.num_outputs
    runs = {}
    if "MONAI" not in peers.missing():
        runs["MONAI"] = peers.monai(network, image, tile, OVERLAP, best_layout=False)
        runs["MONAI channels_last"] = peers.monai(network, image, tile, OVERLAP)
        runs["MONAI channels_last bfloat16"] = peers.monai(
            network, image, tile, OVERLAP, bfloat16=True
        )
    if "nnU-Net" not in peers.missing():
        for step in (1 - OVERLAP, 0.5):
            runs[f"nnU-Net step {step}"] = peers.nnunet(network, image, classes, tile, step)
    if "tiler" not in peers.missing():
        runs["tiler channels_last"] = peers.tiler(network, image, classes, tile, OVERLAP)
    return {name: Way(run) for name, run in runs.items()}


def our_ways(model: SegmentationModel, image: NDArray[np.uint16], tile: tuple[int, ...]) -> Ways:
    """Return every engine in every precision, each followed by its bare forward passes."""
    ways = {"ours default": Way(ours(model, image, PredictOptions(device="cpu")))}
    for engine in ("torch", "openvino") if is_installed() else ("torch",):
        for precision in PRECISION:
            options = PredictOptions(
                tile=tile, overlap=OVERLAP, precision=precision, engine=engine, device="cpu"
            )
            ways[f"ours {engine} {precision}"] = Way(ours(model, image, options))
            count = prepare(model, image, options=options).plan.tiles
            passes = forward_passes(model, tile, count, engine, precision)
            ways[f"forward {engine} {precision}"] = passes
    return ways


def compare(
    model: SegmentationModel,
    image: NDArray[np.uint16],
    tile: tuple[int, ...],
    rounds: int,
    only: Sequence[str],
) -> None:
    floats, tally = normalised(model, image), [0]
    ways = peer_ways(model, floats, tile, tally) | our_ways(model, image, tile)
    ways = {n: w for n, w in ways.items() if not only or any(part in n for part in only)}
    if not computes_bfloat16(torch.device("cpu")):
        ways = {n: w for n, w in ways.items() if "bfloat16" not in n}
    for _ in range(rounds):
        for name, way in ways.items():
            tally[0] = 0
            way.time()
            print(f"{name}: {way.seconds[-1]:.2f} s", file=sys.stderr)
            way.forwarded = tally[0]
    if model.info.task == "instances":  # ours has the foreground only, without the borders
        for way in ways.values():
            way.labels = way.labels if way.labels is None else way.labels > 0
    reference = None
    if "MONAI" not in peers.missing():
        reference = peers.monai(
            model.network,
            floats,
            tile,
            OVERLAP,
            best_layout=False,
            probabilities=True,
            weights=peers.gaussian(tile),
        )()
        reference = reference > 0 if model.info.task == "instances" else reference
    print(f"{model.info.architecture}, image {image.shape}, tile {tile}, {rounds} rounds")
    for name in ways:
        if not name.startswith("forward"):
            print(json.dumps(describe(name, ways, image.size, reference)), flush=True)


def describe(name: str, ways: Ways, voxels: int, reference: Any) -> dict[str, Any]:
    way = ways[name]
    record: dict[str, Any] = {"way": name, "seconds": round(way.median, 2)}
    record["fastest"] = round(min(way.seconds), 2)
    for yardstick in YARDSTICKS:
        if yardstick in ways:
            record[f"times {yardstick}"] = round(ways[yardstick].median / way.median, 2)
    if way.forwarded:
        record["redundancy"] = round(way.forwarded / voxels, 2)
    if reference is not None:
        record["equal"] = round(float((way.labels == reference).mean()), 6)
    passes = ways.get(name.replace("ours", "forward"))
    if passes is not None and passes is not way:
        record["setup"] = round(passes.setup, 2)
        outside = way.median - passes.setup - passes.median
        record["outside"] = round(outside / passes.median, 3)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ndim", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--shape", type=int, nargs="+")
    parser.add_argument("--tile", type=int, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[], help="ways whose names hold these words")
    parser.add_argument(
        "--trained", action="store_true", help="the bundled model nuclei on generated nuclei, in 2D"
    )
    arguments = parser.parse_args()
    for name in peers.missing():
        print(f"{name} is not installed and left out: pip install {peers.PACKAGES[name]}")
    for ndim in [2] if arguments.trained else arguments.ndim:
        shape = tuple(arguments.shape or SHAPE[ndim])
        tile = tuple(arguments.tile or TILE[ndim])
        tile = tile * ndim if len(tile) == 1 else tile
        if arguments.trained:
            model, image = load_model("nuclei"), nuclei_image(shape)
        else:
            model = random_model(ndim)
            image = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
        compare(model, image, tile, arguments.rounds, arguments.only)


if __name__ == "__main__":
    main()

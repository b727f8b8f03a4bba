"""Speed of tiled inference, beside MONAI's sliding window and plain PyTorch.

usage: python benchmarks/inference.py [--ndim 2 3] [--shape 2048 2048] [--tile 512] [--rounds 5]

All run the same network with the same weights, tiles and overlap on the same image, in one
process, by turns; printed are medians. Ours reads and normalises uint16 and ends with labels;
MONAI gets a normalised float32 tensor, and its argmax is NumPy's, which is faster than PyTorch's
on CPUs. `outside` is what a run takes beyond its set-up and the bare forward passes of its
tiles, as a share of the latter; `equal` the share of voxels with the label that MONAI gives where
it averages probabilities, as we do, and its tiles lie where ours do.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from math import prod

import numpy as np
import torch
from monai.inferers import sliding_window_inference

from napari_segzoo.inference import PredictOptions, prepare
from napari_segzoo.inference.forward import torch_engine
from napari_segzoo.inference.kept_memory import kept_memory
from napari_segzoo.inference.openvino_engine import is_installed, openvino_engine
from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes
from napari_segzoo.preprocess import Normalization

WIDTHS = {2: (16, 32, 64, 128, 256), 3: (8, 16, 32, 64)}
SHAPE = {2: (2048, 2048), 3: (96, 320, 320)}
TILE = {2: (512, 512), 3: (96, 128, 128)}
OVERLAP = 0.25
PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_model(ndim: int) -> SegmentationModel:
    """Return a U-Net with random weights and two classes."""
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


def monai(
    network: torch.nn.Module, image: np.ndarray, tile: tuple[int, ...], batch: int, layout: object
) -> Callable[[], np.ndarray]:
    network = network.to(memory_format=layout)
    x = as_tensor(image).contiguous(memory_format=layout)

    def run() -> np.ndarray:
        with torch.inference_mode():
            scores = sliding_window_inference(
                x, tile, batch, network, overlap=OVERLAP, mode="gaussian"
            )
        return scores[0].numpy().argmax(0)

    return run


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32) / 65535)[None, None]


def reference_labels(
    network: torch.nn.Module, image: np.ndarray, tile: tuple[int, ...]
) -> np.ndarray:
    with torch.inference_mode():
        scores = sliding_window_inference(
            as_tensor(image),
            tile,
            1,
            lambda x: network(x).softmax(1),
            overlap=OVERLAP,
            mode="gaussian",
        )
    return scores[0].numpy().argmax(0)


def ours(
    model: SegmentationModel,
    image: np.ndarray,
    tile: tuple[int, ...],
    engine: str,
    precision: str,
) -> Callable[[], np.ndarray]:
    options = PredictOptions(tile=tile, overlap=OVERLAP, precision=precision, engine=engine)

    def run() -> np.ndarray:
        prediction = prepare(model, image, options=options)
        for _ in prediction.run():
            pass
        return prediction.result

    return run


def bare_forward(
    network: torch.nn.Module, tile: tuple[int, ...], count: int, engine: str, precision: str
) -> Callable[[], None]:
    shape = (1, 1, *tile)
    started = time.perf_counter()
    if engine == "openvino":
        compute = openvino_engine(network, shape, PRECISION[precision])
    else:
        compute = torch_engine(network, shape, torch.device("cpu"), PRECISION[precision])
    run_setup = time.perf_counter() - started
    x = torch.rand(shape)

    def run() -> None:
        with kept_memory(), torch.inference_mode():
            for _ in range(count):
                compute(x)

    run.setup = run_setup
    return run


def compare(ndim: int, shape: tuple[int, ...], tile: tuple[int, ...], rounds: int) -> None:
    model = make_model(ndim)
    image = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
    last = torch.channels_last if ndim == 2 else torch.channels_last_3d
    plain = torch.contiguous_format
    engines = ["torch", "openvino"] if is_installed() else ["torch"]
    ways = {
        "MONAI, batch 1": monai(copy.deepcopy(model.network), image, tile, 1, plain),
        "MONAI, batch 1, channels_last": monai(copy.deepcopy(model.network), image, tile, 1, last),
    }
    pairs = [(engine, precision) for engine in engines for precision in PRECISION]
    count = prepare(model, image, options=PredictOptions(tile=tile, overlap=OVERLAP)).plan.tiles
    bare = {}
    for engine, precision in pairs:
        ways[f"{engine} {precision}"] = ours(model, image, tile, engine, precision)
        forward = bare_forward(model.network, tile, count, engine, precision)
        bare[f"{engine} {precision}"] = ways[f"forward {engine} {precision}"] = forward
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            results[name] = way()
            seconds[name].append(time.perf_counter() - started)
    reference = reference_labels(model.network, image, tile)
    best = min(statistics.median(seconds[n]) for n in ways if n.startswith("MONAI"))
    print(f"{shape}, {count} tiles of {tile}, {rounds} rounds")
    for name in (n for n in ways if not n.startswith("forward")):
        median = statistics.median(seconds[name])
        record = {"way": name, "seconds": round(median, 2), "speedup": round(best / median, 2)}
        record["fastest"] = round(min(seconds[name]), 2)
        record["equal"] = round(float((results[name] == reference).mean()), 6)
        if name in bare:
            passes = statistics.median(seconds[f"forward {name}"])
            setup = bare[name].setup
            record["setup"] = round(setup, 2)
            record["outside"] = round((median - setup - passes) / passes, 3)
            record["ns_per_voxel"] = round(passes / count / prod(tile) * 1e9, 1)
        print(json.dumps(record), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ndim", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--shape", type=int, nargs="+")
    parser.add_argument("--tile", type=int, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for ndim in arguments.ndim:
        shape = tuple(arguments.shape or SHAPE[ndim])
        tile = tuple(arguments.tile or TILE[ndim])
        compare(ndim, shape, tile, arguments.rounds)


if __name__ == "__main__":
    main()

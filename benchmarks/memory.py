"""Peak memory of `predict` from Zarr to Zarr as the volume grows, and of others.

usage: python benchmarks/memory.py [--lengths 1 8 64] [--classes 2 100] [--repeats 3]
       python benchmarks/memory.py --peers

Each run has a process of its own; printed are median, least and most of the peaks above what
the process holds once it has loaded the model and used it on a piece of the volume. The network
is tiny, so that what is measured is the engine.

With `--peers`, images of 1024 and 8192 x 2048 pixels go through other libraries too, which get
them as an array in memory that is not counted.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from side_by_side import peak_memory_once

UNIT = (32, 128, 128)


def one_run(length: int, classes: int) -> float:
    """Return the peak in MiB."""
    import zarr

    import napari_segzoo as segzoo
    from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes

    with tempfile.TemporaryDirectory() as folder:
        source = zarr.create_array(
            Path(folder) / "in.zarr",
            shape=(UNIT[0] * length, *UNIT[1:]),
            chunks=UNIT,
            dtype="uint8",
        )
        rng = np.random.default_rng(0)
        for n in range(length):
            source[n * UNIT[0] : (n + 1) * UNIT[0]] = rng.integers(0, 255, UNIT, np.uint8)
        info = ModelInfo("unet", 3, 1, default_classes(classes), {"widths": (4, 8)})
        model = SegmentationModel.create(info)
        options = {"tile": 32, "engine": "torch", "precision": "float32", "device": "cpu"}
        segzoo.predict(model, source[:16, :64, :64], **options)
        out = Path(folder) / "out.zarr"
        return peak_memory_once(
            lambda: segzoo.predict(model, source, axes="ZYX", out=out, **options)
        )


def one_peer(name: str, height: int) -> float:
    """Return the peak in MiB of labelling a 2D image, in two classes."""
    import peers
    import zarr

    import napari_segzoo as segzoo
    from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes

    model = SegmentationModel.create(
        ModelInfo("unet", 2, 1, default_classes(2), {"widths": (4, 8)})
    )
    network, tile, overlap = model.network.eval(), (512, 512), 0.25
    image = np.random.default_rng(0).random((1, height, 2048), np.float32)
    if name == "ours":
        with tempfile.TemporaryDirectory() as folder:
            source = zarr.create_array(Path(folder) / "in.zarr", data=image[0], chunks=tile)
            options = {"tile": 512, "overlap": overlap, "engine": "torch", "device": "cpu"}
            segzoo.predict(model, source[:512, :512], **options)
            out = Path(folder) / "out.zarr"
            return peak_memory_once(lambda: segzoo.predict(model, source, out=out, **options))
    runs = {
        "MONAI": lambda image: peers.monai(network, image, tile, overlap),
        "nnU-Net": lambda image: peers.nnunet(network, image, 2, tile, 1 - overlap),
        "tiler": lambda image: peers.tiler(network, image, 2, tile, overlap),
    }
    runs[name](image[:, :512, :512].copy())()
    return peak_memory_once(runs[name](image))


def peak_of(*words: str, repeats: int) -> str:
    """Repeat a run in processes of its own; return median, least and most."""
    call = [sys.executable, __file__, *words]
    peaks = [
        float(subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()[-1])
        for _ in range(repeats)
    ]
    return f"{statistics.median(peaks):.0f} MiB ({min(peaks):.0f} to {max(peaks):.0f})"


def compare_peers(repeats: int) -> None:
    import peers

    for name in ("ours", *(n for n in peers.PACKAGES if n not in peers.missing())):
        for height in (1024, 8192):
            peak = peak_of("--one-peer", name, f"{height}", repeats=repeats)
            print(f"{name}, {height} x 2048: {peak}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 100])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--one-peer", nargs=2)
    parser.add_argument("--one", type=int, nargs=2)
    arguments = parser.parse_args()
    if arguments.one:
        print(one_run(*arguments.one))
        return
    if arguments.one_peer:
        print(one_peer(arguments.one_peer[0], int(arguments.one_peer[1])))
        return
    if arguments.peers:
        compare_peers(arguments.repeats)
        return
    for classes in arguments.classes:
        for length in arguments.lengths:
            peak = peak_of("--one", f"{length}", f"{classes}", repeats=arguments.repeats)
            print(f"{classes} classes, length {length}: {peak}", flush=True)


if __name__ == "__main__":
    main()

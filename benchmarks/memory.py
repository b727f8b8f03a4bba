"""Peak memory of `predict` from Zarr to Zarr as the volume grows.

usage: python benchmarks/memory.py [--lengths 1 8 64] [--classes 2 100] [--repeats 3]

Each run has a process of its own; printed are median, least and most of the peaks above what
the process holds once it has loaded the model and used it on a piece of the volume. The network
is tiny, so that what is measured is the engine.
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
        segzoo.predict(model, source[:16, :64, :64], tile=32)
        out = Path(folder) / "out.zarr"
        return peak_memory_once(lambda: segzoo.predict(model, source, axes="ZYX", tile=32, out=out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 100])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", type=int, nargs=2)
    arguments = parser.parse_args()
    if arguments.one:
        print(one_run(*arguments.one))
        return
    for classes in arguments.classes:
        for length in arguments.lengths:
            call = [sys.executable, __file__, "--one", str(length), str(classes)]
            peaks = [
                float(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
                for _ in range(arguments.repeats)
            ]
            print(
                f"{classes} classes, length {length}: {statistics.median(peaks):.0f} MiB "
                f"({min(peaks):.0f} to {max(peaks):.0f})",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Kill runs at random moments and resume them: is the file identical?

usage: python benchmarks/kills.py [--kills 10] [--seed 0]

The bundled model `nuclei` finds instances in a generated image of 2048 x 2048, through the
command line. Each time the process is killed (SIGKILL) at a random moment of what an undisturbed
run takes, and then resumed with `--resume`, which is killed once more half of the times. Files
are compared byte by byte, TIFF and OME-Zarr in turn. Exit status 1 if any differs.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inference import nuclei_image

from napari_segzoo.io import save_image

SHAPE = (2048, 2048)
COMMAND = (sys.executable, "-c", "from napari_segzoo.cli import main; main()")


def start(source: Path, target: Path, *options: str) -> subprocess.Popen:
    call = [*COMMAND, "predict", "nuclei", source, target]
    call += ["--output", "instances", "--tile", "256", "--engine", "torch", "--device", "cpu"]
    call += ["--precision", "float32", *options]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, told = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"a run ended with {process.returncode}: {told.splitlines()[-1]}")


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Kill a run after some time; tell whether it was still going on."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def content(path: Path) -> dict[Path, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {p.relative_to(path): p.read_bytes() for p in files}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    differing = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "image.tif"
        save_image(source, nuclei_image(SHAPE), "YX")
        expected, seconds = {}, 0.0
        for ending in ("tif", "zarr"):
            started = time.perf_counter()
            finish(start(source, folder / f"whole.{ending}"))
            seconds = time.perf_counter() - started
            expected[ending] = content(folder / f"whole.{ending}")
        print(f"undisturbed: {seconds:.1f} s")
        for n in range(arguments.kills):
            ending = ("tif", "zarr")[n % 2]
            target = folder / f"{n}.{ending}"
            after = [moments.uniform(0, seconds) for _ in range(1 + n // 2 % 2)]
            killed = [kill_after(start(source, target, "--resume"), s) for s in after]
            finish(start(source, target, "--resume"))
            left = sorted(p.name for p in folder.iterdir() if f"{n}.{ending}" in p.name)
            same = content(target) == expected[ending] and left == [target.name]
            differing += not same
            when = ", ".join(
                f"{'killed' if k else 'over before'} {s:.1f} s"
                for s, k in zip(after, killed, strict=True)
            )
            print(f"{target.name}: {when}; {'identical' if same else 'DIFFERENT'}", flush=True)
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()

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


def kill_at_random(source: Path, target: Path, seconds: float, moments: random.Random) -> float:
    """Start a run and kill it, sooner if it is over before; return after how many seconds."""
    while True:
        moment = moments.uniform(0, seconds)
        if kill_after(start(source, target, "--resume"), moment):
            return moment
        seconds = moment


def folder_of(path: Path) -> Path:
    """Make a folder: results have one name, as OME-Zarr carries it inside."""
    path.mkdir(exist_ok=True)
    return path


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
            target = folder_of(folder / "whole") / f"found.{ending}"
            started = time.perf_counter()
            finish(start(source, target))
            seconds = time.perf_counter() - started
            expected[ending] = content(target)
        print(f"undisturbed: {seconds:.1f} s")
        for n in range(arguments.kills):
            ending = ("tif", "zarr")[n % 2]
            target = folder_of(folder / f"{n}") / f"found.{ending}"
            moment = kill_at_random(source, target, seconds, moments)
            again = n // 2 % 2 and kill_after(
                start(source, target, "--resume"), moments.uniform(0, seconds)
            )
            finish(start(source, target, "--resume"))
            same = content(target) == expected[ending] and list(target.parent.iterdir()) == [target]
            differing += not same
            print(
                f"{n + 1}, {ending}: killed after {moment:.1f} s{', then once more' * again}; "
                f"{'identical' if same else 'DIFFERENT'}",
                flush=True,
            )
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()

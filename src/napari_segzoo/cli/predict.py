"""`predict`."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, parse_numbers, print_json, progress_bar, say

FIELDS = (
    "output",
    "shape",
    "axes",
    "seconds",
    "tiles",
    "tile",
    "overlap",
    "device",
    "precision",
    "engine",
    "peak_memory_bytes",
)
"""What --json tells of a run."""


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A bundled model or a model file.")],
    input: Annotated[Path, typer.Argument(help="Image, .zarr, or folder of images.")],
    output: Annotated[Path, typer.Argument(help="File to write; a folder for a folder.")],
    kind: Annotated[
        str, typer.Option("--output", help="labels, instances or probabilities.")
    ] = "labels",
    axes: Annotated[str, typer.Option(help="Axes of the image, such as ZYX or YXC.")] = "",
    tile: Annotated[str, typer.Option(help="auto, or N, or N,N, or N,N,N voxels.")] = "auto",
    overlap: Annotated[
        float | None, typer.Option(help="Share of a tile that neighbours share, 0 to 1.")
    ] = None,
    blend: Annotated[str, typer.Option(help="auto, gaussian or exact.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    engine: Annotated[str, typer.Option(help="auto, torch or openvino.")] = "auto",
    tta: Annotated[bool, typer.Option("--tta", help="Average over mirrored tiles.")] = False,
    crf: Annotated[
        bool, typer.Option("--crf", help="Draw borders to the image's edges by a dense CRF.")
    ] = False,
    skip_below: Annotated[
        float | None,
        typer.Option(help="Leave out tiles whose intensities all lie below; they are 0."),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Image that is 0 where nothing is to be segmented.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="A part only, such as y=0:512,x=100:900.")
    ] = None,
    planes: Annotated[
        str,
        typer.Option(help="Slices of a 2D model in a volume: z, or zyx for the mean of all three."),
    ] = "z",
    scheduler: Annotated[
        str | None,
        typer.Option(help="Spread over local:N processes, or a Dask scheduler's address."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Segment an image, or all images of a folder, of any size."""
    from ..errors import InputError, RunError, SegzooError
    from ..inference import PredictOptions
    from ..inference.files import made_by, prepare_file
    from ..inference.folder import pair_files
    from ..io import is_zarr, open_image
    from ..model import load_model

    options = PredictOptions(
        output=kind,
        tile=tile if tile == "auto" else _sides(tile),
        overlap=overlap,
        blend=blend,
        device=device,
        precision=precision,
        engine=engine,
        tta=tta,
        crf=crf,
        skip_below=skip_below,
        region=region,
        planes=planes,
    )
    if mask is not None and input.is_dir() and not is_zarr(input):
        raise InputError(f"--mask holds for one image, but {input} is a folder of images.")
    inside = None if mask is None else open_image(mask, labels=True).data
    loaded = load_model(model)
    maker = made_by(loaded, options) if resume else ""
    pairs = pair_files(input, output, overwrite=overwrite, resume=resume, made_by=maker)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    one_file = not input.is_dir() or is_zarr(input)
    with _workers(scheduler, device, len(pairs)) as address:
        for source, target in pairs:
            try:
                image = open_image(source, axes=axes or None)
                run = prepare_file(
                    loaded,
                    image,
                    target,
                    options=options,
                    overwrite=overwrite,
                    resume=resume,
                    mask=inside,
                    scheduler=address,
                )
                say(f"{source}: {run.prediction.plan.summary()}")
                done.append(_run(run))
            except Exception as error:
                if one_file:
                    raise
                reason = str(error) if isinstance(error, SegzooError) else repr(error)
                failed.append({"input": str(source), "error": reason})
                say(f"Error: {source} failed: {reason}")
    if not pairs:
        say(f"{output} is complete already.")
    if json:
        whole = {"output": str(output), "images": done, "failed": failed}
        one = done[0] if done else _complete(output)
        print_json(one if one_file else whole)
    if failed:
        names = ", ".join(Path(f["input"]).name for f in failed)
        raise RunError(f"{len(failed)} of {len(pairs)} image(s) of {input} failed: {names}.")


def _sides(text: str) -> int | list[int]:
    from ..errors import InputError

    sides = parse_numbers(text, "--tile")
    if not all(map(float.is_integer, sides)):
        raise InputError(f"--tile takes whole numbers with commas between them, not {text!r}.")
    whole = [int(side) for side in sides]
    return whole if len(whole) > 1 else whole[0]


def _complete(path: Path) -> dict[str, Any]:
    """Return what is known of a file that an earlier run has written."""
    from ..errors import SegzooError
    from ..io import open_image

    record: dict[str, Any] = dict.fromkeys(FIELDS)
    record.update(output=str(path), seconds=0.0, tiles=0)
    try:
        image = open_image(path)
        record.update(shape=list(image.shape), axes=image.axes)
    except SegzooError:
        pass
    return record


def _workers(scheduler: str | None, device: str, images: int) -> AbstractContextManager[str | None]:
    """Return what to spread runs with, workers that are started once for several images."""
    from ..inference.device import find_device
    from ..inference.distributed import is_local, start_workers

    if scheduler is None or not is_local(scheduler) or images < 2:
        return nullcontext(scheduler)
    return start_workers(scheduler, find_device(device).type)


def _run(run: Any) -> dict[str, Any]:
    from ..inference import Note, TileDone
    from ..inference.device import peak_memory

    started = time.monotonic()
    with progress_bar(run.prediction.plan.tiles, "tiles") as bar:
        for event in run.run():
            if isinstance(event, Note):
                say(event.message)
            else:
                bar.unit = "tiles" if isinstance(event, TileDone) else "blocks"
                bar.total = event.total
                bar.update(event.done - bar.n)
    plan = run.prediction.plan
    values = (
        str(run.path),
        list(run.prediction.result.shape),
        run.prediction.axes,
        round(time.monotonic() - started, 3),
        plan.tiles,
        list(plan.tiling.window_shape),
        list(plan.tiling.overlap),
        plan.device,
        plan.precision,
        plan.engine,
        peak_memory(),
    )
    return dict(zip(FIELDS, values, strict=True))

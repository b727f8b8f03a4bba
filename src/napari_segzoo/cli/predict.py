"""`predict`."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, parse_numbers, print_json, progress_bar, say


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
    blend: Annotated[str, typer.Option(help="gaussian or exact.")] = "gaussian",
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
    from ..errors import InputError
    from ..inference import PredictOptions
    from ..inference.files import prepare_file
    from ..inference.folder import pair_files
    from ..io import is_zarr, open_image
    from ..model import load_model

    sizes: Any = tile if tile == "auto" else [int(n) for n in parse_numbers(tile, "--tile")]
    if sizes != "auto" and len(sizes) == 1:
        (sizes,) = sizes
    options = PredictOptions(
        output=kind,
        tile=sizes,
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
    pairs = pair_files(input, output, overwrite=overwrite, resume=resume)
    records = []
    with _workers(scheduler, device, len(pairs)) as address:
        for source, target in pairs:
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
            records.append(_run(run))
    if not pairs:
        say(f"{output} is complete already.")
    one_file = not input.is_dir() or is_zarr(input)
    if json:
        one = one_file and len(records) == 1
        print_json(records[0] if one else {"output": str(output), "images": records})


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
    return {
        "output": str(run.path),
        "shape": list(run.prediction.result.shape),
        "axes": run.prediction.axes,
        "seconds": round(time.monotonic() - started, 3),
        "tiles": plan.tiles,
        "tile": list(plan.tiling.window_shape),
        "overlap": list(plan.tiling.overlap),
        "device": plan.device,
        "precision": plan.precision,
        "engine": plan.engine,
        "peak_memory_bytes": peak_memory(),
    }

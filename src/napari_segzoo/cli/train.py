"""`train`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..zoo.option_text import parse_option
from .app import SeedOption, app, parse_numbers, print_json, progress_bar, say
from .interrupt import StopRequest, handled

if TYPE_CHECKING:
    from ..training import Event, Finished


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Model file to write, *.safetensors.")],
    data: Annotated[Path, typer.Option(help="Folder of images and labels.")],
    layout: Annotated[
        str, typer.Option(help="folders, voc or msd; by default what the folder looks like.")
    ] = "auto",
    architecture: Annotated[str, typer.Option(help="Network of the zoo.")] = "unet",
    option: Annotated[
        list[str], typer.Option("--option", help="key=value of the network; repeat for more.")
    ] = [],  # noqa: B006
    weights: Annotated[
        str, typer.Option(help="Pretrained weights: imagenet, coco_voc, or a file.")
    ] = "",
    loss: Annotated[
        str,
        typer.Option(
            help="cross_entropy, weighted_cross_entropy, binary_cross_entropy, dice, "
            "dice_cross_entropy, focal, tversky or boundary."
        ),
    ] = "dice_cross_entropy",
    class_weights: Annotated[
        str, typer.Option(help="One per class, for weighted_cross_entropy; else by frequency.")
    ] = "",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data; 100 if no budget is given.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Seconds, instead of epochs.")] = None,
    batch: Annotated[
        int | None, typer.Option(help="Crops per step, over all processes; 8 in 2D, 2 in 3D.")
    ] = None,
    crop: Annotated[str, typer.Option(help="N, or N,N, or N,N,N voxels.")] = "",
    scale: Annotated[str, typer.Option(help="Range of random resizing.")] = "0.5,2",
    optimizer: Annotated[str, typer.Option(help="auto, sgd or adamw.")] = "auto",
    learning_rate: Annotated[float | None, typer.Option(help="The highest.")] = None,
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    val_share: Annotated[
        float, typer.Option(help="Share of images to validate on, where the data name none.")
    ] = 0.2,
    ignore: Annotated[int, typer.Option(help="Label of pixels that do not count.")] = 255,
    ndim: Annotated[int | None, typer.Option(help="2 or 3 spatial dimensions.")] = None,
    axes: Annotated[str, typer.Option(help="Axes of the images, such as ZYX or YXC.")] = "",
    seed: SeedOption = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    checkpoint_seconds: Annotated[float, typer.Option(help="Time between checkpoints.")] = 60.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing model; begin anew.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a network on a folder of images and labels: 0 background, 1, 2, ... the classes."""
    from ..errors import SegzooError
    from ..training import find_dataset
    from ..training.checkpoint import checkpoint_path
    from ..training.processes import process_rank
    from ..training.recipe import TrainOptions
    from ..training.train import train_model

    first, last = _two(scale)
    options = TrainOptions(
        architecture=architecture,
        architecture_options=dict(parse_option(o) for o in option),
        weights=weights or None,
        loss=loss,
        class_weights=tuple(parse_numbers(class_weights, "--class-weights"))
        if class_weights
        else (),
        epochs=epochs,
        budget=budget,
        batch=batch,
        crop=tuple(int(n) for n in parse_numbers(crop, "--crop")) if crop else (),
        resize=(first, last),
        optimizer=optimizer,
        learning_rate=learning_rate,
        precision=precision,
        seed=seed,
        device=device,
        ndim=ndim,
        axes=axes or None,
        ignore=ignore,
        checkpoint_seconds=checkpoint_seconds,
    )
    quiet = process_rank() > 0
    try:
        checkpoint = checkpoint_path(out, resume=resume, overwrite=overwrite)
        dataset = find_dataset(data, layout=layout, seed=seed, validation_share=val_share)
        if not quiet:
            say(
                f"{dataset.layout}: {len(dataset.training)} training and "
                f"{len(dataset.validation)} validation images; reading their labels."
            )
        stop = StopRequest("Stopping after this step.")
        events = train_model(dataset, options, checkpoint=checkpoint, resume=resume, stop=stop)
        with handled(stop.note):
            finished = _follow(events, stop, quiet)
    except SegzooError:
        if quiet:
            raise typer.Exit(1) from None
        raise
    if quiet:
        return
    finished.model.save(out, overwrite=overwrite)
    checkpoint.unlink(missing_ok=True)
    say(f"Model written to {out}: {finished.steps} steps in {finished.seconds:.0f} s.")
    if json:
        print_json(_record(out, finished))


def _two(text: str) -> tuple[float, float]:
    from ..errors import InputError

    numbers = parse_numbers(text, "--scale")
    if len(numbers) != 2:
        raise InputError(f"--scale takes a lowest and a highest factor, not {text!r}.")
    return numbers[0], numbers[1]


def _follow(events: Iterator[Event], stop: StopRequest, quiet: bool) -> Finished:
    """Follow a training to its end, or to the checkpoint it leaves when it is stopped."""
    from ..training import Finished, Saved

    with progress_bar(100, "%", shown=not quiet) as bar:
        for event in events:
            if isinstance(event, Finished):
                finished = event
            elif isinstance(event, Saved) and event.last:
                if quiet:
                    raise typer.Exit(stop.status)
                raise SystemExit(stop.status)
            elif not quiet:
                _show(event, bar)
    return finished


def _show(event: Event, bar: Any) -> None:
    from ..training import Note, Scored, Started, StepDone

    if isinstance(event, Started):
        size = "×".join(str(n) for n in event.patch)
        say(f"{event.device}; {event.parameters:,} parameters; crops of {size}.")
    elif isinstance(event, StepDone):
        bar.set_postfix_str(f"step {event.step}, loss {event.loss:.3f}", refresh=False)
        bar.update(100 * event.progress - bar.n)
    elif isinstance(event, Scored):
        say(f"step {event.step}: mean IoU on the validation images {event.mean_iou:.4f}")
    elif isinstance(event, Note):
        say(event.message)


def _record(out: Path, finished: Finished) -> dict[str, Any]:
    provenance = finished.model.info.provenance
    return {
        "output": str(out),
        "classes": [c.name for c in finished.model.info.classes],
        "steps": finished.steps,
        "seconds": round(finished.seconds, 3),
        "loss": finished.loss,
        "validation": finished.validation,
        "validation_iou": provenance["validation_iou"],
        "device": finished.device,
        "processes": provenance["processes"],
    }

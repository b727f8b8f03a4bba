"""`finetune`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..zoo.option_text import parse_option
from .app import SeedOption, app, print_json, progress_bar, say
from .interrupt import StopRequest, handled

FLAGS = {"architecture_options": "option"}
"""Options of the command whose name is another than that of the argument of `finetune`."""


@app.command()
def finetune(
    out: Annotated[Path, typer.Argument(help="Model file to write, *.safetensors.")],
    context: typer.Context,
    image: Annotated[
        list[Path], typer.Option("--image", help="Training image; repeat for more.")
    ] = [],  # noqa: B006
    labels: Annotated[
        list[Path], typer.Option("--labels", help="Its drawn labels, in the same order.")
    ] = [],  # noqa: B006
    project: Annotated[
        Path | None,
        typer.Option(help="Project file with images, labels and options; options given here win."),
    ] = None,
    base: Annotated[str, typer.Option(help="Model to start from: bundled name or file.")] = "",
    task: Annotated[str, typer.Option(help="semantic or instances.")] = "semantic",
    unlabeled: Annotated[
        str, typer.Option(help="What label 0 means: ignore or background.")
    ] = "ignore",
    budget: Annotated[float | None, typer.Option(help="Seconds; 60 if no steps are given.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps, instead of seconds.")] = None,
    architecture: Annotated[str, typer.Option(help="Network to train from scratch.")] = "unet",
    option: Annotated[
        list[str], typer.Option("--option", help="key=value of the network; repeat for more.")
    ] = [],  # noqa: B006
    ndim: Annotated[int | None, typer.Option(help="2 or 3 spatial dimensions.")] = None,
    axes: Annotated[str, typer.Option(help="Axes of the images, such as ZYX or YXC.")] = "",
    val_image: Annotated[
        list[Path], typer.Option("--val-image", help="Image to choose the best model on.")
    ] = [],  # noqa: B006
    val_labels: Annotated[list[Path], typer.Option("--val-labels", help="Its labels.")] = [],  # noqa: B006
    hold_out: Annotated[
        float, typer.Option(help="Share of the strokes to score the model on, such as 0.2.")
    ] = 0.0,
    loss: Annotated[
        str, typer.Option(help="cross_entropy, dice, focal, tversky, boundary, ...")
    ] = "dice_cross_entropy",
    tune: Annotated[
        str, typer.Option(help="What changes of a base: all, decoder, norm or low-rank.")
    ] = "all",
    seed: SeedOption = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing model file.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a network on drawn labels: 0 not drawn, 1 background, 2, 3, ... the classes."""
    from ..errors import InputError
    from ..model import check_model_target
    from ..project import open_project, save_project
    from ..training import Finished, Note, Scored, StepDone
    from ..training import finetune as train

    check_model_target(out, overwrite=overwrite)
    options: dict[str, Any] = {
        "architecture": architecture,
        "architecture_options": dict(parse_option(o) for o in option),
        "ndim": ndim,
        "task": task,
        "unlabeled": unlabeled,
        "budget": budget,
        "steps": steps,
        "seed": seed,
        "device": device,
        "loss": loss,
        "tune": tune,
        "hold_out": hold_out,
    }
    stop = StopRequest(
        "Stopping after this step and keeping the model; once more to abandon it.", ready=False
    )
    if project is None:
        if not (image and labels):
            raise InputError("Give --image and --labels, once or more, or a --project.")
        events = train(
            image,
            labels,
            base=base or None,
            axes=axes or None,
            validation=(val_image, val_labels) if val_image or val_labels else None,
            stop=stop,
            **options,
        )
    else:
        given = {n: v for n, v in options.items() if _was_given(context, FLAGS.get(n, n))}
        if base:
            given["model"] = base
        if axes:
            given["axes"] = axes
        for prefix, pairs in (("", (image, labels)), ("validation_", (val_image, val_labels))):
            if any(pairs):
                names = f"{prefix}images", f"{prefix}labels"
                given |= {n: tuple(map(str, p)) for n, p in zip(names, pairs, strict=True)}
        saved = open_project(project)
        events = saved.changed(given).train(stop=stop)
    with progress_bar(100, "%") as bar, handled(stop.note):
        for event in events:
            if isinstance(event, StepDone):
                stop.ready = True
                bar.set_postfix_str(f"step {event.step}, loss {event.loss:.3f}", refresh=False)
                bar.update(100 * event.progress - bar.n)
            elif isinstance(event, Scored):
                say(f"step {event.step}: Dice on the {event.on} {event.mean_dice:.3f}")
            elif isinstance(event, Note):
                say(event.message)
            elif isinstance(event, Finished):
                finished = event
    finished.model.save(out, overwrite=overwrite)
    say(f"Model written to {out}: {finished.steps} steps in {finished.seconds:.0f} s.")
    if project is not None:
        save_project(project, replace(saved, model=str(out)), overwrite=True)
        say(f"The next training of {project} goes on from it.")
    if json:
        record: dict[str, Any] = {
            "output": str(out),
            "steps": finished.steps,
            "seconds": round(finished.seconds, 3),
            "loss": finished.loss,
            "validation": finished.validation,
            "labelled_voxels": finished.labelled_voxels,
            "device": finished.device,
        }
        if hold_out or finished.held_out is not None:
            record["held_out"] = finished.held_out
        print_json(record)
    if stop():
        raise typer.Exit(stop.status)


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"

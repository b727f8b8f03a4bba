"""What the user should know of what is drawn before time goes into training on it."""

from __future__ import annotations

from collections.abc import Iterator

from .drawings import Drawn
from .job import Job

CONTRADICTED = (
    "Are 1 and 2 swapped? 1 is the background, objects are 2 and above. The model to start from "
    "takes nearly all that is drawn for another class, so it is learnt as corrections."
)


def notes(drawn: Drawn, job: Job) -> Iterator[str]:
    """Say in a sentence each what a training on `drawn` will not learn, and why."""
    if drawn.open:
        yield (
            f"{drawn.open} object(s) that the model finds beside the outlined ones may not be "
            "outlined yet and are left out; if they are none, train with what is not drawn as "
            "background."
        )
    if drawn.unseen:
        yield (
            f"In {drawn.unseen} image(s) there was no time to look for objects that are not "
            "outlined yet, so they count as background; give the training more "
            "seconds if there are some."
        )
    finds_objects = job.base is not None and job.base.info.task == "instances"
    if (job.options.task, job.options.unlabeled) == ("instances", "ignore") and not finds_objects:
        yield (
            "What is not outlined counts as background; if that is wrong, outline all objects, or "
            "start from a model that finds such objects, as nuclei does in planes."
        )
    classes = {c for item in drawn.training for c in item.drawn}
    missing = [n for n in range(job.info.num_outputs) if n not in classes]
    if missing and job.options.task == "semantic":
        shift = job.options.unlabeled == "ignore"
        names = ", ".join(str(n + shift) for n in missing)
        fades = "what the model knows of it may fade"
        so = fades if job.same_outputs else "the model will not know it"
        yield f"Label {names} is not drawn anywhere, so {so}."
    if drawn.beyond:
        names = ", ".join(str(value) for value in drawn.beyond)
        yield (
            f"Label {names} is new and has no place in the network being trained; stop and "
            "train again to teach it."
        )

"""Fine-tuning on drawn labels, and training from a folder."""

from .dataset import Dataset, find_dataset
from .events import Event, Finished, Note, Saved, Scored, Snapshot, Started, StepDone
from .finetune import finetune

__all__ = [
    "Dataset",
    "Event",
    "Finished",
    "Note",
    "Saved",
    "Scored",
    "Snapshot",
    "Started",
    "StepDone",
    "find_dataset",
    "finetune",
]

"""Fine-tuning on drawn labels, and training from a folder."""

from .dataset import Dataset, find_dataset
from .events import Event, Finished, Note, Redrawn, Saved, Scored, Snapshot, Started, StepDone
from .finetune import finetune
from .uncertain import Place, Places, where_to_draw

__all__ = [
    "Dataset",
    "Event",
    "Finished",
    "Note",
    "Place",
    "Places",
    "Redrawn",
    "Saved",
    "Scored",
    "Snapshot",
    "Started",
    "StepDone",
    "find_dataset",
    "finetune",
    "where_to_draw",
]

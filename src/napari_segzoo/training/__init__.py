"""Fine-tuning on drawn labels."""

from .events import Event, Finished, Note, Scored, Snapshot, Started, StepDone
from .finetune import finetune

__all__ = ["Event", "Finished", "Note", "Scored", "Snapshot", "Started", "StepDone", "finetune"]

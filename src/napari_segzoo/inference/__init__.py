"""Tiled inference over images of any size."""

from .events import BlockSeparated, Event, Note, Stage, TileDone
from .files import FileRun, prepare_file
from .options import PredictOptions
from .plan import Plan
from .predict import predict, prepare
from .prediction import Prediction

__all__ = [
    "BlockSeparated",
    "Event",
    "Note",
    "Plan",
    "PredictOptions",
    "Prediction",
    "Stage",
    "TileDone",
    "predict",
    "FileRun",
    "prepare_file",
    "prepare",
]

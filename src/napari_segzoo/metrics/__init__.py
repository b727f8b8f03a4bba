"""Scores of segmentations: overlap, surfaces, objects, probabilities; one pair or folders."""

from .batch import BatchReport, evaluate_folder, flatten
from .centreline import cl_dice
from .definitions import DEFINITIONS
from .history import Entry, as_batch, with_entry
from .overlay import LEGENDS, LegendEntry, error_overlay
from .pair import Pair, Placement, make_pair
from .report import Report
from .scoring import evaluate, per_slice
from .soft import SoftScores, soft_scores
from .statistics import Comparison, Summary, bootstrap_interval, compare, summarize

__all__ = [
    "DEFINITIONS",
    "LEGENDS",
    "BatchReport",
    "Comparison",
    "Entry",
    "LegendEntry",
    "Pair",
    "Placement",
    "Report",
    "SoftScores",
    "Summary",
    "as_batch",
    "bootstrap_interval",
    "cl_dice",
    "compare",
    "error_overlay",
    "evaluate",
    "evaluate_folder",
    "flatten",
    "make_pair",
    "per_slice",
    "soft_scores",
    "summarize",
    "with_entry",
]

"""Scores of segmentations: overlap, surfaces, objects, probabilities; one pair or folders."""

from .centreline import cl_dice
from .definitions import DEFINITIONS
from .report import Report
from .scoring import evaluate, per_slice

__all__ = ["DEFINITIONS", "Report", "cl_dice", "evaluate", "per_slice"]

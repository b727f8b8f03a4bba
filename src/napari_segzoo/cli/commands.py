"""All commands; importing one registers it."""

from . import benchmark, draw_next, evaluate, export, finetune, import_, models, predict, train
from .app import app
from .demo import demo as _demo  # noqa: F401

__all__ = [
    "app",
    "benchmark",
    "draw_next",
    "evaluate",
    "export",
    "finetune",
    "import_",
    "models",
    "predict",
    "train",
]

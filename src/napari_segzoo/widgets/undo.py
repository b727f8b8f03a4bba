"""The way back to the models, and their previews, that trainings replaced."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .preview import LivePreview, Preview
from .shared_model import Choice, SharedModel
from .start_combo import StartCombo

LEVELS = 5
"""Trainings that can be undone one after the other; each keeps a model in memory."""


@dataclass(frozen=True)
class Before:
    """What a training replaced."""

    choice: Choice | None
    preview: Preview | None
    start: str
    trained: Choice


class Undo:
    """Remembers what the last trainings replaced.

    Parameters
    ----------
    shared : SharedModel
        Whose model a training replaces.
    live : LivePreview
        Whose layer a training replaces.
    start : StartCombo
        Whose choice a training replaces.
    """

    def __init__(self, shared: SharedModel, live: LivePreview, start: StartCombo) -> None:
        self._shared = shared
        self._live = live
        self._start = start
        self._steps: deque[Before] = deque(maxlen=LEVELS)
        self._preview: Preview | None = None
        self.under_way = False
        """Whether a training goes on that has given no model yet."""

    @property
    def possible(self) -> bool:
        """Whether there is a training to undo."""
        return bool(self._steps)

    def begin(self) -> None:
        """Note the preview that a training is about to replace."""
        self._preview = self._live.preview
        self.under_way = True

    def keep(self, trained: Choice) -> None:
        """Note that the training is about to replace the model by `trained`."""
        start = self._start.currentData()
        self._steps.append(Before(self._shared.choice, self._preview, start, trained))
        self.under_way = False

    def give_up(self) -> None:
        """Put the preview back if a training was under way, since it gave no model."""
        if self.under_way:
            self._live.go_back(self._preview)
        self.under_way = False

    def forget(self) -> None:
        """Forget the trainings that could be undone."""
        self._steps.clear()

    def go_back(self) -> str:
        """Undo the last training and return a sentence on it."""
        before = self._steps.pop()
        self._live.go_back(before.preview)
        self._shared.forget(before.trained)
        self._shared.choose(before.choice)
        self._start.choose(before.start)
        title = "no model" if before.choice is None else before.choice.title
        return f"Back to {title}, as before the training; what is drawn stays."

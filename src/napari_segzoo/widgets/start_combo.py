"""What a training starts from: a trained model, or a new network."""

from __future__ import annotations

from ..model import bundled_models
from ..zoo import list_models
from .search_combo import SearchCombo
from .shared_model import Choice, SharedModel, choose_file

SHARED = ""
"""Entry of the model that all docks work with; the others are names."""


class StartCombo(SearchCombo):
    """Offers the shared model, others of this session, the bundled ones and new networks.

    Until the user chooses, the shared model is chosen if there is one and it can tell objects apart
    where that is wanted, else what is suggested.
    """

    def __init__(self, shared: SharedModel) -> None:
        super().__init__()
        self._shared = shared
        self._bundled = {name: choose_file(path) for name, path in bundled_models().items()}
        self._suggested = "generalist-2d"
        self._offer()
        shared.changed.connect(self._offer)

    @property
    def base(self) -> Choice | None:
        """The trained model to start from; None for a new network."""
        entry = self.currentData()
        trained = {**self._bundled, **self._shared.own}
        return self._shared.choice if entry == SHARED else trained.get(entry)

    @property
    def architecture(self) -> str:
        """The network to train from scratch."""
        return "unet" if self.base else self.currentData()

    def choose(self, name: str) -> None:
        """Choose a bundled model or a network."""
        self.setCurrentIndex(self.findData(name))

    def suggest(self, name: str) -> None:
        """Choose a bundled model unless something better or the user's choice is there."""
        before = self._preferred()
        self._suggested = name
        if self.currentData() == before:
            self.choose(self._preferred())

    def _preferred(self) -> str:
        choice, suggested = self._shared.choice, self._bundled[self._suggested].info
        if choice is None:
            return self._suggested
        if choice.info is None:
            return choice.architecture
        assert suggested is not None
        lacks_objects = suggested.task == "instances" != choice.info.task
        return self._suggested if lacks_objects else SHARED

    def _offer(self) -> None:
        choice = self._shared.choice
        self.clear()
        if choice is not None and choice.info is not None:
            self.offer(choice.title, SHARED)
        for key, own in self._shared.own.items():
            if own is not choice:
                self.offer(own.title, key)
        for name, bundled in self._bundled.items():
            if choice is None or choice.path != bundled.path:
                assert bundled.info is not None
                self.offer(name, name, bundled.info.description)
        for spec in list_models():
            about = f"{spec.name} {spec.family} {spec.reference}"
            self.offer(f"new {spec.title}", spec.name, about)
        self.choose(self._preferred())

"""The state of a training, and the file from which it goes on as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..io import written_whole
from ..model import check_model_target
from ..zoo.pretrained import UNREADABLE
from .processes import process_rank

FORMAT = "napari-segzoo-checkpoint-1"


@dataclass(frozen=True)
class Best:
    """The weights that scored best so far.

    Parameters
    ----------
    mean_iou : float
        Over all classes.
    iou : mapping of str to float
        Per class number.
    state : mapping of str to Tensor
        The network's state dictionary, on the CPU.
    """

    mean_iou: float
    iou: Mapping[str, float]
    state: Mapping[str, Tensor]


@dataclass
class TrainingState:
    """All that a training carries from step to step.

    Random numbers are drawn anew at each step from seed and step, so there is no generator
    to keep.

    Parameters
    ----------
    network, optimizer, scaler
        Changed by each step.
    step : int
        Steps done.
    seconds : float
        Time spent.
    scored : int
        Validations that were due so far.
    losses : list of float
        Of each step.
    best : Best or None
        None before the first validation.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    seconds: float = 0.0
    scored: int = 0
    losses: list[float] = field(default_factory=list)
    best: Best | None = None

    def save(self, path: Path, run: Mapping[str, Any]) -> None:
        """Write a checkpoint; an older one stays until the new one is whole.

        Parameters
        ----------
        path : Path
            Where.
        run : mapping
            What identifies the training: data and options, as JSON values.
        """
        record = {
            "format": FORMAT,
            "run": json.dumps(run),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "scored": self.scored,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "best": None if self.best is None else vars(self.best),
        }
        with written_whole(path, overwrite=True) as temporary:
            torch.save(record, temporary)

    def load(self, path: Path, run: Mapping[str, Any]) -> None:
        """Take on the state in a checkpoint; nothing in it is executed.

        Raises
        ------
        InputError
            If the file is damaged, or belongs to another training; the message names what
            differs.
        """
        try:
            record = torch.load(path, map_location="cpu", weights_only=True)
            if record["format"] != FORMAT:
                raise ValueError
            _check_same(path, json.loads(record["run"]), json.loads(json.dumps(run)))
            self.network.load_state_dict(record["network"])
            self.optimizer.load_state_dict(record["optimizer"])
            self.scaler.load_state_dict(record["scaler"])
            self.step, self.scored = record["step"], record["scored"]
            self.seconds = record["seconds"]
            self.losses = record["losses"].tolist()
            self.best = None if record["best"] is None else Best(**record["best"])
        except InputError:
            raise
        except UNREADABLE as error:
            raise InputError(
                f"{path} is no checkpoint of a training, or it is damaged; remove it to begin anew."
            ) from error


def _check_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if value != found.get(name):
            raise InputError(
                f"{path} was begun with {name} = {found.get(name)!r}, not {value!r}; give what it "
                "was begun with, or begin anew without resuming."
            )


def checkpoint_path(out: Path, *, resume: bool = False, overwrite: bool = False) -> Path:
    """Return where the checkpoint of a training lies that will write the model `out`.

    A training that neither goes on nor was interrupted before has none; with `overwrite` an
    old one is removed.

    Raises
    ------
    InputError
        If `out` cannot be written, or an interrupted training was left and neither `resume`
        nor `overwrite` is set.
    """
    path = out.with_name(f".{out.name}.checkpoint")
    check_model_target(out, overwrite=overwrite)
    if path.exists() and not (resume or overwrite):
        raise InputError(
            f"An interrupted training of {out} was found; resume it, or overwrite to begin anew."
        )
    if not resume and process_rank() == 0:
        path.unlink(missing_ok=True)
    return path

"""Which engine runs a network, and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from .device import computes_bfloat16, find_precision

if TYPE_CHECKING:
    import torch

ENGINES = ("auto", "torch", "openvino")
LONG_RUN = 3_000_000_000_000
"""Multiply-adds from which on converting a network for OpenVINO takes less than it saves."""


def choose_engine(asked: str, device: torch.device, multiply_adds: int) -> str:
    """Return what executes the network: "torch" or "openvino".

    "auto" is OpenVINO on the CPU, where it is installed and the run is long enough to repay
    the conversion of the network.

    Raises
    ------
    InputError
        If OpenVINO is asked for and not installed.
    """
    from .openvino_engine import is_installed

    if asked == "openvino" and not is_installed():
        raise InputError(
            "OpenVINO is not installed; install it with pip install 'napari-segzoo[openvino]', "
            "or choose the engine auto."
        )
    if asked == "auto":
        worth = device.type == "cpu" and multiply_adds >= LONG_RUN and is_installed()
        return "openvino" if worth else "torch"
    return asked


def choose_precision(
    asked: str, device: torch.device, *, approximate: bool, worth: bool
) -> tuple[torch.dtype, bool]:
    """Return the data type of the forward pass, and whether bfloat16 is to be tried instead.

    Parameters
    ----------
    asked : str
        See `find_precision`. "auto" is float32 where the result has to be exact, and bfloat16
        on trial on CPUs that compute in it.
    device : torch.device
        Where the network runs.
    approximate : bool
        Whether rounding may show: labels from a weighted blend.
    worth : bool
        Whether the run is long enough for a trial.

    Raises
    ------
    InputError
        If the precision is unknown or the device lacks it.
    """
    import torch

    if asked != "auto" or device.type != "cpu":
        return find_precision(asked if approximate or asked != "auto" else "float32", device), False
    on_trial = approximate and worth and half_precision(str(device)) is not None
    return torch.float32, on_trial


def half_precision(device: str) -> str | None:
    """Return the 16-bit precision that a device computes in faster than in float32, if any."""
    import torch

    if computes_bfloat16(torch.device(device)):
        return "bfloat16"
    return "float16" if device.startswith("cuda") else None

"""One ONNX file, compared with the network it was made from."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import RunError
from ..model import SegmentationModel
from ..zoo.registry import get_spec
from .record import divisor_of, model_record
from .traceable import for_inference, traceable

OPSET = 18
"""Version of the operators: ONNX Runtime knows it since 1.14, of early 2023."""
INPUT, OUTPUT = "image", "logits"
LARGEST_FILE = 2**31 - 2**20
EXAMPLE_SIDE = 32
"""An example is at least as long, so that no layer sees a single voxel."""
TOLERANCE = 1e-3
"""How far logits may differ, as a share of the largest."""
TRIES = 3
"""Images to agree on; see `compare`."""


@dataclass(frozen=True)
class Check:
    """How a file compared with the network.

    Parameters
    ----------
    opset : int
        Version of ONNX's operators.
    shape : tuple of int
        Of the input that both saw, (N, C, [Z,] Y, X).
    largest_difference : float
        Between the logits.
    """

    opset: int
    shape: tuple[int, ...]
    largest_difference: float


def write_onnx(model: SegmentationModel, path: Path) -> Check:
    """Write an ONNX file that takes images of any size, and compare it.

    Parameters
    ----------
    model : SegmentationModel
        Neither moved nor changed.
    path : Path
        Where to.

    Raises
    ------
    RunError
        If PyTorch cannot convert the network, it is too large, or the file does not agree.
    """
    network = for_inference(model.network)
    title = get_spec(model.info.architecture).title
    if sum(4 * p.numel() for p in network.parameters()) >= LARGEST_FILE:
        raise RunError(f"{title} has more weights than the 2 GB that one ONNX file can hold.")
    program = convert(traceable(network), model.info.in_channels, title)
    for key, value in model_record(model).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        program.model.metadata_props[key] = text
    program.save(path, external_data=False)
    return compare(path, network, model.info.in_channels, title)


def example_shape(divisor: Sequence[int], in_channels: int, more: int = 0) -> tuple[int, ...]:
    """Return a small shape (2, C, [Z,] Y, X) that a network takes, its sides all different.

    Parameters
    ----------
    divisor : sequence of int
        What the sides must be multiples of.
    in_channels : int
        Channels.
    more : int
        Blocks of `divisor` to add to each side.
    """
    return (
        2,
        in_channels,
        *(step * (max(2, ceil(EXAMPLE_SIDE / step)) + n + more) for n, step in enumerate(divisor)),
    )


def convert(network: nn.Module, in_channels: int, title: str) -> Any:
    """Turn what `traceable` gave into PyTorch's program for ONNX, for images of any size."""
    divisor = divisor_of(network)
    example = torch.zeros(example_shape(divisor, in_channels))
    sizes: dict[int, Any] = {0: torch.export.Dim("batch")}
    for axis, (letter, step) in enumerate(zip("zyx"[-len(divisor) :], divisor, strict=True)):
        if step == 1:
            sizes[axis + 2] = torch.export.Dim(letter)
        else:
            sizes[axis + 2] = step * torch.export.Dim(f"{letter}_blocks")
    try:
        with _quietly(), torch.no_grad():
            return torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                dynamic_shapes=(sizes,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:
        raise RunError(
            f"{title} cannot be written as ONNX, because PyTorch {torch.__version__} cannot "
            f"convert it ({_reason(error)})."
        ) from error


def _reason(error: BaseException) -> str:
    """Return the first line of what was wrong in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:160]


def compare(path: Path, network: nn.Module, in_channels: int, title: str) -> Check:
    """Run a file and a network on noise of another size than that of the example.

    Where a network hands on the positions of maxima, as SegNet does, rounding may pick another
    one of two that are nearly equal. So there are a few images, of which one has to agree.
    """
    import onnx

    onnx.checker.check_model(path, full_check=True)
    shape = (1, *example_shape(divisor_of(network), in_channels, more=1)[1:])
    for seed in range(TRIES):
        x = np.random.default_rng(seed).standard_normal(shape, np.float32)
        expected = run_torch(network, x)
        difference = float(np.abs(run_onnx(path, x) - expected).max())
        if difference <= TOLERANCE * np.abs(expected).max():
            return Check(OPSET, shape, difference)
    raise RunError(
        f"{title} was converted to ONNX, but its logits differ by {difference:.2g} from those of "
        "PyTorch; nothing was written."
    )


def run_torch(network: nn.Module, x: Any) -> Any:
    """Run what `for_inference` gave: float32 (N, C, [Z,] Y, X) to logits."""
    with torch.no_grad():
        found: Tensor = network(torch.from_numpy(x))
    return found.numpy()


def run_onnx(path: Path, x: Any) -> Any:
    """Run a file by ONNX Runtime on the CPU: float32 (N, C, [Z,] Y, X) to logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {INPUT: x})[0]


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what the converter has to say about itself from users."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)

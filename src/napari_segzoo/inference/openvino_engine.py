"""Execution by OpenVINO on CPUs, where it is installed (extra `openvino`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from .fold import fold_normalization


class ConversionError(Exception):
    """OpenVINO cannot run a network."""


def is_installed() -> bool:
    """Whether OpenVINO can be imported."""
    return find_spec("openvino") is not None


def openvino_engine(
    network: nn.Module, shape: Sequence[int], precision: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """Compile a network for one shape of input.

    Parameters
    ----------
    network : torch.nn.Module
        Neither moved nor changed.
    shape : sequence of int
        Of every input, (N, C, [Z,] Y, X).
    precision : torch.dtype
        float32, computed as such throughout, or bfloat16.

    Returns
    -------
    callable
        Maps float32 tiles on the CPU to float32 logits.

    Raises
    ------
    ConversionError
        If an operation of the network is unknown to OpenVINO.
    """
    import openvino

    folded = fold_normalization(network, shape[1], shape[2:]).cpu().requires_grad_(False)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    try:
        graph = _convert(folded, shape)
        request = openvino.compile_model(graph, "CPU", settings).create_infer_request()
    except Exception as error:
        raise ConversionError(str(error).strip().splitlines()[-1]) from error

    def compute(x: Tensor) -> Tensor:
        found = request.infer({0: x.contiguous().numpy()}, share_inputs=True, share_outputs=True)
        return torch.from_numpy(found[0])

    return compute


def _convert(network: nn.Module, shape: Sequence[int]) -> Any:
    """Turn a network into OpenVINO's graph.

    By the front end that `openvino.convert_model` goes through too; that function takes
    several times as long and sends usage statistics to its makers.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        example = torch.zeros(tuple(shape))
        traced: Any = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
    decoder = TorchScriptPythonDecoder(traced)
    front = FrontEndManager().load_by_framework("pytorch")
    graph = front.convert(front.load(decoder))
    graph.reshape(list(shape))
    return graph

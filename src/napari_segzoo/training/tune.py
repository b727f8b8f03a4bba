"""Which weights of a trained network a fine-tuning changes."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from ..errors import InputError
from ..model import ModelInfo, SegmentationModel
from ..zoo.blocks import InstanceNorm

RANK = 4
NORMS = (_BatchNorm, InstanceNorm, nn.GroupNorm)
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
ENCODER = re.compile(r"(backbone|stem|first|encoder|downs|bottleneck|stage\d|nodes\.\d+_0)\.")
"""Modules of the networks of the zoo on the way down, the coarsest resolution included."""


class LowRank(nn.Module):
    """Adds a matrix product of rank r to a kernel, at first 0 (Hu et al. 2021, arXiv:2106.09685).

    Parameters
    ----------
    kernel : Tensor
        Taken as a matrix whose rows are its first axis.
    rank : int
        Largest r.
    """

    def __init__(self, kernel: Tensor, rank: int = RANK) -> None:
        super().__init__()
        rows, columns = len(kernel), kernel[0].numel()
        r = min(rank, rows, columns)
        self.left = nn.Parameter(torch.zeros(rows, r))
        self.right = nn.Parameter(torch.randn(r, columns) / math.sqrt(columns))

    def forward(self, kernel: Tensor) -> Tensor:
        """Return the changed kernel, which has the same shape."""
        return kernel + (self.left @ self.right).view(kernel.shape)


def restrict(network: nn.Module, tune: str, info: ModelInfo) -> nn.Module:
    """Return a network of which only some weights can be trained.

    The output layers, whose shape depends on the number of classes, always can. Unless all
    can, normalisation layers keep their running statistics.

    Parameters
    ----------
    network : Module
        In training mode; changed in place, but for "low-rank".
    tune : {"all", "decoder", "norm", "low-rank"}
        "decoder": what is not the encoder. "norm": scale and shift of normalisation layers.
        "low-rank": a copy of the network is returned that adds a `LowRank` to each kernel.
    info : ModelInfo
        What the network was built from.

    Raises
    ------
    InputError
        If the network has no encoder, or no normalisation that could be trained.
    """
    if tune == "all":
        return network
    outputs = _output_parameters(info)
    if tune == "low-rank":
        network = copy.deepcopy(network)
    norms = {name for name, module in network.named_modules() if isinstance(module, NORMS)}
    names = [name for name, _ in network.named_parameters()]
    trained = set(outputs)
    if tune == "decoder":
        trained |= {name for name in names if not ENCODER.match(name)}
        if hasattr(network, "transitions") or len(trained) == len(names):
            raise InputError(
                f"{info.architecture} has no encoder that could be kept as it is; choose all, norm "
                "or low-rank."
            )
    elif tune == "norm":
        trained |= {name for name in names if name.rpartition(".")[0] in norms}
        if trained == outputs:
            raise InputError(
                f"This {info.architecture} has no normalisation layers to train; choose all, "
                "decoder or low-rank."
            )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trained)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    if tune == "low-rank":
        for name, module in list(network.named_modules()):
            if isinstance(module, CONVOLUTIONS) and f"{name}.weight" not in outputs:
                parametrize.register_parametrization(module, "weight", LowRank(module.weight))
    return network


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the state dictionary of a network with low-rank updates added to its kernels."""
    state = dict(network.state_dict())
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            parts = f"{name}.parametrizations.weight."
            state = {key: value for key, value in state.items() if not key.startswith(parts)}
            state[f"{name}.weight"] = module.weight.detach()
    return state


def _output_parameters(info: ModelInfo) -> set[str]:
    """Names of the parameters whose shape depends on the number of classes."""
    one, other = (_shapes(info, info.num_outputs + more) for more in (0, 1))
    return {name for name, shape in one.items() if shape != other[name]}


def _shapes(info: ModelInfo, outputs: int) -> dict[str, torch.Size]:
    info = replace(info, task="semantic", classes=info.classes[:1] * outputs)
    with torch.device("meta"):
        network = SegmentationModel.create(info).network
    return {name: parameter.shape for name, parameter in network.named_parameters()}

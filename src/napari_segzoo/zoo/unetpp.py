"""U-Net++: a U-Net at every depth, nested in one another and densely connected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .blocks import CONV, CONV_TRANSPOSE, LINEAR_MODE, MAX_POOL, initialize_he, norm_layer


class UNetPlusPlus(nn.Module):
    """U-Net++ (Zhou et al. 2018, arXiv:1807.10165; 2020, arXiv:1912.05074).

    Node (i, j) at depth i takes all earlier nodes of its depth and the up-sampled node
    (i + 1, j - 1). The last node of each j at full resolution is a segmentation of its own,
    which deep supervision trains, so that the network can be cut to a lower depth.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    widths : sequence of int
        Feature channels per resolution, finest first.
    norm : {"none", "batch", "instance", "group"}
        Normalisation after each convolution; the published 9.04 million parameters are
        those without.
    upsampling : {"transpose", "linear"}
        Transposed convolution or linear interpolation.
    deep_supervision : bool
        Segment from each full-resolution node; the logits are the mean of all.

    Attributes
    ----------
    divisor : tuple of int
        Per axis, what the input size must be a multiple of.
    output_weights : tuple of float
        Only with `deep_supervision`: weights of the losses of `outputs`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        norm: str = "none",
        upsampling: str = "transpose",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if upsampling not in ("transpose", "linear"):
            raise InputError(f"upsampling must be transpose or linear, not {upsampling!r}.")
        if len(widths) < 2:
            raise InputError(f"U-Net++ needs at least two widths, not {tuple(widths)!r}.")
        self.arguments: dict[str, Any] = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "ndim": ndim,
            "widths": tuple(widths),
            "norm": norm,
            "upsampling": upsampling,
            "deep_supervision": deep_supervision,
        }
        self.depth = len(widths) - 1
        self.pool = MAX_POOL[ndim](2)
        self.nodes = nn.ModuleDict()
        self.ups = nn.ModuleDict()
        for i in range(self.depth + 1):
            source = widths[i - 1] if i else in_channels
            self.nodes[f"{i}_0"] = _double_conv(source, widths[i], ndim, norm)
        for j in range(1, self.depth + 1):
            for i in range(self.depth + 1 - j):
                if upsampling == "transpose":
                    up, below = CONV_TRANSPOSE[ndim](widths[i + 1], widths[i], 2, 2), widths[i]
                else:
                    up, below = nn.Upsample(scale_factor=2, mode=LINEAR_MODE[ndim]), widths[i + 1]
                self.ups[f"{i}_{j}"] = up
                self.nodes[f"{i}_{j}"] = _double_conv(j * widths[i] + below, widths[i], ndim, norm)
        heads = range(1, self.depth + 1) if deep_supervision else (self.depth,)
        self.heads = nn.ModuleDict({str(j): CONV[ndim](widths[0], num_classes, 1) for j in heads})
        self.divisor = (2**self.depth,) * ndim
        if deep_supervision:
            self.output_weights = (1.0,) * (self.depth + 1)
        initialize_he(self)

    def segmentations(self, x: Tensor) -> list[Tensor]:
        """Return the logits of each head, from the shallowest to the deepest."""
        rows = [[x]]
        for i in range(self.depth + 1):
            x = self.nodes[f"{i}_0"](self.pool(x) if i else x)
            rows.append([x])
        rows = rows[1:]
        for j in range(1, self.depth + 1):
            for i in range(self.depth + 1 - j):
                up = self.ups[f"{i}_{j}"](rows[i + 1][j - 1])
                rows[i].append(self.nodes[f"{i}_{j}"](torch.cat([*rows[i], up], dim=1)))
        return [head(rows[0][int(j)]) for j, head in self.heads.items()]

    def forward(self, x: Tensor) -> Tensor:
        logits = self.segmentations(x)
        return torch.stack(logits).mean(0) if len(logits) > 1 else logits[0]

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return the logits and, with deep supervision, those of each head, deepest first."""
        logits = self.segmentations(x)
        if len(logits) == 1:
            return logits
        return [torch.stack(logits).mean(0), *reversed(logits)]

    def pruned(self, depth: int) -> UNetPlusPlus:
        """Cut the network to a lower depth, with its weights: faster, and nearly as good.

        Parameters
        ----------
        depth : int
            From 1 to the network's own depth. The result segments from node (0, `depth`)
            alone.

        Raises
        ------
        InputError
            If the network was not built with deep supervision, or has no such depth.
        """
        if not self.arguments["deep_supervision"]:
            raise InputError("Only a U-Net++ with deep_supervision=True can be cut to a depth.")
        if not 1 <= depth <= self.depth:
            raise InputError(f"depth must be from 1 to {self.depth}, not {depth}.")
        changes = {"widths": self.arguments["widths"][: depth + 1], "deep_supervision": False}
        network = UNetPlusPlus(**{**self.arguments, **changes})
        kept = self.state_dict()
        network.load_state_dict({name: kept[name] for name in network.state_dict()})
        return network.train(self.training)


def _double_conv(in_channels: int, out_channels: int, ndim: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source in (in_channels, out_channels):
        layers.append(CONV[ndim](source, out_channels, 3, padding=1))
        layers.append(norm_layer(norm, out_channels, ndim))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)

"""Layers shared by the networks, the same in 2D and 3D."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import InputError

Layer = Callable[..., Any]
CONV: dict[int, Layer] = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE: dict[int, Layer] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL: dict[int, Layer] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG_POOL: dict[int, Layer] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE_AVG_POOL: dict[int, Layer] = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
DROPOUT: dict[int, Layer] = {2: nn.Dropout2d, 3: nn.Dropout3d}
BATCH_NORM: dict[int, Layer] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LINEAR_MODE = {2: "bilinear", 3: "trilinear"}


def norm_layer(kind: str, channels: int, ndim: int) -> nn.Module:
    """Return a normalisation layer.

    Parameters
    ----------
    kind : {"batch", "instance", "group", "none"}
        "instance" and "group" take their statistics from the tile, so that results
        depend on the tile; group normalisation has 8 groups, or fewer if `channels`
        is no multiple of 8 with at least two channels each.
    channels, ndim : int
        Feature channels and spatial dimensions.
    """
    layer: nn.Module
    if kind == "batch":
        layer = BATCH_NORM[ndim](channels)
    elif kind == "instance":
        layer = InstanceNorm(channels)
    elif kind == "group":
        groups = next((g for g in (8, 4, 2) if channels % g == 0 and channels > g), 1)
        layer = nn.GroupNorm(groups, channels)
    elif kind == "none":
        layer = nn.Identity()
    else:
        raise InputError(f"norm must be batch, instance, group or none, not {kind!r}.")
    return layer


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    *,
    ndim: int,
    kernel: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    dilation: int = 1,
    norm: str = "batch",
) -> nn.Sequential:
    """Convolution that keeps the size (divided by `stride`), normalisation, ReLU.

    The convolution has a bias only where no normalisation follows it.
    """
    sizes = (kernel,) * ndim if isinstance(kernel, int) else tuple(kernel)
    conv = CONV[ndim](
        in_channels,
        out_channels,
        sizes,
        stride=stride,
        padding=tuple(dilation * (k // 2) for k in sizes),
        dilation=dilation,
        bias=norm == "none",
    )
    return nn.Sequential(conv, norm_layer(norm, out_channels, ndim), nn.ReLU(inplace=True))


def pooled_conv(in_channels: int, out_channels: int, *, ndim: int, size: int) -> nn.Sequential:
    """Means over `size` parts of the image per axis, 1x1 convolution, normalisation, ReLU."""
    return nn.Sequential(
        ADAPTIVE_AVG_POOL[ndim](size),
        CONV[ndim](in_channels, out_channels, 1, bias=False),
        PooledNorm(out_channels),
        nn.ReLU(inplace=True),
    )


def resize_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate linearly to a spatial `size`; `x` is (N, C, [Z,] Y, X).

    Voxel centres keep their place (`align_corners` off), so that the result does not
    depend on the size of the tile.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    mode = LINEAR_MODE[x.ndim - 2]
    return F.interpolate(x, size=tuple(size), mode=mode, align_corners=False)


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters (running statistics of normalisation are not)."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


class InstanceNorm(nn.Module):
    """Instance normalisation in 2D and 3D, also of a feature map with a single voxel.

    PyTorch's own refuses those, which small images have at the bottom of a deep network.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, x.shape[1], self.weight, self.bias)


class PooledNorm(_BatchNorm):
    """Batch normalisation of values pooled over the whole image.

    A batch of one image pooled to one value has no variance, so that ordinary batch
    normalisation cannot train on it; the running statistics stand in then.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take 2D and 3D alike."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def initialize_he(network: nn.Module) -> None:
    """Draw the convolutions from He et al.'s normal distribution (2015), biases zero.

    What a deep network without normalisation needs so that the signal neither dies nor
    explodes on its way through.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

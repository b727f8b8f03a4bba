"""U-Net with a deep residual encoder and a plain, shallow decoder."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from ..errors import InputError
from .blocks import AVG_POOL, CONV, CONV_TRANSPOSE, initialize_he, norm_layer, resize_to
from .unet import Stride, resolve_strides

SLOPE = 0.01
"""Of the leaky ReLU below zero."""


class ResUNet(nn.Module):
    """Residual-encoder U-Net of nnU-Net (Isensee et al. 2024, arXiv:2404.09556).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    widths : sequence of int
        Feature channels per resolution, finest first.
    blocks : sequence of int
        Residual blocks per resolution of the encoder.
    norm : {"instance", "batch", "group", "none"}
        Normalisation after each convolution. The published instance normalisation takes
        its statistics from the tile; with "batch" the result does not depend on the tile.
    strides : sequence of int or of tuple of int, optional
        Down-sampling per step and axis, 2 everywhere by default. Where an axis has
        stride 1, the kernels of the finer stage span 1 voxel along it.
    deep_supervision : bool
        Segment at each resolution of the decoder for the trainer.

    Attributes
    ----------
    divisor : tuple of int
        Per axis, what the input size must be a multiple of.
    output_weights : tuple of float
        Only with `deep_supervision`: weights of the losses of `outputs`, halved from
        one resolution to the next coarser one.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 512),
        blocks: Sequence[int] = (1, 3, 4, 6, 6, 6),
        norm: str = "instance",
        strides: Sequence[int | Sequence[int]] | None = None,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths):
            raise InputError(
                f"blocks and widths must have one number per resolution, not {len(blocks)} "
                f"and {len(widths)}."
            )
        depth = len(widths) - 1
        down = resolve_strides(strides, depth, ndim)
        kernels = [tuple(3 if s > 1 else 1 for s in step) for step in down] + [(3,) * ndim]
        steps: list[Stride] = [(1,) * ndim, *down]
        self.stem = _conv(in_channels, widths[0], kernels[0], ndim=ndim, norm=norm)
        self.encoder = nn.ModuleList()
        source = widths[0]
        for width, count, kernel, step in zip(widths, blocks, kernels, steps, strict=True):
            stage = nn.Sequential()
            for n in range(count):
                stride = step if n == 0 else (1,) * ndim
                stage.append(ResidualBlockD(source, width, kernel, stride, ndim=ndim, norm=norm))
                source = width
            self.encoder.append(stage)
        self.ups, self.decoder, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for n in reversed(range(depth)):
            self.ups.append(CONV_TRANSPOSE[ndim](widths[n + 1], widths[n], down[n], stride=down[n]))
            self.decoder.append(_conv(2 * widths[n], widths[n], kernels[n], ndim=ndim, norm=norm))
            if deep_supervision or n == 0:
                self.heads.append(CONV[ndim](widths[n], num_classes, 1))
        self.divisor = tuple(prod(axis) for axis in zip(*down, strict=True))
        if deep_supervision:
            self.output_weights = tuple(0.5**n for n in range(depth))
        initialize_he(self)

    def decoded(self, x: Tensor) -> list[Tensor]:
        """Return the features of each resolution of the decoder, coarsest first."""
        x = self.stem(x)
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        x = skips.pop()
        features = []
        for up, decode in zip(self.ups, self.decoder, strict=True):
            x = decode(torch.cat([up(x), skips.pop()], dim=1))
            features.append(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.heads[-1](self.decoded(x)[-1])
        return logits

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return the logits and, with deep supervision, those of each coarser resolution."""
        features = self.decoded(x)[-len(self.heads) :]
        logits = [head(y) for head, y in zip(self.heads, features, strict=True)]
        return [resize_to(y, x.shape[2:]) for y in reversed(logits)]


class ResidualBlockD(nn.Module):
    """Two convolutions added to their input, which average pooling brings to the same size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Stride,
        stride: Stride,
        *,
        ndim: int,
        norm: str,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, kernel, stride, ndim=ndim, norm=norm)
        conv2 = CONV[ndim](out_channels, out_channels, kernel, padding=[k // 2 for k in kernel])
        self.conv2 = nn.Sequential(conv2, norm_layer(norm, out_channels, ndim))
        self.shortcut = nn.Sequential()
        if prod(stride) > 1:
            self.shortcut.append(AVG_POOL[ndim](stride))
        if in_channels != out_channels:
            self.shortcut.append(CONV[ndim](in_channels, out_channels, 1, bias=norm == "none"))
            self.shortcut.append(norm_layer(norm, out_channels, ndim))
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.conv2(self.conv1(x)) + self.shortcut(x))
        return y


def _conv(
    in_channels: int,
    out_channels: int,
    kernel: Stride,
    stride: int | Stride = 1,
    *,
    ndim: int,
    norm: str,
) -> nn.Sequential:
    """Convolution with bias, normalisation, leaky ReLU."""
    padding = [k // 2 for k in kernel]
    return nn.Sequential(
        CONV[ndim](in_channels, out_channels, kernel, stride=stride, padding=padding),
        norm_layer(norm, out_channels, ndim),
        nn.LeakyReLU(SLOPE, inplace=True),
    )

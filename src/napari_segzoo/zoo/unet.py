"""U-Net: an encoder, a decoder, and a skip connection at every resolution."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from ..errors import InputError
from .blocks import CONV, CONV_TRANSPOSE, DROPOUT, LINEAR_MODE, MAX_POOL, conv_norm_relu, norm_layer

Stride = tuple[int, ...]


class DoubleConv(nn.Module):
    """Two convolutions, each with normalisation and ReLU; optionally a residual sum.

    With `residual`, the input, through a 1x1 convolution where the widths differ, is
    added to the result (He et al. 2016, CVPR).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        norm: str,
        residual: bool,
        dropout: float,
        kernel: Sequence[int],
        mid_channels: int | None = None,
    ) -> None:
        super().__init__()
        mid = mid_channels or out_channels
        self.convs = nn.Sequential(
            conv_norm_relu(in_channels, mid, ndim=ndim, kernel=kernel, norm=norm),
            conv_norm_relu(mid, out_channels, ndim=ndim, kernel=kernel, norm=norm),
        )
        self.dropout = DROPOUT[ndim](dropout) if dropout else nn.Identity()
        self.shortcut: nn.Module | None = None
        if residual:
            same = in_channels == out_channels
            self.shortcut = nn.Identity() if same else CONV[ndim](in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convs(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        result: Tensor = self.dropout(y)
        return result


class AttentionGate(nn.Module):
    """Additive attention: weight a skip connection by what the decoder already knows.

    Oktay et al. 2018 (arXiv:1804.03999), with the gate at the resolution of the skip
    connection and half its channels inside.
    """

    def __init__(self, skip: int, decoder: int, *, ndim: int, norm: str) -> None:
        super().__init__()
        mid = max(1, skip // 2)
        conv = CONV[ndim]
        self.of_skip = nn.Sequential(conv(skip, mid, 1), norm_layer(norm, mid, ndim))
        self.of_decoder = nn.Sequential(conv(decoder, mid, 1), norm_layer(norm, mid, ndim))
        self.weight = nn.Sequential(conv(mid, 1, 1), norm_layer(norm, 1, ndim), nn.Sigmoid())

    def forward(self, skip: Tensor, decoder: Tensor) -> Tensor:
        weight = self.weight(torch.relu(self.of_skip(skip) + self.of_decoder(decoder)))
        result: Tensor = skip * weight
        return result


class UNet(nn.Module):
    """U-Net in 2D and 3D with padded convolutions.

    Ronneberger et al. 2015 (arXiv:1505.04597); 3D: Çiçek et al. 2016 (arXiv:1606.06650).
    The defaults have 31.0 M parameters in 2D.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    widths : sequence of int
        Feature channels per resolution, finest first.
    depth : int, optional
        Number of down-samplings; keeps the first ``depth + 1`` of `widths`.
    norm : {"batch", "instance", "group", "none"}
        Normalisation after each convolution.
    upsampling : {"transpose", "linear"}
        Transposed convolution, or linear interpolation with half the channels.
    dropout : float
        Share of feature maps dropped after each block, in [0, 1).
    residual : bool
        Add the input of each block to its output.
    strides : sequence of int or of tuple of int, optional
        Down-sampling per step and axis, 2 everywhere by default. Where an axis has
        stride 1, the kernels of the finer block span 1 voxel along it: for stacks whose
        slices lie further apart than their pixels, e.g. ``((1, 2, 2), 2, 2, 2)``.
    attention : bool
        Weight each skip connection voxel by voxel (Oktay et al. 2018, arXiv:1804.03999).

    Attributes
    ----------
    divisor : tuple of int
        Per axis, what the input size must be a multiple of.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        depth: int | None = None,
        norm: str = "batch",
        upsampling: str = "transpose",
        dropout: float = 0.0,
        residual: bool = False,
        strides: Sequence[int | Sequence[int]] | None = None,
        attention: bool = False,
    ) -> None:
        super().__init__()
        w = _resolve_widths(widths, depth)
        if upsampling not in ("transpose", "linear"):
            raise InputError(f"upsampling must be transpose or linear, not {upsampling!r}.")
        linear = upsampling == "linear"
        down = resolve_strides(strides, len(w) - 1, ndim)
        kernels = [tuple(3 if s > 1 else 1 for s in step) for step in down] + [(3,) * ndim]
        self.divisor = tuple(prod(axis) for axis in zip(*down, strict=True))
        top = [*w[:-1], w[-1] // 2 if linear else w[-1]]

        def block(i: int, o: int, level: int, mid: int | None = None) -> DoubleConv:
            return DoubleConv(
                i,
                o,
                ndim=ndim,
                norm=norm,
                residual=residual,
                dropout=dropout,
                kernel=kernels[level],
                mid_channels=mid,
            )

        inputs = [in_channels, *top[:-1]]
        self.encoder = nn.ModuleList(
            block(i, o, n) for n, (i, o) in enumerate(zip(inputs, top, strict=True))
        )
        self.pools = nn.ModuleList(MAX_POOL[ndim](s) for s in down)
        self.ups = nn.ModuleList()
        self.gates = nn.ModuleList()
        self.decoder = nn.ModuleList()
        below = top[-1]
        for level in reversed(range(len(down))):
            step = down[level]
            if linear:
                self.ups.append(nn.Upsample(scale_factor=step, mode=LINEAR_MODE[ndim]))
                out = w[level] // 2 if level else w[0]
                self.decoder.append(block(w[level] + below, out, level, mid=w[level]))
            else:
                self.ups.append(CONV_TRANSPOSE[ndim](below, w[level], step, stride=step))
                below = out = w[level]
                self.decoder.append(block(2 * w[level], out, level))
            if attention:
                self.gates.append(AttentionGate(w[level], below, ndim=ndim, norm=norm))
            below = out
        self.head = CONV[ndim](w[0], num_classes, 1)

    def features(self, x: Tensor) -> Tensor:
        """Return the last decoder features, (N, widths[0], [Z,] Y, X)."""
        skips = []
        for n, encode in enumerate(self.encoder):
            x = encode(x)
            if n < len(self.pools):
                skips.append(x)
                x = self.pools[n](x)
        for n, (up, decode) in enumerate(zip(self.ups, self.decoder, strict=True)):
            x, skip = up(x), skips.pop()
            if self.gates:
                skip = self.gates[n](skip, x)
            x = decode(torch.cat([skip, x], dim=1))
        return x

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


def _resolve_widths(widths: Sequence[int], depth: int | None) -> list[int]:
    if depth is not None and not 1 <= depth < len(widths):
        raise InputError(
            f"depth must be from 1 to {len(widths) - 1} for {len(widths)} widths, not {depth}."
        )
    return [int(w) for w in (widths if depth is None else widths[: depth + 1])]


def resolve_strides(
    strides: Sequence[int | Sequence[int]] | None, depth: int, ndim: int
) -> list[Stride]:
    """Return the down-sampling of each step as one number per axis; 2 by default."""
    if strides is None:
        strides = (2,) * depth
    steps = [(s,) * ndim if isinstance(s, int) else tuple(s) for s in strides]
    if len(steps) != depth or any(len(s) != ndim for s in steps):
        raise InputError(
            f"strides must give {depth} steps with {ndim} numbers each, not {strides!r}."
        )
    return steps

"""V-Net: large convolutions with a residual sum at every resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from .blocks import BATCH_NORM, CONV, CONV_TRANSPOSE, initialize_he

CONVS = {"authors": (1, 1, 2, 3, 3, 3, 2, 1, 1), "port": (1, 1, 2, 3, 2, 2, 2, 1, 1)}
"""Convolutions per stage, on the way down and up again."""


class VNet(nn.Module):
    """V-Net (Milletari et al. 2016, arXiv:1606.04797), in two versions that differ.

    ``"authors"`` is what the authors ran: PReLU, no normalisation, 62.0 million parameters
    in 3D. ``"port"`` is the PyTorch version that most others copy: batch normalisation,
    fewer convolutions at the bottom, 45.6 million.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    variant : {"authors", "port"}
        See above.
    activation : {"prelu", "elu"}
        PReLU has one slope per channel; the port is used with either.
    widths : sequence of int
        Feature channels of the five resolutions, finest first.

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
        variant: str = "authors",
        activation: str = "prelu",
        widths: Sequence[int] = (16, 32, 64, 128, 256),
    ) -> None:
        super().__init__()
        if variant not in CONVS:
            raise InputError(f"variant must be authors or port, not {variant!r}.")
        if activation not in ("prelu", "elu"):
            raise InputError(f"activation must be prelu or elu, not {activation!r}.")
        if len(widths) != 5:
            raise InputError(f"widths must be 5 numbers, not {tuple(widths)!r}.")
        w = tuple(widths)
        convs, norm, elu = CONVS[variant], variant == "port", activation == "elu"

        def then(layer: nn.Module, channels: int) -> nn.Sequential:
            """Follow a layer by normalisation, where used, and activation."""
            norms = [BATCH_NORM[ndim](channels)] if norm else []
            return nn.Sequential(layer, *norms, _activation(channels, elu))

        def stage(source: int, channels: int, index: int) -> Stage:
            return Stage(source, channels, convs[index], ndim=ndim, norm=norm, elu=elu)

        self.encoder = nn.ModuleList(stage(w[n] if n else in_channels, w[n], n) for n in range(5))
        self.downs = nn.ModuleList(
            then(CONV[ndim](w[n], w[n + 1], 2, stride=2), w[n + 1]) for n in range(4)
        )
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        below = w[4]
        for n in (3, 2, 1, 0):
            self.ups.append(then(CONV_TRANSPOSE[ndim](below, w[n], 2, stride=2), w[n]))
            below = 2 * w[n]
            self.decoder.append(stage(below, below, 8 - n))
        self.head = nn.Sequential(
            then(CONV[ndim](below, num_classes, 5, padding=2), num_classes),
            CONV[ndim](num_classes, num_classes, 1),
        )
        self.divisor = (16,) * ndim
        initialize_he(self)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for n, encode in enumerate(self.encoder):
            x = encode(x)
            if n < 4:
                skips.append(x)
                x = self.downs[n](x)
        for up, decode in zip(self.ups, self.decoder, strict=True):
            x = decode(torch.cat([up(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


class Stage(nn.Module):
    """Convolutions with a shortcut past them and an activation after the sum.

    An activation stands between the convolutions and, where they are normalised, also
    after the last of them, unless the stage changes the number of channels; the shortcut
    then repeats the input's channels.
    """

    def __init__(
        self, in_channels: int, channels: int, count: int, *, ndim: int, norm: bool, elu: bool
    ) -> None:
        super().__init__()
        self.channels = channels
        self.convs = nn.Sequential()
        for n in range(count):
            source = in_channels if n == 0 else channels
            self.convs.append(CONV[ndim](source, channels, 5, padding=2))
            if norm:
                self.convs.append(BATCH_NORM[ndim](channels))
            if n < count - 1 or (norm and in_channels == channels):
                self.convs.append(_activation(channels, elu))
        self.activation = _activation(channels, elu)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convs(x)
        if x.shape[1] != self.channels:
            copies = -(-self.channels // x.shape[1])
            x = torch.cat([x] * copies, dim=1)[:, : self.channels]
        result: Tensor = self.activation(y + x)
        return result


def _activation(channels: int, elu: bool) -> nn.Module:
    return nn.ELU(inplace=True) if elu else nn.PReLU(channels)

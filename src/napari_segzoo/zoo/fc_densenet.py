"""FC-DenseNet: a U-Net of dense blocks, "The One Hundred Layers Tiramisu"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from .blocks import BATCH_NORM, CONV, CONV_TRANSPOSE, DROPOUT, MAX_POOL, initialize_he


class FCDenseNet(nn.Module):
    """FC-DenseNet (Jégou et al. 2017, arXiv:1611.09326).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    layers : sequence of int
        Layers per dense block on the way down; the way up mirrors them.
    bottleneck : int
        Layers of the block in between.
    growth_rate : int
        Feature channels that each layer adds.
    width : int
        Channels of the first convolution.
    dropout : float
        Share of feature maps dropped after each convolution, in [0, 1).

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
        layers: Sequence[int] = (4, 5, 7, 10, 12),
        bottleneck: int = 15,
        growth_rate: int = 16,
        width: int = 48,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not layers:
            raise InputError("layers must name at least one dense block.")

        def block(channels: int, count: int) -> DenseBlock:
            return DenseBlock(channels, growth_rate, count, ndim=ndim, dropout=dropout)

        self.first = CONV[ndim](in_channels, width, 3, padding=1)
        self.encoder, self.downs = nn.ModuleList(), nn.ModuleList()
        channels, skips = width, []
        for count in layers:
            self.encoder.append(block(channels, count))
            channels += growth_rate * count
            skips.append(channels)
            self.downs.append(
                nn.Sequential(
                    *_norm_relu_conv(channels, channels, 1, ndim=ndim, dropout=dropout),
                    MAX_POOL[ndim](2),
                )
            )
        self.bottleneck = block(channels, bottleneck)
        self.ups, self.decoder = nn.ModuleList(), nn.ModuleList()
        new = growth_rate * bottleneck
        for count, skip in zip(reversed(layers), reversed(skips), strict=True):
            self.ups.append(
                CONV_TRANSPOSE[ndim](new, new, 3, stride=2, padding=1, output_padding=1)
            )
            self.decoder.append(block(new + skip, count))
            channels, new = new + skip, growth_rate * count
        self.head = CONV[ndim](channels + new, num_classes, 1)
        self.divisor = (2 ** len(layers),) * ndim
        initialize_he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        skips = []
        for encode, down in zip(self.encoder, self.downs, strict=True):
            x = torch.cat([x, encode(x)], dim=1)
            skips.append(x)
            x = down(x)
        new = self.bottleneck(x)
        for up, decode in zip(self.ups, self.decoder, strict=True):
            x = torch.cat([up(new), skips.pop()], dim=1)
            new = decode(x)
        logits: Tensor = self.head(torch.cat([x, new], dim=1))
        return logits


class DenseBlock(nn.Module):
    """Layers that each see the block's input and all earlier layers; returns what is new."""

    def __init__(
        self, in_channels: int, growth_rate: int, count: int, *, ndim: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _norm_relu_conv(
                in_channels + n * growth_rate, growth_rate, 3, ndim=ndim, dropout=dropout
            )
            for n in range(count)
        )

    def forward(self, x: Tensor) -> Tensor:
        new: list[Tensor] = []
        for layer in self.layers:
            new.append(layer(torch.cat([x, *new], dim=1)))
        return torch.cat(new, dim=1)


def _norm_relu_conv(
    in_channels: int, out_channels: int, kernel: int, *, ndim: int, dropout: float
) -> nn.Sequential:
    return nn.Sequential(
        BATCH_NORM[ndim](in_channels),
        nn.ReLU(inplace=True),
        CONV[ndim](in_channels, out_channels, kernel, padding=kernel // 2),
        DROPOUT[ndim](dropout),
    )

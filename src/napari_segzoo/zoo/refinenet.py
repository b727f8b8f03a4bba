"""RefineNet: coarse features refined step by step by finer ones, along residual paths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .backbones import ResNet
from .blocks import CONV, MAX_POOL, resize_to


class RefineNet(nn.Module):
    """RefineNet (Lin et al. 2017, arXiv:1611.06612) on a ResNet.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone, width, stem
        See `zoo.backbones.ResNet`. The refinement blocks have 4 times `width` channels,
        the coarsest twice as many.
    dropout : float
        On the two coarsest features and before the classes, in [0, 1).

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
        backbone: str = "resnet101",
        width: int = 64,
        stem: str = "torchvision",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.backbone = ResNet(backbone, in_channels, ndim=ndim, width=width, stem=stem)
        channels = 4 * width
        self.dropout = nn.Dropout(dropout)
        coarsest, *finer = reversed(self.backbone.channels)
        self.blocks = nn.ModuleList([RefineBlock(coarsest, 2 * channels, ndim=ndim)])
        self.narrow = nn.ModuleList([_conv(2 * channels, channels, ndim)])
        for n, source in enumerate(finer):
            self.blocks.append(RefineBlock(source, channels, ndim=ndim, joined=True))
            if n < len(finer) - 1:
                self.narrow.append(_conv(channels, channels, ndim))
        self.head = CONV[ndim](channels, num_classes, 3, padding=1)
        self.divisor = self.backbone.divisor

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, fourth = self.backbone(x)
        y = self.blocks[0](self.dropout(fourth))
        features = (self.dropout(third), second, first)
        for block, narrow, finer in zip(self.blocks[1:], self.narrow, features, strict=True):
            y = block(finer, resize_to(narrow(y), finer.shape[2:]))
        return resize_to(self.head(self.dropout(y)), x.shape[2:])


class RefineBlock(nn.Module):
    """Adapt features, join them with coarser ones, chain poolings, and convolve.

    With `joined`, features from the coarser block, of the same size, are added.
    """

    def __init__(self, in_channels: int, channels: int, *, ndim: int, joined: bool = False) -> None:
        super().__init__()
        self.narrow = _conv(in_channels, channels, ndim)
        self.adapt = nn.Sequential(*(ResidualUnit(channels, ndim=ndim) for _ in range(2)))
        self.join = _conv(channels, channels, ndim) if joined else nn.Identity()
        self.pooling = ChainedPooling(channels, ndim=ndim)
        self.output = nn.Sequential(*(ResidualUnit(channels, ndim=ndim) for _ in range(3)))

    def forward(self, x: Tensor, coarser: Tensor | None = None) -> Tensor:
        y = self.join(self.adapt(self.narrow(x)))
        if coarser is not None:
            y = y + coarser
        result: Tensor = self.output(self.pooling(torch.relu(y)))
        return result


class ResidualUnit(nn.Module):
    """Two convolutions, each after a ReLU, added to their input; the first has a bias."""

    def __init__(self, channels: int, *, ndim: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, ndim, bias=True)
        self.conv2 = _conv(channels, channels, ndim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(torch.relu(self.conv1(torch.relu(x))))
        return x + y


class ChainedPooling(nn.Module):
    """Add up ever wider poolings, each followed by a convolution."""

    def __init__(self, channels: int, *, ndim: int, steps: int = 4) -> None:
        super().__init__()
        self.pool = MAX_POOL[ndim](5, stride=1, padding=2)
        self.convs = nn.ModuleList(_conv(channels, channels, ndim) for _ in range(steps))

    def forward(self, x: Tensor) -> Tensor:
        total = pooled = x
        for conv in self.convs:
            pooled = conv(self.pool(pooled))
            total = total + pooled
        return total


def _conv(in_channels: int, out_channels: int, ndim: int, bias: bool = False) -> nn.Module:
    layer: nn.Module = CONV[ndim](in_channels, out_channels, 3, padding=1, bias=bias)
    return layer

"""U²-Net: a U-Net whose every stage is a small U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import BATCH_NORM, CONV, MAX_POOL, resize_to

HEIGHTS = (7, 6, 5, 4, 4, 4)
"""Levels inside each stage; the last two stages dilate instead of pooling."""


class ConvNormReLU(nn.Module):
    """3x3 convolution with bias, batch normalisation, ReLU, named as in the public weights."""

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int, dilation: int = 1):
        super().__init__()
        self.conv_s1 = CONV[ndim](in_channels, out_channels, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = BATCH_NORM[ndim](out_channels)
        self.relu_s1 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu_s1(self.bn_s1(self.conv_s1(x)))
        return y


class ResidualU(nn.Module):
    """RSU block: a U-Net of `height` levels, added to its own input.

    The lowest level dilates its convolution by 2. With `pooling` off (RSU-4F) nothing is
    pooled and the dilation doubles from level to level.
    """

    def __init__(
        self,
        in_channels: int,
        mid: int,
        out_channels: int,
        *,
        ndim: int,
        height: int,
        pooling: bool = True,
    ) -> None:
        super().__init__()
        self.height = height
        self.pool = MAX_POOL[ndim](2, stride=2) if pooling else nn.Identity()
        self.rebnconvin = ConvNormReLU(in_channels, out_channels, ndim=ndim)
        for n in range(1, height + 1):
            dilation = (2 if n == height else 1) if pooling else 2 ** (n - 1)
            layer = ConvNormReLU(out_channels if n == 1 else mid, mid, ndim=ndim, dilation=dilation)
            self.add_module(f"rebnconv{n}", layer)
        for n in range(height - 1, 0, -1):
            dilation = 1 if pooling else 2 ** (n - 1)
            layer = ConvNormReLU(
                2 * mid, out_channels if n == 1 else mid, ndim=ndim, dilation=dilation
            )
            self.add_module(f"rebnconv{n}d", layer)

    def forward(self, x: Tensor) -> Tensor:
        x = self.rebnconvin(x)
        levels = [self.get_submodule("rebnconv1")(x)]
        for n in range(2, self.height + 1):
            below = levels[-1] if n == self.height else self.pool(levels[-1])
            levels.append(self.get_submodule(f"rebnconv{n}")(below))
        y = levels.pop()
        for n in range(self.height - 1, 0, -1):
            skip = levels.pop()
            y = torch.cat([resize_to(y, skip.shape[2:]), skip], dim=1)
            y = self.get_submodule(f"rebnconv{n}d")(y)
        result: Tensor = y + x
        return result


class U2Net(nn.Module):
    """U²-Net (Qin et al. 2020, arXiv:2005.09007), in 2D and 3D.

    The parameters have the names of the authors' code, so that its checkpoints load. The
    authors' seven probability maps are one tensor of logits here; the maps of the six
    stages serve deep supervision.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    width : int
        Channels of the first stage; 64 is the published one.
    small : bool
        U²-NetP: as many channels in all stages, a quarter of them inside.
    deep_supervision : bool
        Offer the logits of the six stages to the trainer.

    Attributes
    ----------
    divisor : tuple of int
        Per axis, what the input size must be a multiple of.
    output_weights : tuple of float
        Only with `deep_supervision`: weights of the losses of `outputs`, all 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        width: int = 64,
        small: bool = False,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        quarter, half = max(1, width // 4), max(1, width // 2)
        if small:
            mids, outs = (quarter,) * 6, (width,) * 6
            decoder_mids, decoder_outs = mids, outs
        else:
            mids = (half, half, width, 2 * width, 4 * width, 4 * width)
            outs = (width, 2 * width, 4 * width, 8 * width, 8 * width, 8 * width)
            decoder_mids = (quarter, *mids[1:])
            decoder_outs = (width, width, 2 * width, 4 * width, 8 * width, 8 * width)

        def block(level: int, source: int, mid: int, out: int) -> ResidualU:
            height, pooling = HEIGHTS[level - 1], level < 5
            return ResidualU(source, mid, out, ndim=ndim, height=height, pooling=pooling)

        self.pool = MAX_POOL[ndim](2, stride=2)
        sources = (in_channels, *outs[:-1])
        for n in range(1, 7):
            self.add_module(f"stage{n}", block(n, sources[n - 1], mids[n - 1], outs[n - 1]))
        for n in range(5, 0, -1):
            joined = decoder_outs[n] + outs[n - 1]
            layer = block(n, joined, decoder_mids[n - 1], decoder_outs[n - 1])
            self.add_module(f"stage{n}d", layer)
        for n in range(1, 7):
            side = CONV[ndim](decoder_outs[n - 1], num_classes, 3, padding=1)
            self.add_module(f"side{n}", side)
        self.outconv = CONV[ndim](6 * num_classes, num_classes, 1)
        self.divisor = (32,) * ndim
        if deep_supervision:
            self.output_weights = (1.0,) * 7

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return the fused logits and those of the six stages, finest first."""
        size = x.shape[2:]
        features = []
        for n in range(1, 7):
            x = self.get_submodule(f"stage{n}")(x if n == 1 else self.pool(x))
            features.append(x)
        sides = [self.get_submodule("side6")(x)]
        for n in range(5, 0, -1):
            skip = features[n - 1]
            x = torch.cat([resize_to(x, skip.shape[2:]), skip], dim=1)
            x = self.get_submodule(f"stage{n}d")(x)
            sides.append(self.get_submodule(f"side{n}")(x))
        maps = [resize_to(side, size) for side in reversed(sides)]
        return [self.outconv(torch.cat(maps, dim=1)), *maps]

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x)[0]

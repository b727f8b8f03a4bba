"""PSPNet: a pyramid of means over ever smaller parts of the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .backbones import ResNet
from .blocks import CONV, conv_norm_relu, pooled_conv, resize_to
from .encoder_head import EncoderHead, fcn_head


class PyramidPooling(nn.Module):
    """Concatenate features with their means over 1, 2, 3, 6... parts per axis."""

    def __init__(
        self, in_channels: int, out_channels: int, *, ndim: int, bins: Sequence[int]
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            pooled_conv(in_channels, out_channels, ndim=ndim, size=size) for size in bins
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = [resize_to(branch(x), x.shape[2:]) for branch in self.branches]
        return torch.cat([x, *pooled], dim=1)


def psp_head(
    in_channels: int, num_classes: int, *, ndim: int, bins: Sequence[int] = (1, 2, 3, 6)
) -> nn.Sequential:
    """Pyramid pooling, a 3x3 convolution to a quarter of the channels, and classes."""
    mid = in_channels // 4
    return nn.Sequential(
        PyramidPooling(in_channels, mid, ndim=ndim, bins=bins),
        *conv_norm_relu(in_channels + len(bins) * mid, mid, ndim=ndim),
        nn.Dropout(0.1),
        CONV[ndim](mid, num_classes, 1),
    )


def pspnet(
    in_channels: int,
    num_classes: int,
    *,
    ndim: int,
    backbone: str = "resnet50",
    width: int = 64,
    output_stride: int = 8,
    stem: str = "deep",
    bins: Sequence[int] = (1, 2, 3, 6),
    aux: bool = False,
) -> EncoderHead:
    """PSPNet (Zhao et al. 2017, arXiv:1612.01105).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone, width, output_stride, stem
        See `zoo.backbones.ResNet`. The paper's deep stem has no ImageNet weights in
        torchvision; ``stem="torchvision"`` has.
    bins : sequence of int
        Parts per axis of the pyramid's levels.
    aux : bool
        Add an auxiliary head on the third stage, weight 0.4.
    """
    encoder = ResNet(
        backbone, in_channels, ndim=ndim, width=width, output_stride=output_stride, stem=stem
    )
    head = psp_head(encoder.channels[3], num_classes, ndim=ndim, bins=bins)
    extra = fcn_head(encoder.channels[2], num_classes, ndim=ndim) if aux else None
    return EncoderHead(encoder, head, extra, aux_weight=0.4)

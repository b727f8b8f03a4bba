"""Fully convolutional networks on VGG16 and on dilated ResNets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .backbones import VGG16, ResNet
from .blocks import CONV, CONV_TRANSPOSE, DROPOUT, initialize_he
from .encoder_head import EncoderHead, fcn_head


class FCN(nn.Module):
    """FCN-32s, -16s and -8s on VGG16 (Long et al. 2015, arXiv:1411.4038).

    The classifier of VGG16 becomes convolutions; scores of the third and fourth pooling
    are added on the way up, which is done by transposed convolutions that start as linear
    interpolation and are learned. All convolutions keep the size, where the original pads
    the image by 100 pixels and crops: the parameters are the same, and tiles fit together.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2}
        Spatial dimensions.
    stride : {32, 16, 8}
        Of the finest scores.
    backbone : {"vgg16", "vgg16_bn"}
        Without or with batch normalisation.
    width : int
        Channels of the first stage; the two large convolutions have 64 times as many.
    dropout : float
        Before the scores, in [0, 1).
    at_once : bool
        Scale the scores of the fourth and third pooling by 0.01 and 0.0001, as the
        authors do to train the 8s network in one go instead of from 32s over 16s.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        stride: int = 32,
        backbone: str = "vgg16",
        width: int = 64,
        dropout: float = 0.5,
        at_once: bool = False,
    ) -> None:
        super().__init__()
        if stride not in (8, 16, 32):
            raise InputError(f"stride must be 8, 16 or 32, not {stride}.")
        conv = CONV[ndim]
        self.backbone = VGG16(backbone, in_channels, ndim=ndim, width=width)
        channels, large = self.backbone.channels, 64 * width
        self.fc6 = conv(channels[4], large, 7, padding=3)
        self.fc7 = conv(large, large, 1)
        self.dropout = DROPOUT[ndim](dropout)
        sources = [large, channels[3], channels[2]][: {32: 1, 16: 2, 8: 3}[stride]]
        self.scores = nn.ModuleList(conv(c, num_classes, 1) for c in sources)
        self.scales = (1.0, 0.01, 0.0001) if at_once else (1.0, 1.0, 1.0)
        steps = (2,) * (len(sources) - 1) + (stride,)
        self.upscores = nn.ModuleList(_upscore(num_classes, s, ndim) for s in steps)
        self.divisor = self.backbone.divisor
        initialize_he(self)

    def forward(self, x: Tensor) -> Tensor:
        *_, pool3, pool4, pool5 = self.backbone(x)
        top = self.dropout(torch.relu(self.fc6(pool5)))
        top = self.dropout(torch.relu(self.fc7(top)))
        y: Tensor = self.scores[0](top)
        for n, pool in enumerate((pool4, pool3)[: len(self.scores) - 1]):
            skip = self.scores[n + 1](self.scales[n + 1] * pool)
            y = self.upscores[n](y) + skip
        logits: Tensor = self.upscores[-1](y)
        return logits


def _upscore(channels: int, stride: int, ndim: int) -> Any:
    """Transposed convolution that interpolates linearly until it learns otherwise."""
    kernel = 2 * stride
    layer = CONV_TRANSPOSE[ndim](
        channels, channels, kernel, stride=stride, padding=stride // 2, bias=False
    )
    tent = 1 - (torch.arange(kernel) - (kernel - 1) / 2).abs() / stride
    weights = tent
    for _ in range(ndim - 1):
        weights = weights[..., None] * tent
    with torch.no_grad():
        layer.weight.zero_()
        for n in range(channels):
            layer.weight[n, n] = weights
    return layer


def fcn_resnet(
    in_channels: int,
    num_classes: int,
    *,
    ndim: int,
    backbone: str = "resnet50",
    width: int = 64,
    output_stride: int = 8,
    stem: str = "torchvision",
    aux: bool = False,
) -> EncoderHead:
    """FCN head on a dilated ResNet, as torchvision builds it, with its parameter names.

    Long et al. 2015 (arXiv:1411.4038) on He et al. 2016 (arXiv:1512.03385).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone, width, output_stride, stem
        See `zoo.backbones.ResNet`.
    aux : bool
        Add an auxiliary head on the third stage.
    """
    encoder = ResNet(
        backbone, in_channels, ndim=ndim, width=width, output_stride=output_stride, stem=stem
    )
    head = fcn_head(encoder.channels[3], num_classes, ndim=ndim)
    extra = fcn_head(encoder.channels[2], num_classes, ndim=ndim) if aux else None
    return EncoderHead(encoder, head, extra)

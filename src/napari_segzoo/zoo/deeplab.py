"""DeepLab v1 and v2: dilated ("atrous") convolutions in place of the last poolings.

Both papers refine the result by a fully connected CRF, which is a post-processing step
here and can follow any network.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .backbones import VGG16, ResNet
from .blocks import CONV, DROPOUT, initialize_he
from .encoder_head import EncoderHead

ATROUS_STRIDES = (2, 2, 2, 1, 1)


class SumOfBranches(nn.Module):
    """Atrous spatial pyramid pooling of DeepLab v2: branches side by side, their logits summed."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.branches
        y: Tensor = first(x)
        for branch in others:
            y = y + branch(x)
        return y


def deeplab_vgg(
    in_channels: int,
    num_classes: int,
    *,
    ndim: int,
    backbone: str = "vgg16",
    width: int = 64,
    dropout: float = 0.5,
    rates: Sequence[int] = (12,),
) -> EncoderHead:
    """DeepLab on VGG16: LargeFOV (v1) with one rate, ASPP-L (v2) with four.

    Chen et al. 2015 (arXiv:1412.7062) and 2018 (arXiv:1606.00915).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone : {"vgg16", "vgg16_bn"}
        Without or with batch normalisation.
    width : int
        Channels of the first stage; the large convolutions have 16 times as many.
    dropout : float
        In the classifier, in [0, 1).
    rates : sequence of int
        Dilation per branch: ``(12,)`` for v1, ``(6, 12, 18, 24)`` for v2.
    """
    encoder = VGG16(backbone, in_channels, ndim=ndim, width=width, strides=ATROUS_STRIDES)
    branches = [
        _vgg_classifier(encoder.channels[4], 16 * width, num_classes, ndim, rate, dropout)
        for rate in rates
    ]
    return EncoderHead(encoder, SumOfBranches(branches))


def _vgg_classifier(
    in_channels: int, mid: int, num_classes: int, ndim: int, rate: int, dropout: float
) -> nn.Sequential:
    conv = CONV[ndim]
    layers = nn.Sequential(
        conv(in_channels, mid, 3, padding=rate, dilation=rate),
        nn.ReLU(inplace=True),
        DROPOUT[ndim](dropout),
        conv(mid, mid, 1),
        nn.ReLU(inplace=True),
        DROPOUT[ndim](dropout),
        conv(mid, num_classes, 1),
    )
    initialize_he(layers)
    return layers


def deeplabv2_resnet(
    in_channels: int,
    num_classes: int,
    *,
    ndim: int,
    backbone: str = "resnet101",
    width: int = 64,
    output_stride: int = 8,
    stem: str = "torchvision",
    rates: Sequence[int] = (6, 12, 18, 24),
) -> EncoderHead:
    """DeepLab v2 on a dilated ResNet: one dilated convolution to classes per branch.

    Chen et al. 2018 (arXiv:1606.00915).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone, width, output_stride, stem
        See `zoo.backbones.ResNet`.
    rates : sequence of int
        Dilation per branch.
    """
    encoder = ResNet(
        backbone, in_channels, ndim=ndim, width=width, output_stride=output_stride, stem=stem
    )
    branches = [
        CONV[ndim](encoder.channels[3], num_classes, 3, padding=r, dilation=r) for r in rates
    ]
    for branch in branches:
        nn.init.normal_(branch.weight, std=0.01)
        nn.init.zeros_(branch.bias)
    return EncoderHead(encoder, SumOfBranches(branches))

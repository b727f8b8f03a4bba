"""DeepLab v3 and v3+: pyramid of dilated convolutions with image pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .backbones import ResNet
from .blocks import CONV, conv_norm_relu, pooled_conv, resize_to
from .encoder_head import EncoderHead, fcn_head


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling with batch normalisation, and with the image's mean.

    Parameters
    ----------
    in_channels, out_channels : int
        Feature channels.
    ndim : {2, 3}
        Spatial dimensions.
    rates : sequence of int
        Dilation of the 3x3 convolutions, beside a 1x1 convolution.
    image_pooling : bool
        Add a branch that sees the mean over the whole image.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ndim: int,
        rates: Sequence[int],
        image_pooling: bool,
    ) -> None:
        super().__init__()
        branches: list[nn.Module] = [conv_norm_relu(in_channels, out_channels, ndim=ndim, kernel=1)]
        branches += [
            conv_norm_relu(in_channels, out_channels, ndim=ndim, dilation=rate) for rate in rates
        ]
        if image_pooling:
            branches.append(pooled_conv(in_channels, out_channels, ndim=ndim, size=1))
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(
            *conv_norm_relu(len(branches) * out_channels, out_channels, ndim=ndim, kernel=1),
            nn.Dropout(0.5),
        )

    def forward(self, x: Tensor) -> Tensor:
        branches = [resize_to(branch(x), x.shape[2:]) for branch in self.convs]
        result: Tensor = self.project(torch.cat(branches, dim=1))
        return result


def deeplabv3_head(
    in_channels: int,
    num_classes: int,
    *,
    ndim: int,
    rates: Sequence[int] = (12, 24, 36),
    image_pooling: bool = True,
    width: int = 256,
) -> nn.Sequential:
    """ASPP, a 3x3 convolution and a 1x1 convolution to classes."""
    return nn.Sequential(
        ASPP(in_channels, width, ndim=ndim, rates=rates, image_pooling=image_pooling),
        *conv_norm_relu(width, width, ndim=ndim),
        CONV[ndim](width, num_classes, 1),
    )


def deeplabv3(
    in_channels: int,
    num_classes: int,
    *,
    ndim: int,
    backbone: str = "resnet50",
    width: int = 64,
    output_stride: int = 8,
    stem: str = "torchvision",
    rates: Sequence[int] | None = None,
    image_pooling: bool = True,
    aux: bool = False,
) -> EncoderHead:
    """DeepLab v3 as torchvision builds it, with its parameter names.

    Chen et al. 2017 (arXiv:1706.05587).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone, width, output_stride, stem
        See `zoo.backbones.ResNet`; the head has 4 times `width` channels.
    rates : sequence of int, optional
        Dilations of the pyramid; by default 12, 24, 36 at `output_stride` 8, else half.
    image_pooling : bool
        Let the head see the mean over the whole image; without it the result does not
        depend on the tile.
    aux : bool
        Add an auxiliary head on the third stage.
    """
    encoder = ResNet(
        backbone, in_channels, ndim=ndim, width=width, output_stride=output_stride, stem=stem
    )
    head = deeplabv3_head(
        encoder.channels[3],
        num_classes,
        ndim=ndim,
        rates=rates or default_rates(output_stride),
        image_pooling=image_pooling,
        width=4 * width,
    )
    extra = fcn_head(encoder.channels[2], num_classes, ndim=ndim) if aux else None
    return EncoderHead(encoder, head, extra)


def default_rates(output_stride: int) -> tuple[int, ...]:
    """Dilations of the pyramid that the paper uses at an output stride."""
    return (12, 24, 36) if output_stride == 8 else (6, 12, 18)


class DeepLabV3Plus(nn.Module):
    """DeepLab v3+: the pyramid's features, sharpened by those of the first stage.

    Chen et al. 2018 (arXiv:1802.02611), with plain convolutions on a ResNet.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone, width, output_stride, stem
        See `zoo.backbones.ResNet`; the head has 4 times `width` channels.
    rates, image_pooling
        See `deeplabv3`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        backbone: str = "resnet50",
        width: int = 64,
        output_stride: int = 16,
        stem: str = "torchvision",
        rates: Sequence[int] | None = None,
        image_pooling: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = ResNet(
            backbone, in_channels, ndim=ndim, width=width, output_stride=output_stride, stem=stem
        )
        fine, *_, coarse = self.backbone.channels
        head, low = 4 * width, max(1, 3 * width // 4)
        self.aspp = ASPP(
            coarse,
            head,
            ndim=ndim,
            rates=rates or default_rates(output_stride),
            image_pooling=image_pooling,
        )
        self.project = conv_norm_relu(fine, low, ndim=ndim, kernel=1)
        self.classifier = nn.Sequential(
            conv_norm_relu(head + low, head, ndim=ndim),
            conv_norm_relu(head, head, ndim=ndim),
            nn.Dropout(0.1),
            CONV[ndim](head, num_classes, 1),
        )
        self.divisor = self.backbone.divisor

    def forward(self, x: Tensor) -> Tensor:
        fine, *_, coarse = self.backbone(x)
        context = resize_to(self.aspp(coarse), fine.shape[2:])
        logits = self.classifier(torch.cat([self.project(fine), context], dim=1))
        return resize_to(logits, x.shape[2:])

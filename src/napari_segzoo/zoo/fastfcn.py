"""FastFCN: joint pyramid upsampling in place of dilated backbones, under four heads."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import InputError
from .backbones import ResNet
from .blocks import BATCH_NORM, CONV, conv_norm_relu, resize_to
from .deeplabv3 import deeplabv3_head
from .encnet import EncodingHead
from .encoder_head import fcn_head
from .pspnet import psp_head

HEADS: dict[str, Callable[..., nn.Module]] = {
    "fcn": fcn_head,
    "psp": psp_head,
    "deeplabv3": deeplabv3_head,
    "encnet": EncodingHead,
}


class JPU(nn.Module):
    """Joint pyramid upsampling: the last three stages of a backbone as one at stride 8.

    Wu et al. 2019 (arXiv:1903.11816). Each stage is brought to `width` channels and to
    the finest size; four separable convolutions of growing dilation look at all of them.

    Parameters
    ----------
    channels : tuple of int
        Of the three stages, finest first.
    width : int
        Channels per branch; the result has 4 times as many.
    ndim : {2, 3}
        Spatial dimensions.
    """

    def __init__(self, channels: tuple[int, ...], width: int, *, ndim: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(conv_norm_relu(c, width, ndim=ndim) for c in channels)
        self.dilations = nn.ModuleList(
            _separable(len(channels) * width, width, ndim, dilation) for dilation in (1, 2, 4, 8)
        )

    def forward(self, stages: list[Tensor]) -> Tensor:
        size = stages[0].shape[2:]
        xs = [resize_to(lateral(x), size) for lateral, x in zip(self.laterals, stages, strict=True)]
        x = torch.cat(xs, dim=1)
        return torch.cat([branch(x) for branch in self.dilations], dim=1)


def _separable(in_channels: int, out_channels: int, ndim: int, dilation: int) -> nn.Sequential:
    depthwise = CONV[ndim](
        in_channels,
        in_channels,
        3,
        padding=dilation,
        dilation=dilation,
        groups=in_channels,
        bias=False,
    )
    pointwise = conv_norm_relu(in_channels, out_channels, ndim=ndim, kernel=1)
    return nn.Sequential(depthwise, BATCH_NORM[ndim](in_channels), pointwise)


class FastFCN(nn.Module):
    """FastFCN (Wu et al. 2019, arXiv:1903.11816): ResNet, JPU, and a head.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    head : {"fcn", "psp", "deeplabv3", "encnet"}
        What turns the joined features into logits.
    backbone, width, stem
        See `zoo.backbones.ResNet`; the JPU has 8 times `width` channels per branch. The
        published deep stem has no ImageNet weights in torchvision; ``"torchvision"`` has.
    aux : bool
        Add an auxiliary head on the third stage and, with EncNet, the class prediction
        of its semantic encoding loss, weights 0.2 as in the paper.

    Attributes
    ----------
    divisor : tuple of int
        Per axis, what the input size must be a multiple of.
    output_weights : tuple of float
        Only with `aux`: weights of the losses of `outputs`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        head: str = "fcn",
        backbone: str = "resnet50",
        width: int = 64,
        stem: str = "deep",
        aux: bool = False,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise InputError(f"head must be one of {', '.join(HEADS)}, not {head!r}.")
        self.backbone = ResNet(backbone, in_channels, ndim=ndim, width=width, stem=stem)
        channels = self.backbone.channels
        self.jpu = JPU(channels[1:], 8 * width, ndim=ndim)
        joined = 32 * width
        if head == "deeplabv3":
            self.head: nn.Module = deeplabv3_head(joined, num_classes, ndim=ndim, width=4 * width)
        elif head == "encnet":
            self.head = EncodingHead(joined, num_classes, ndim=ndim, class_prediction=aux)
        else:
            self.head = HEADS[head](joined, num_classes, ndim=ndim)
        self.aux_head = fcn_head(channels[2], num_classes, ndim=ndim) if aux else None
        self.divisor = self.backbone.divisor
        if aux:
            self.output_weights = (1.0, 0.2, 0.2) if head == "encnet" else (1.0, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        features = self.jpu(self.backbone(x)[1:])
        return resize_to(self.head(features), x.shape[2:])

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return the logits and, with `aux`, those of the auxiliary heads."""
        stages = self.backbone(x)
        features = self.jpu(stages[1:])
        if self.aux_head is None:
            logits = [self.head(features)]
        elif isinstance(self.head, EncodingHead):
            main, classes = self.head.with_class_prediction(features)
            logits = [main, self.aux_head(stages[2]), classes]
        else:
            logits = [self.head(features), self.aux_head(stages[2])]
        return [resize_to(y, x.shape[2:]) for y in logits]

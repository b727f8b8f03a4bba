"""A backbone with a head on its features: the form FCN, DeepLab and PSPNet share."""

from __future__ import annotations

from torch import Tensor, nn

from .backbones import VGG16, ResNet
from .blocks import CONV, conv_norm_relu, resize_to


class EncoderHead(nn.Module):
    """Backbone, classifier on its last features, interpolation to the size of the input.

    Parameters
    ----------
    backbone : ResNet or VGG16
        Returns features per stage.
    classifier : Module
        From the last stage's features to logits.
    aux_classifier : Module, optional
        From the last stage but one to logits: an auxiliary loss for training.
    aux_weight : float
        Weight of the auxiliary loss.

    Attributes
    ----------
    divisor : tuple of int
        Per axis, what the input size must be a multiple of.
    output_weights : tuple of float
        Only with `aux_classifier`: weights of the losses of `outputs`.
    """

    def __init__(
        self,
        backbone: ResNet | VGG16,
        classifier: nn.Module,
        aux_classifier: nn.Module | None = None,
        aux_weight: float = 0.5,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.divisor = backbone.divisor
        self.aux_classifier = aux_classifier
        if aux_classifier is not None:
            self.output_weights = (1.0, aux_weight)

    def forward(self, x: Tensor) -> Tensor:
        return resize_to(self.classifier(self.backbone(x)[-1]), x.shape[2:])

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Return the logits and, with an auxiliary head, its logits."""
        features = self.backbone(x)
        logits = [self.classifier(features[-1])]
        if self.aux_classifier is not None:
            logits.append(self.aux_classifier(features[-2]))
        return [resize_to(y, x.shape[2:]) for y in logits]


def fcn_head(
    in_channels: int, num_classes: int, *, ndim: int, dropout: float = 0.1
) -> nn.Sequential:
    """3x3 convolution to a quarter of the channels, dropout, 1x1 convolution to classes."""
    mid = in_channels // 4
    return nn.Sequential(
        *conv_norm_relu(in_channels, mid, ndim=ndim),
        nn.Dropout(dropout),
        CONV[ndim](mid, num_classes, 1),
    )

"""The head of EncNet: features weighted by what kind of image they come from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import CONV, conv_norm_relu


class Encoding(nn.Module):
    """Soft assignment of features to codewords; returns the residuals summed per codeword.

    Parameters
    ----------
    channels, codes : int
        Length of a feature and number of codewords.
    """

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        limit = (codes * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codes, channels).uniform_(-limit, limit))
        self.scale = nn.Parameter(torch.empty(codes).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, C, [Z,] Y, X) to (N, codes, C)."""
        features = x.flatten(2).transpose(1, 2)
        distance = (
            features.square().sum(2, keepdim=True)
            - 2 * features @ self.codewords.T
            + self.codewords.square().sum(1)
        )
        weights = torch.softmax(self.scale * distance, dim=2).transpose(1, 2)
        return weights @ features - weights.sum(2, keepdim=True) * self.codewords


class EncodingHead(nn.Module):
    """Context encoding (Zhang et al. 2018, arXiv:1803.08904).

    Parameters
    ----------
    in_channels, num_classes : int
        Feature channels and classes.
    ndim : {2, 3}
        Spatial dimensions.
    codes : int
        Codewords.
    class_prediction : bool
        Also predict from the encoding which classes the image holds.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        codes: int = 32,
        class_prediction: bool = False,
    ) -> None:
        super().__init__()
        channels = in_channels // 4
        self.reduce = conv_norm_relu(in_channels, channels, ndim=ndim, kernel=1)
        self.encode = nn.Sequential(
            conv_norm_relu(channels, channels, ndim=ndim, kernel=1),
            Encoding(channels, codes),
            nn.BatchNorm1d(codes),
            nn.ReLU(inplace=True),
        )
        self.gate = nn.Linear(channels, channels)
        self.classes = nn.Linear(channels, num_classes) if class_prediction else None
        self.classifier = nn.Sequential(nn.Dropout(0.1), CONV[ndim](channels, num_classes, 1))

    def encoded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the image's encoding (N, channels)."""
        x = self.reduce(x)
        encoding = self.encode(x).mean(1)
        gate = torch.sigmoid(self.gate(encoding))
        gate = gate.reshape(*gate.shape, *[1] * (x.ndim - 2))
        return self.classifier(torch.relu(x + x * gate)), encoding

    def forward(self, x: Tensor) -> Tensor:
        return self.encoded(x)[0]

    def with_class_prediction(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, and class logits of the image that are constant over it.

        The segmentation loss of the second asks for the share of each class in the image:
        the paper's semantic encoding loss in a form that any loss here can drive.
        """
        if self.classes is None:
            raise ValueError("This head was built without class_prediction.")
        logits, encoding = self.encoded(x)
        classes = self.classes(encoding)
        return logits, classes.reshape(*classes.shape, *[1] * (x.ndim - 2)).expand_as(logits)

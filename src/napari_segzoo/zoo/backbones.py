"""Encoders known from image classification, in 2D and 3D: ResNet and VGG16.

The parameters carry torchvision's names, so that its ImageNet weights load as they are;
torchvision itself is needed only to fetch them (`zoo.pretrained`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from .blocks import BATCH_NORM, CONV, MAX_POOL, initialize_he

RESNETS: dict[str, tuple[int, ...]] = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
VGG_CONVS = (2, 2, 3, 3, 3)
VGG_WIDTHS = (1, 2, 4, 8, 8)


class ResidualBlock(nn.Module):
    """The two-convolution block of ResNet-18/34 or the bottleneck of the deeper ones.

    He et al. 2016 (arXiv:1512.03385); in the bottleneck the 3x3 convolution has the stride.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        *,
        ndim: int,
        bottleneck: bool,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        conv, norm = CONV[ndim], BATCH_NORM[ndim]
        out = 4 * planes if bottleneck else planes
        wide = {"padding": dilation, "dilation": dilation, "bias": False}
        if bottleneck:
            self.conv1 = conv(in_channels, planes, 1, bias=False)
            self.bn1 = norm(planes)
            self.conv2 = conv(planes, planes, 3, stride=stride, **wide)
            self.bn2 = norm(planes)
            self.conv3 = conv(planes, out, 1, bias=False)
            self.bn3 = norm(out)
        else:
            self.conv1 = conv(in_channels, planes, 3, stride=stride, **wide)
            self.bn1 = norm(planes)
            self.conv2 = conv(planes, out, 3, **wide)
            self.bn2 = norm(out)
        self.relu = nn.ReLU(inplace=True)
        self.bottleneck = bottleneck
        self.downsample: nn.Module | None = None
        self.kept: tuple[Any, ...] = (..., *[slice(None, None, stride)] * ndim)
        if stride != 1 or in_channels != out:
            self.downsample = nn.Sequential(conv(in_channels, out, 1, bias=False), norm(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(self.relu(y)))
        # Thinned out beforehand, as a 1x1 convolution with a stride has gradients that
        # differ from run to run on two threads (PyTorch 2.15, channels last, AVX2).
        shortcut = x if self.downsample is None else self.downsample(x[self.kept])
        result: Tensor = self.relu(y + shortcut)
        return result


class ResNet(nn.Module):
    """ResNet without its classifier, as an encoder of four stages.

    Parameters
    ----------
    name : str
        A key of `RESNETS`.
    in_channels, ndim : int
        Input channels and spatial dimensions.
    width : int
        Channels of the first stage's inner convolutions; 64 is the published one.
    output_stride : {8, 16, 32}
        Total down-sampling. Below 32 the last stages keep their resolution and dilate
        their convolutions instead (the first block by the previous stage's dilation).
    stem : {"torchvision", "deep"}
        One 7x7 convolution, or three 3x3 ones with twice the channels at the end (half
        of them in ResNet-18 and -34), for which torchvision has no weights.

    Attributes
    ----------
    channels : tuple of int
        Of the four stages.
    divisor : tuple of int
        Per axis, what the input size must be a multiple of.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        *,
        ndim: int,
        width: int = 64,
        output_stride: int = 32,
        stem: str = "torchvision",
    ) -> None:
        super().__init__()
        if name not in RESNETS:
            raise InputError(f"backbone must be one of {', '.join(RESNETS)}, not {name!r}.")
        if output_stride not in (8, 16, 32):
            raise InputError(f"output_stride must be 8, 16 or 32, not {output_stride}.")
        self.name, self.stem, self.width = name, stem, width
        bottleneck = name not in ("resnet18", "resnet34")
        channels = width
        if stem == "deep":
            channels = 2 * width if bottleneck else width
            self.conv1: nn.Module = _deep_stem(in_channels, channels, ndim)
        elif stem == "torchvision":
            self.conv1 = CONV[ndim](in_channels, width, 7, stride=2, padding=3, bias=False)
        else:
            raise InputError(f"stem must be torchvision or deep, not {stem!r}.")
        self.bn1 = BATCH_NORM[ndim](channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = MAX_POOL[ndim](3, stride=2, padding=1)
        reached, dilation = 4, 1
        layers = []
        for stage, blocks in enumerate(RESNETS[name]):
            stride = 1 if stage == 0 else 2
            first_dilation = dilation
            if reached * stride > output_stride:
                dilation *= stride
                stride = 1
            reached *= stride
            planes = width * 2**stage
            layer = nn.Sequential()
            for n in range(blocks):
                layer.append(
                    ResidualBlock(
                        channels,
                        planes,
                        ndim=ndim,
                        bottleneck=bottleneck,
                        stride=stride if n == 0 else 1,
                        dilation=first_dilation if n == 0 else dilation,
                    )
                )
                channels = planes * (4 if bottleneck else 1)
            layers.append(layer)
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.channels = tuple(width * 2**s * (4 if bottleneck else 1) for s in range(4))
        self.divisor = (output_stride,) * ndim
        initialize_he(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of the four stages, finest first."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        stages = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            stages.append(x)
        return stages


def _deep_stem(in_channels: int, out_channels: int, ndim: int) -> nn.Sequential:
    half = max(1, out_channels // 2)
    conv, norm = CONV[ndim], BATCH_NORM[ndim]
    return nn.Sequential(
        conv(in_channels, half, 3, stride=2, padding=1, bias=False),
        norm(half),
        nn.ReLU(inplace=True),
        conv(half, half, 3, padding=1, bias=False),
        norm(half),
        nn.ReLU(inplace=True),
        conv(half, out_channels, 3, padding=1, bias=False),
    )


class VGG16(nn.Module):
    """The convolutions of VGG16 (Simonyan & Zisserman 2015, arXiv:1409.1556).

    Parameters
    ----------
    name : {"vgg16", "vgg16_bn"}
        Without or with batch normalisation.
    in_channels, ndim : int
        Input channels and spatial dimensions.
    width : int
        Channels of the first stage; 64 is the published one.
    strides : sequence of int
        Of the five poolings. Where one is 1, pooling spans 3 voxels everywhere, and the
        convolutions of the last stage are dilated by 2 (DeepLab's VGG16).
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        *,
        ndim: int,
        width: int = 64,
        strides: Sequence[int] = (2, 2, 2, 2, 2),
    ) -> None:
        super().__init__()
        if name not in ("vgg16", "vgg16_bn"):
            raise InputError(f"backbone must be vgg16 or vgg16_bn, not {name!r}.")
        self.name, self.width = name, width
        self.channels = tuple(width * w for w in VGG_WIDTHS)
        atrous = 1 in strides
        self.features = nn.Sequential()
        channels = in_channels
        for stage, (count, stride) in enumerate(zip(VGG_CONVS, strides, strict=True)):
            dilation = 2 if atrous and stage == 4 else 1
            for _ in range(count):
                out = self.channels[stage]
                self.features.append(
                    CONV[ndim](channels, out, 3, padding=dilation, dilation=dilation)
                )
                if name == "vgg16_bn":
                    self.features.append(BATCH_NORM[ndim](out))
                self.features.append(nn.ReLU(inplace=True))
                channels = out
            kernel, padding = (3, 1) if atrous else (2, 0)
            self.features.append(MAX_POOL[ndim](kernel, stride=stride, padding=padding))
        self.divisor = (prod(strides),) * ndim
        initialize_he(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features after each of the five poolings."""
        pooled = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, (nn.MaxPool2d, nn.MaxPool3d)):
                pooled.append(x)
        return pooled

"""SegNet: a decoder that puts each maximum back where the encoder found it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import VGG16, VGG_CONVS
from .blocks import BATCH_NORM, CONV, Layer, initialize_he

MAX_UNPOOL: dict[int, Layer] = {2: F.max_unpool2d, 3: F.max_unpool3d}
MAX_POOL_WITH_INDICES: dict[int, Layer] = {2: F.max_pool2d, 3: F.max_pool3d}


class SegNet(nn.Module):
    """SegNet (Badrinarayanan et al. 2017, arXiv:1511.00561) on VGG16 with batch normalisation.

    The decoder mirrors the 13 convolutions of the encoder; instead of features, the
    positions of the pooled maxima are handed over.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone : {"vgg16_bn", "vgg16"}
        With or without batch normalisation in the encoder.
    width : int
        Channels of the first stage.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        backbone: str = "vgg16_bn",
        width: int = 64,
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.backbone = VGG16(backbone, in_channels, ndim=ndim, width=width)
        channels = self.backbone.channels
        self.decoder = nn.ModuleList()
        for stage in reversed(range(5)):
            below = channels[stage - 1] if stage else channels[0]
            outs = [channels[stage]] * (VGG_CONVS[stage] - 1) + [below]
            layers = nn.Sequential()
            source = channels[stage]
            for out in outs[:-1] if stage == 0 else outs:
                layers.extend(
                    [
                        CONV[ndim](source, out, 3, padding=1),
                        BATCH_NORM[ndim](out),
                        nn.ReLU(inplace=True),
                    ]
                )
                source = out
            self.decoder.append(layers)
        self.classifier = CONV[ndim](channels[0], num_classes, 3, padding=1)
        self.divisor = self.backbone.divisor
        initialize_he(self.decoder)

    def forward(self, x: Tensor) -> Tensor:
        pools = []
        for layer in self.backbone.features:
            if isinstance(layer, (nn.MaxPool2d, nn.MaxPool3d)):
                size = x.shape[2:]
                x, indices = MAX_POOL_WITH_INDICES[self.ndim](x, 2, return_indices=True)
                pools.append((indices, size))
            else:
                x = layer(x)
        for decode in self.decoder:
            indices, size = pools.pop()
            x = decode(MAX_UNPOOL[self.ndim](x, indices, 2, output_size=size))
        logits: Tensor = self.classifier(x)
        return logits

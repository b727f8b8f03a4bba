"""Feature pyramid network with a segmentation branch."""

from __future__ import annotations

from torch import Tensor, nn

from .backbones import ResNet
from .blocks import CONV, conv_norm_relu, resize_to


class FPN(nn.Module):
    """Feature pyramid (Lin et al. 2017, arXiv:1612.03144) with the semantic branch of
    Panoptic FPN (Kirillov et al. 2019, arXiv:1901.02446).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    backbone, width, stem
        See `zoo.backbones.ResNet`. The pyramid has 4 times, the branch 2 times `width`
        channels.
    norm : {"batch", "group", "instance", "none"}
        Normalisation in the semantic branch. The paper has group normalisation; with
        batch normalisation the result does not depend on the tile.

    Attributes
    ----------
    divisor : tuple of int
        Per axis, what the input size must be a multiple of.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        ndim: int,
        backbone: str = "resnet50",
        width: int = 64,
        stem: str = "torchvision",
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.backbone = ResNet(backbone, in_channels, ndim=ndim, width=width, stem=stem)
        pyramid, branch = 4 * width, 2 * width
        self.laterals = nn.ModuleList(CONV[ndim](c, pyramid, 1) for c in self.backbone.channels)
        self.smooth = nn.ModuleList(CONV[ndim](pyramid, pyramid, 3, padding=1) for _ in range(4))
        self.branches = nn.ModuleList()
        for level in range(4):
            steps = nn.ModuleList()
            for n in range(max(1, level)):
                source = branch if n else pyramid
                steps.append(conv_norm_relu(source, branch, ndim=ndim, norm=norm))
            self.branches.append(UpwardBranch(steps))
        self.head = nn.Sequential(nn.Dropout(0.1), CONV[ndim](branch, num_classes, 1))
        self.divisor = self.backbone.divisor

    def forward(self, x: Tensor) -> Tensor:
        stages = self.backbone(x)
        level = self.laterals[3](stages[3])
        pyramid = [level]
        for n in (2, 1, 0):
            level = self.laterals[n](stages[n]) + resize_to(level, stages[n].shape[2:])
            pyramid.insert(0, level)
        sizes = [stage.shape[2:] for stage in stages]
        y: Tensor | None = None
        for n, branch in enumerate(self.branches):
            part = branch(self.smooth[n](pyramid[n]), sizes[:n])
            y = part if y is None else y + part
        return resize_to(self.head(y), x.shape[2:])


class UpwardBranch(nn.Module):
    """Convolve and interpolate from one pyramid level up to the finest."""

    def __init__(self, steps: nn.ModuleList) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor, sizes: list[tuple[int, ...]]) -> Tensor:
        """Apply each step and grow to the next of `sizes`, which run from fine to coarse."""
        if not sizes:
            result: Tensor = self.steps[0](x)
            return result
        for step, size in zip(self.steps, reversed(sizes), strict=True):
            x = resize_to(step(x), size)
        return x

"""HRNet: all resolutions side by side, exchanging features again and again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from .backbones import ResidualBlock
from .blocks import BATCH_NORM, CONV, conv_norm_relu, initialize_he, resize_to


class HRNet(nn.Module):
    """HRNetV2 for segmentation (Wang et al. 2020, arXiv:1908.07919).

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input and of the logits.
    ndim : {2, 3}
        Spatial dimensions.
    width : int
        Channels of the finest of the four resolutions: 18, 32 or 48 are published.
    modules : sequence of int
        Exchange modules in stages 2, 3 and 4.
    stem_width : int
        Channels of the stem, a quarter of the first stage's.

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
        width: int = 18,
        modules: Sequence[int] = (1, 4, 3),
        stem_width: int = 64,
    ) -> None:
        super().__init__()
        if len(modules) != 3:
            raise InputError(f"modules must be 3 numbers, not {tuple(modules)!r}.")
        self.stem = nn.Sequential(
            conv_norm_relu(in_channels, stem_width, ndim=ndim, stride=2),
            conv_norm_relu(stem_width, stem_width, ndim=ndim, stride=2),
        )
        channels = [4 * stem_width]
        self.stage1 = nn.Sequential(
            *(
                ResidualBlock(
                    stem_width if n == 0 else channels[0], stem_width, ndim=ndim, bottleneck=True
                )
                for n in range(4)
            )
        )
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        for branches, count in zip((2, 3, 4), modules, strict=True):
            wanted = [width * 2**n for n in range(branches)]
            self.transitions.append(Transition(channels, wanted, ndim=ndim))
            self.stages.append(
                nn.Sequential(*(ExchangeModule(wanted, ndim=ndim) for _ in range(count)))
            )
            channels = wanted
        total = sum(channels)
        self.classifier = nn.Sequential(
            CONV[ndim](total, total, 1),
            BATCH_NORM[ndim](total),
            nn.ReLU(inplace=True),
            CONV[ndim](total, num_classes, 1),
        )
        self.divisor = (32,) * ndim
        initialize_he(self)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        branches = [self.stage1(self.stem(x))]
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            branches = stage(transition(branches))
        finest = branches[0].shape[2:]
        features = torch.cat([resize_to(b, finest) for b in branches], dim=1)
        return resize_to(self.classifier(features), size)


class Transition(nn.Module):
    """Bring the branches to the wanted widths and open one more below."""

    def __init__(self, channels: Sequence[int], wanted: Sequence[int], *, ndim: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Identity() if c == w else conv_norm_relu(c, w, ndim=ndim)
            for c, w in zip(channels, wanted, strict=False)
        )
        self.steps.append(conv_norm_relu(channels[-1], wanted[-1], ndim=ndim, stride=2))

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        return [step(x) for step, x in zip(self.steps, [*xs, xs[-1]], strict=True)]


class ExchangeModule(nn.Module):
    """Four residual blocks per resolution, then each resolution receives from all others."""

    def __init__(self, channels: Sequence[int], *, ndim: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(c, c, ndim=ndim, bottleneck=False) for _ in range(4)))
            for c in channels
        )
        self.receivers = nn.ModuleList(
            Receiver(channels, target, ndim=ndim) for target in range(len(channels))
        )

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        return [receive(xs) for receive in self.receivers]


class Receiver(nn.Module):
    """Sum of all resolutions, each brought to one of them."""

    def __init__(self, channels: Sequence[int], target: int, *, ndim: int) -> None:
        super().__init__()
        self.target = target
        self.paths = nn.ModuleList(
            _path(channels, source, target, ndim) for source in range(len(channels))
        )

    def forward(self, xs: list[Tensor]) -> Tensor:
        total = xs[self.target]
        for n, (path, x) in enumerate(zip(self.paths, xs, strict=True)):
            if n != self.target:
                total = total + resize_to(path(x), total.shape[2:])
        return torch.relu(total)


def _path(channels: Sequence[int], source: int, target: int, ndim: int) -> nn.Module:
    """Layers from one resolution to another; going finer, interpolation follows."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            CONV[ndim](channels[source], channels[target], 1, bias=False),
            BATCH_NORM[ndim](channels[target]),
        )
    steps = nn.Sequential()
    for n in range(source, target):
        out = channels[target] if n == target - 1 else channels[source]
        step = conv_norm_relu(channels[source], out, ndim=ndim, stride=2)
        steps.append(step if n < target - 1 else step[:2])
    return steps

"""A network for new classes and channels that keeps what a trained one has learnt."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..model import ModelInfo, SegmentationModel


def adapt(base: SegmentationModel, info: ModelInfo) -> SegmentationModel:
    """Build the network of `info` and fill it with the weights of `base`.

    Weights of the same shape are copied. A first convolution for other channels gets the
    mean over the old ones, scaled so that activations keep their size; layers for other
    classes start at random.

    Parameters
    ----------
    base : SegmentationModel
        A trained model of the same architecture, options and number of dimensions.
    info : ModelInfo
        What the new model is for.
    """
    model = SegmentationModel.create(info)
    old, new = base.network.state_dict(), model.network.state_dict()
    for name, fresh in new.items():
        if name in old:
            new[name] = _fit(old[name], fresh, base.info.in_channels, info.in_channels)
    model.network.load_state_dict(new)
    return model


def _fit(old: Tensor, fresh: Tensor, old_channels: int, new_channels: int) -> Tensor:
    if old.shape == fresh.shape:
        return old.clone()
    same_but_input = (
        old.ndim == fresh.ndim > 2
        and old.shape[0] == fresh.shape[0]
        and old.shape[2:] == fresh.shape[2:]
        and (old.shape[1], fresh.shape[1]) == (old_channels, new_channels)
    )
    if same_but_input:
        mean = old.mean(dim=1, keepdim=True) * (old_channels / new_channels)
        return mean.expand_as(fresh).clone()
    return fresh


class WeightAverage:
    """Moving average of a network's weights and running statistics over its latest updates.

    After t updates the average reaches back over about t / 9 of them: polynomial-decay
    averaging (Shamir & Zhang 2013, ICML), which needs no knowledge of how long training is.

    Parameters
    ----------
    state : mapping
        State dictionary of the network before training.
    share : float
        How far the weights go from there to the average, in (0, 1]. Part of the way keeps more
        of what a trained network could do (Wortsman et al. 2022, CVPR, arXiv:2109.01903).
    """

    def __init__(self, state: Mapping[str, Tensor], share: float = 1.0) -> None:
        self._updates, self._share = 0, share
        self._state = {k: v.detach().clone() for k, v in state.items()}
        self._before = {k: v.clone() for k, v in self._state.items()} if share < 1 else {}

    @torch.no_grad()
    def update(self, state: Mapping[str, Tensor]) -> None:
        """Take one step towards the state dictionary of the network as it is now."""
        self._updates += 1
        decay = self._updates / (self._updates + 9)
        for name, value in state.items():
            if value.dtype.is_floating_point:
                self._state[name].lerp_(value.detach(), 1 - decay)
            else:
                self._state[name].copy_(value)

    @property
    def state(self) -> dict[str, Tensor]:
        """State dictionary of the averaged network."""
        return self._state | {
            name: before.lerp(self._state[name], self._share)
            for name, before in self._before.items()
            if before.dtype.is_floating_point
        }

"""The optimizer of few-shot training takes the steps of PyTorch's."""

import copy

import torch
from torch import nn

from napari_segzoo.training.adamw import WEIGHT_DECAY, AdamW


def test_its_steps_are_those_of_pytorch():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Linear(2, 2))
    theirs = copy.deepcopy(ours)
    first = AdamW(ours.parameters())
    second = torch.optim.AdamW(theirs.parameters(), weight_decay=WEIGHT_DECAY)
    for step in range(20):
        rate = 0.03 / (1 + step)
        for group in second.param_groups:
            group["lr"] = rate
        x = torch.randn(11, 5)
        first.forget_gradients()
        second.zero_grad()
        for network in (ours, theirs):
            network[:3](x).square().sum().backward()
        first.step(rate)
        second.step()
    assert ours[3].weight.grad is None
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)

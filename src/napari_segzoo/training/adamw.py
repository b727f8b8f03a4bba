"""AdamW without the import of PyTorch's compiler."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.adamw import adamw

WEIGHT_DECAY = 1e-2


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, ICLR, arXiv:1711.05101).

    The same steps as those of `torch.optim.AdamW`, but that class imports PyTorch's compiler when
    it is first made: two seconds or more, of the minute that a few strokes are given.

    Parameters
    ----------
    parameters : iterable of Parameter
        What is changed; those without a gradient are left as they are.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]
        self._steps = [torch.zeros(()) for _ in self._parameters]

    def forget_gradients(self) -> None:
        """Let the next backward pass begin anew."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change the parameters once, at a learning rate."""
        states = zip(self._parameters, self._means, self._squares, self._steps, strict=True)
        changed = [(p, p.grad, m, s, n) for p, m, s, n in states if p.grad is not None]
        if not changed:
            return
        parameters, gradients, means, squares, steps = map(list, zip(*changed, strict=True))
        adamw(
            parameters,
            gradients,
            means,
            squares,
            [],
            steps,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=WEIGHT_DECAY,
            eps=1e-8,
            maximize=False,
        )

"""Layers with positive weights along one axis: what the receptive field is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Size = int | Sequence[int]


class UnboundedError(Exception):
    """An operation makes every output depend on the whole input."""


class OneAxis(TorchFunctionMode):
    """Run layers with constant positive weights along one spatial axis only."""

    def __init__(self, axis: int, ndim: int) -> None:
        super().__init__()
        self.axis, self.ndim = axis, ndim

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        if name in IDENTITIES:
            return args[0]
        if name in UNBOUNDED or name.startswith("adaptive_"):
            raise UnboundedError(name)
        if name in REDUCTIONS and _reduces_space(self.ndim, *args, **kwargs):
            raise UnboundedError(name)
        own = LAYERS.get(name)
        return own(self, *args, **kwargs) if own else func(*args, **kwargs)

    def pick(self, value: Size) -> int:
        """Entry of a kernel size, stride... that belongs to the measured axis."""
        values = (value,) if isinstance(value, int) else tuple(value)
        return int(values[self.axis] if len(values) > 1 else values[0])

    def line(self, x: Tensor) -> Tensor:
        """Average the channels and drop the other axes: (N, 1, length)."""
        return _one_channel(x).flatten(2)

    def volume(self, line: Tensor, channels: int) -> Tensor:
        """Undo `line`, the channels all alike."""
        size = [1] * self.ndim
        size[self.axis] = line.shape[2]
        return spread(line.reshape(-1, 1, *size), channels)


def _conv(
    axis: OneAxis,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    kernel = _mean_kernel(axis.pick(weight.shape[2:]))
    pad = padding if isinstance(padding, str) else axis.pick(padding)
    line = F.conv1d(axis.line(input), kernel, None, axis.pick(stride), pad, axis.pick(dilation))
    return axis.volume(line, weight.shape[0])


def _conv_transpose(
    axis: OneAxis,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    kernel = _mean_kernel(axis.pick(weight.shape[2:]))
    step, pad, extra, spread = (axis.pick(v) for v in (stride, padding, output_padding, dilation))
    line = F.conv_transpose1d(axis.line(input), kernel, None, step, pad, extra, 1, spread)
    return axis.volume(line, weight.shape[1] * groups)


def _avg_pool(
    axis: OneAxis,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    *_: Any,
    **__: Any,
) -> Tensor:
    size = axis.pick(kernel_size)
    step = axis.pick(stride) if stride else size
    line = F.avg_pool1d(axis.line(input), size, step, axis.pick(padding), ceil_mode)
    return axis.volume(line, input.shape[1])


def _max_pool(
    axis: OneAxis,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    if axis.pick(dilation) != 1:
        raise UnboundedError("dilated pooling has no stand-in")
    return _avg_pool(axis, input, kernel_size, stride, padding, ceil_mode)


def _max_pool_with_indices(axis: OneAxis, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    pooled = _max_pool(axis, *args, **kwargs)
    return pooled, torch.zeros(pooled.shape, dtype=torch.int64)


def _max_unpool(
    axis: OneAxis,
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    step = axis.pick(stride if stride else kernel_size)
    return axis.volume(axis.line(input).repeat_interleave(step, dim=2), input.shape[1])


def _interpolate(
    axis: OneAxis,
    input: Tensor,
    size: Size | None = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    **_: Any,
) -> Tensor:
    if align_corners or mode == "bicubic":
        raise UnboundedError("interpolate")
    if isinstance(scale_factor, Sequence):
        scale_factor = scale_factor[axis.axis]
    line = axis.line(input)
    length = axis.pick(size) if size is not None else int(line.shape[2] * scale_factor)
    kind = mode if mode.startswith("nearest") else "linear"
    return axis.volume(F.interpolate(line, size=length, mode=kind), input.shape[1])


def _pad(axis: OneAxis, input: Tensor, pad: Sequence[int], *args: Any, **kwargs: Any) -> Tensor:
    kept = list(pad)
    for n in range(0, len(kept), 2):
        if input.ndim - 1 - n // 2 != axis.axis + 2:
            kept[n : n + 2] = [0, 0]
    return F.pad(input, kept, *args, **kwargs)


def _cat(axis: OneAxis, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    if dim % tensors[0].ndim != 1 or tensors[0].ndim != axis.ndim + 2:
        return torch.cat(list(tensors), dim)
    mean = torch.stack([_one_channel(t) for t in tensors]).mean(0)
    return spread(mean, sum(t.shape[1] for t in tensors))


def _add(axis: OneAxis, a: Any, b: Any, *_: Any, **__: Any) -> Tensor:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.ndim > 1:
        return spread(_one_channel(a) + _one_channel(b), a.shape[1])
    return torch.add(a, b)


def spread(one: Tensor, channels: int) -> Tensor:
    """Show one channel as many, and remember the one."""
    many = one.expand(-1, channels, *one.shape[2:])
    many.one_channel = one  # type: ignore[attr-defined]
    return many


def _one_channel(x: Tensor) -> Tensor:
    one = getattr(x, "one_channel", None)
    return x.mean(1, keepdim=True) if one is None else one


def _batch_norm(axis: OneAxis, input: Tensor, running_mean: Any, *_: Any, **__: Any) -> Tensor:
    if running_mean is None:
        raise UnboundedError("statistics of the input")
    return input


def _softmax(axis: OneAxis, input: Tensor, dim: int | None = None, *_: Any, **__: Any) -> Tensor:
    if dim is None or dim % input.ndim != 1:
        raise UnboundedError("softmax")
    return input


def _reduces_space(ndim: int, input: Tensor, dim: Any = None, *_: Any, **kwargs: Any) -> bool:
    dim = kwargs.get("axis", dim)
    if input.ndim != ndim + 2 or dim is None:
        return bool(input.ndim == ndim + 2)
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    return any(d % input.ndim >= 2 for d in dims)


def _mean_kernel(size: int) -> Tensor:
    return torch.full((1, 1, size), 1 / size, dtype=torch.float64)


# fmt: off
IDENTITIES = frozenset({
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "softplus", "sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid", "logsigmoid", "clamp",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
})
UNBOUNDED = frozenset({"instance_norm", "group_norm", "layer_norm", "rms_norm", "normalize"})
REDUCTIONS = frozenset({
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "norm", "logsumexp", "cumsum",
})
# fmt: on
LAYERS: dict[str, Callable[..., Any]] = {
    **{f"conv{n}d": _conv for n in (2, 3)},
    **{f"conv_transpose{n}d": _conv_transpose for n in (2, 3)},
    **{f"avg_pool{n}d": _avg_pool for n in (2, 3)},
    **{f"max_pool{n}d": _max_pool for n in (2, 3)},
    **{f"max_pool{n}d_with_indices": _max_pool_with_indices for n in (2, 3)},
    **{f"max_unpool{n}d": _max_unpool for n in (2, 3)},
    "interpolate": _interpolate,
    "pad": _pad,
    "cat": _cat,
    "concat": _cat,
    "add": _add,
    "sub": _add,
    "rsub": _add,
    "batch_norm": _batch_norm,
    "softmax": _softmax,
    "log_softmax": _softmax,
}

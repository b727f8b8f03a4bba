"""The list of networks, readable without PyTorch."""

from __future__ import annotations

import difflib
import os
import unicodedata
import warnings
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


ENTRY_POINTS = "napari_segzoo.networks"
UNFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What builders raise on options of another kind than they know."""
_SPECS: dict[str, ModelSpec] = {}


def register(*specs: ModelSpec) -> None:
    """Add networks to the registry; a name that is taken is refused."""
    for spec in specs:
        if spec.name in _SPECS:
            raise InputError(f"A network named {spec.name!r} is registered already.")
        _SPECS[spec.name] = spec


def register_from_other_packages() -> None:
    """Import the modules that installed packages announce under `ENTRY_POINTS`.

    Each calls `register`; one that fails is left out with a warning.
    """
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            warnings.warn(
                f"The networks of {entry.value} could not be registered: {error}", stacklevel=2
            )


def list_models(ndim: int | None = None, search: str = "") -> list[ModelSpec]:
    """List the registered networks.

    Parameters
    ----------
    ndim : {2, 3}, optional
        Keep those that support this number of spatial dimensions.
    search : str
        Keep those whose name, title, family or paper has each of these words in it;
        capitals, accents and raised numbers make no difference.

    Returns
    -------
    list of ModelSpec
        In order of registration.
    """
    return [
        spec
        for spec in _SPECS.values()
        if (ndim is None or ndim in spec.ndims) and matches(search, spec.searched_text)
    ]


def matches(search: str, text: str) -> bool:
    """Whether each word of `search` occurs in `text`; see `list_models`."""
    plain = _plain(text)
    return all(word in plain for word in _plain(search).split())


def _plain(text: str) -> str:
    """Fold capitals, accents and raised numbers."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in letters if not unicodedata.combining(c))


def get_spec(name: str) -> ModelSpec:
    """Look up one network by name.

    Raises
    ------
    InputError
        If there is none; the message names the closest one.
    """
    if name in _SPECS:
        return _SPECS[name]
    close = difflib.get_close_matches(name, _SPECS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`napari-segzoo models` lists them."
    raise InputError(f"There is no network named {name!r}; {hint}")


def create_model(
    name: str,
    *,
    ndim: int = 2,
    in_channels: int,
    num_classes: int,
    weights: str | os.PathLike[str] | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network.

    Parameters
    ----------
    name : str
        A name of `list_models`.
    ndim : {2, 3}
        Spatial dimensions.
    in_channels, num_classes : int
        Channels of the image and of the logits.
    weights : str or path, optional
        Pretrained weights: a name of `ModelSpec.weights`, or a file with a state
        dictionary of the network or of its backbone. Random by default. The first layer
        is adapted to `in_channels`; the last keeps random weights if `num_classes` differs.
    **options
        What the network offers beyond the published defaults (`ModelSpec.options`).

    Returns
    -------
    torch.nn.Module
        Maps ``(N, in_channels, [Z,] Y, X)`` to logits ``(N, num_classes, [Z,] Y, X)``.

    Raises
    ------
    InputError
        For an unknown name or option, a value that an option cannot have, dimensions the network
        does not have, or weights that do not fit.
    RunError
        If weights cannot be downloaded.
    """

    def build(in_channels: int, num_classes: int) -> nn.Module:
        return build_network(
            name, ndim=ndim, in_channels=in_channels, num_classes=num_classes, options=options
        )

    network = build(in_channels, num_classes)
    if weights is not None:
        from .pretrained import load_weights

        if ndim != 2 and weights in get_spec(name).weights:
            raise InputError(f"The {weights} weights are for 2D images, not for {ndim}D.")
        load_weights(network, weights, get_spec(name), build)
    return network


def build_network(
    name: str, *, ndim: int, in_channels: int, num_classes: int, options: Mapping[str, Any]
) -> nn.Module:
    """Build a network with random weights; see `create_model`."""
    spec = get_spec(name)
    if ndim not in spec.ndims:
        has = " and ".join(f"{n}D" for n in spec.ndims)
        raise InputError(f"{spec.title} works in {has}, not in {ndim}D.")
    for label, value in (("in_channels", in_channels), ("num_classes", num_classes)):
        if value < 1:
            raise InputError(f"{label} must be at least 1, not {value}.")
    unknown = sorted(set(options) - set(spec.options))
    if unknown:
        known = ", ".join(spec.options) or "none"
        raise InputError(f"{spec.title} has no option {unknown[0]!r}; its options are: {known}.")
    module, _, attribute = spec.builder.partition(":")
    build = getattr(import_module(module), attribute)
    try:
        network: nn.Module = build(
            in_channels, num_classes, ndim=ndim, **{**spec.options, **options}
        )
    except UNFIT as error:
        if not options or isinstance(error, InputError):
            raise
        given, usual = (
            ", ".join(f"{k}={o[k]!r}" for k in options) for o in (options, spec.options)
        )
        raise InputError(
            f"{spec.title} cannot be built with {given} ({error}); by default it has {usual}."
        ) from error
    return network

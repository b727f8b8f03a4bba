"""Segmentation networks in PyTorch, 2D and 3D, found by name."""

from . import catalog as _catalog  # noqa: F401  (fills the registry)
from .registry import (
    create_model,
    get_spec,
    list_models,
    register,
    register_from_other_packages,
)
from .spec import Cost, ModelSpec, PublishedCount, VoxelCost

register_from_other_packages()

__all__ = [
    "Cost",
    "ModelSpec",
    "PublishedCount",
    "VoxelCost",
    "create_model",
    "get_spec",
    "list_models",
    "register",
]

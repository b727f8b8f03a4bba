"""Segmentation networks, tiled inference, few-shot fine-tuning and metrics for bio-images.

The names below are the public interface; each is imported when it is first used, so that
``import napari_segzoo`` loads neither PyTorch nor napari.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("napari-segzoo")
except PackageNotFoundError:
    __version__ = "0+unknown"

_HOMES = {
    "ModelSpec": "zoo",
    "create_model": "zoo",
    "list_models": "zoo",
    "register": "zoo",
    "SegmentationModel": "model",
    "load_model": "model",
    "Image": "io",
    "open_image": "io",
    "save_image": "io",
    "predict": "inference",
    "finetune": "training",
    "Report": "metrics",
    "evaluate": "metrics",
    "export_model": "export",
    "InputError": "errors",
    "RunError": "errors",
    "SegzooError": "errors",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__

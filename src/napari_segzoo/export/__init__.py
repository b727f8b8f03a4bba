"""Models as files that other programs run: ONNX, and packages for bioimage.io."""

from .writing import FORMATS, Exported, choose_format, export_model

__all__ = ["FORMATS", "Exported", "choose_format", "export_model"]

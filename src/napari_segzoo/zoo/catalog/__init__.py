"""The published configurations that ship with the package, one entry each, without PyTorch.

Importing this package fills the registry, in the order in which the networks are listed.
"""

from . import unets  # isort: skip
from . import encoder_decoders  # isort: skip
from . import dilated  # isort: skip
from . import multiscale  # isort: skip

__all__ = ["dilated", "encoder_decoders", "multiscale", "unets"]

"""What happens between class maps and results."""

from .instances import separate_objects

__all__ = ["separate_objects"]

"""What happens between class maps and results."""

from .objects import Objects, separate_objects

__all__ = ["Objects", "separate_objects"]

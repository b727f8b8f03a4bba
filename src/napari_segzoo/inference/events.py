"""What a run of inference reports while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from ..follow import Progress


@dataclass(frozen=True)
class TileDone:
    """A tile has been computed.

    Parameters
    ----------
    done, total : int
        Tiles so far and in all.
    region : tuple of slice or None
        Part of the result that is final now; None if the tile only prepares for others.
    """

    done: int
    total: int
    region: tuple[slice, ...] | None


@dataclass(frozen=True)
class BlockSeparated:
    """The objects of one block have been separated, after all tiles were computed.

    Parameters
    ----------
    done, total : int
        Blocks so far and in all.
    region : tuple of slice
        Part of the result that holds objects now; their numbers are final at the end.
    """

    done: int
    total: int
    region: tuple[slice, ...]


@dataclass(frozen=True)
class Note:
    """Something the user should know, in one sentence."""

    message: str


@dataclass(frozen=True)
class Stage(Note):
    """What begins now; of no interest afterwards."""


Event = TileDone | BlockSeparated | Progress | Note

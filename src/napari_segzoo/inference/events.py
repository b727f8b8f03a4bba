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
    kept : int or None
        Tiles that an interrupted run need not compute again; None if these are all that are done.
    """

    done: int
    total: int
    region: tuple[slice, ...] | None
    kept: int | None = None

    @property
    def resumes_at(self) -> int:
        """Tiles with which a run that is interrupted now can go on."""
        return self.done if self.kept is None else self.kept


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

"""The command line. Each command calls the core and prints; there is no logic of its own here."""

from __future__ import annotations

import sys

from . import draw_next, evaluate, finetune, import_, models, predict, train
from .app import app, fail
from .demo import demo as _demo  # noqa: F401  (registers the command)

__all__ = ["draw_next", "evaluate", "finetune", "import_", "main", "models", "predict", "train"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 1 a failed run, 2 wrong use.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([w for w in words if w != "--debug"])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:
        if debug:
            raise
        return _explain(error)
    return 0


def _explain(error: Exception) -> int:
    from ..errors import InputError, SegzooError

    if isinstance(error, InputError):
        return fail(str(error), 2)
    if isinstance(error, SegzooError):
        return fail(str(error), 1)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return fail(f"The run failed ({what}); add --debug to see where.", 1)

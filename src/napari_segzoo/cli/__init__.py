"""The command line. Each command calls the core and prints; there is no logic of its own here.

New commands are imported in `commands.py`, which `main` does when it can be stopped already.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .interrupt import SIGNALS, handled, leave

__all__ = ["main"]

STOPPED = {
    "predict": "the same command with --resume goes on from what is done",
    "train": "the same command with --resume goes on from the last checkpoint",
    "finetune": "no model was written",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status.

    It is 0 when done, 1 for a failed run, 2 for wrong use; 130 if Ctrl-C and 143 if SIGTERM
    stopped it.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [w for w in words if w != "--debug"]
    try:
        with handled(leave):
            from .commands import app

            status = app(words, prog_name="napari-segzoo", standalone_mode=False)
    except SystemExit as stop:
        return _stopped(words, stop.code)
    except KeyboardInterrupt:
        return _stopped(words, 128 + SIGNALS[0])
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exception(error)
        return _explain(error, words)
    return status if isinstance(status, int) else 0


def _stopped(words: Sequence[str], code: object) -> int:
    status = code if isinstance(code, int) else 0
    if status - 128 in SIGNALS:
        what = STOPPED.get(words[0] if words else "", "it had not finished")
        print(f"Stopped; {what}.", file=sys.stderr, flush=True)
    return status


def _explain(error: Exception, words: Sequence[str]) -> int:
    from typer import Abort

    from ..errors import InputError, SegzooError, memory_ran_out

    if isinstance(error, Abort):
        return _stopped(words, 128 + SIGNALS[0])
    if hasattr(error, "format_message"):
        return _explain_usage(error)
    if isinstance(error, InputError):
        return _fail(str(error), 2)
    if isinstance(error, SegzooError):
        return _fail(str(error), 1)
    if isinstance(error, MemoryError):
        return _fail(str(memory_ran_out(error)), 1)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return _fail(f"The run failed ({what}); add --debug to see where.", 1)


def _explain_usage(error: Any) -> int:
    """Tell in one sentence what Typer, whichever Click it brings, found wrong in the words."""
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help(), file=sys.stderr, flush=True)
        return 2
    message = " ".join(error.format_message().split()).replace(". Did you", "; did you")
    if context is not None and not message.endswith("?"):
        message = f"{message.rstrip('.')}; see {context.command_path} --help."
    return _fail(message, 2)


def _fail(message: str, status: int) -> int:
    """Print one sentence on what went wrong and return the exit status."""
    print(f"Error: {message}", file=sys.stderr, flush=True)
    return status

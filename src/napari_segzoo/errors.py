"""The two ways a call can fail, each with one sentence that a user can act on."""


class SegzooError(Exception):
    """Base of all errors that napari-segzoo raises on purpose."""


class InputError(SegzooError, ValueError):
    """Wrong use: a file, array or option is not what is needed (exit status 2)."""


class RunError(SegzooError):
    """A run that started and could not be finished (exit status 1)."""


def memory_ran_out(error: MemoryError) -> RunError:
    """Return what to raise in place of an error that nothing stepped down for."""
    what = f" ({error})" if str(error) else ""
    return RunError(
        f"Memory ran out{what}; close other programs, or work on a smaller part of the image."
    )

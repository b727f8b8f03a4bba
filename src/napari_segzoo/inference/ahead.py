"""Work done in another thread, one item ahead of whoever uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield the function of each item, in order, while the next is computed in `pool`.

    No more than one result waits to be taken. An error appears where its result would.
    """
    pending = None
    for item in items:
        following = pool.submit(function, item)
        if pending is not None:
            yield pending.result()
        pending = following
    if pending is not None:
        yield pending.result()

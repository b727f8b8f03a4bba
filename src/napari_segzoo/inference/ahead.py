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


def compute_alone(pool: Executor) -> None:
    """Let PyTorch use one thread for what runs in a pool of one; elsewhere all, as before.

    A second team of OpenMP threads would take turns with the network's on the same cores, which
    costs a forward pass more than the other team gains.
    """
    import torch

    threads = torch.get_num_threads()
    pool.submit(torch.get_num_threads).result()  # a new thread takes up the number set last here
    pool.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(threads)  # for threads that are started later

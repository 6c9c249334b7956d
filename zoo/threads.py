"""Work that is spread over the cores of this machine, a thread each, with the same result on any number of them."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``function`` of each item, in their order; many at a time, in one thread each.

    Numerical libraries are held to one thread meanwhile: their threads would wait for ours, and sums that they split by
    threads would depend on the number of cores.
    """
    from threadpoolctl import threadpool_limits

    todo = list(items)
    workers = min(cores(), len(todo))
    if workers < 2:
        with threadpool_limits(1):
            return [function(item) for item in todo]
    # OpenMP's limit is of the calling thread, that of a BLAS of the process.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(workers, initializer=threadpool_limits, initargs=(1, "openmp")) as pool,
    ):
        return list(pool.map(function, todo))

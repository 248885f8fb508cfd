"""How many threads pay on this machine now.  Knows no torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from threadpoolctl import ThreadpoolController


def usable(most: int | None = None) -> int:
    """How many threads pay on this machine now: no more than processors that nobody else keeps busy.

    Threads of one product wait for each other. Where one of them has to share its processor, all are slower than one
    thread alone would be.

    Args:
        most: the largest answer; None: the number of processors.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if most == 1 or processors == 1:
        return 1
    return max(1, min(most or processors, processors - _others_at_work()))


@contextmanager
def one_for_products() -> Iterator[None]:
    """NumPy's matrix products on one thread each, until the context ends.

    Threads of a BLAS library that wait for each other spin. On processors that others keep busy, a decoder with two of
    them was measured at ten times the seconds of one.
    """
    with _pools().limit(limits=1, user_api="blas"):
        yield


@cache
def _pools() -> ThreadpoolController:
    """The thread pools of the libraries that are loaded, NumPy's among them."""
    return ThreadpoolController()


def _others_at_work() -> int:
    """Threads that run or wait for a processor now, less the calling one; 0 where the system does not tell."""
    try:
        running = Path("/proc/loadavg").read_text().split()[3].split("/")[0]
        return max(0, int(running) - 1)
    except (OSError, IndexError, ValueError):
        return 0

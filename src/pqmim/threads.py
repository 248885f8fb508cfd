"""How many threads pay on this machine now.  Knows no torch."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import threadpoolctl


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

    A library's number of threads mostly belongs to the whole process. Of contexts that overlap in several threads, the
    first limits it, and the last one to end restores it.
    """
    own = _limited.enter()
    try:
        yield
    finally:
        _limited.leave(own)


class _Limited:
    """How many contexts want one thread for products, and what is restored after the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._shared: list[tuple[Any, int]] = []  # libraries of which this process changed the number, and that number

    def enter(self) -> list[tuple[Any, int]]:
        """Limit; returns what `leave` takes: the libraries whose number belongs to the calling thread, and that number."""
        with self._lock:
            own = [_set_one(pool) for pool in _pools() if _of_one_thread(pool)]
            if self._count == 0:
                self._shared = [_set_one(pool) for pool in _pools() if not _of_one_thread(pool)]
            self._count += 1
            _give_up_control()
        return own

    def leave(self, own: list[tuple[Any, int]]) -> None:
        """Restore."""
        with self._lock:
            self._count -= 1
            for pool, count in own + (self._shared if self._count == 0 else []):
                if count > 1 and pool.get_num_threads() == 1:  # otherwise it was not changed, or was changed since
                    pool.set_num_threads(count)
            _give_up_control()


_limited = _Limited()


def _set_one(pool: Any) -> tuple[Any, int]:
    before = pool.get_num_threads() or 1  # None: it does not tell
    if before > 1:
        pool.set_num_threads(1)
    return (pool, before) if pool.get_num_threads() == 1 else (pool, 1)  # 1: another thread controls it, see below


def _of_one_thread(pool: Any) -> bool:
    """Whether each thread that calls a BLAS library has a number of its own: OpenMP's."""
    return getattr(pool, "threading_layer", None) == "openmp"


def _give_up_control() -> None:
    """Newer versions of threadpoolctl let one thread alone change OpenBLAS, the first, as long as it lives."""
    clear = getattr(getattr(threadpoolctl, "OpenBLASController", None), "clear_controlling_thread", None)
    if clear is not None:
        clear()  # where it is the calling thread


@cache
def _pools() -> list[Any]:
    """The BLAS libraries that are loaded, NumPy's among them."""
    found: list[Any] = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    return found


def _others_at_work() -> int:
    """Threads that run or wait for a processor now, less the calling one; 0 where the system does not tell."""
    try:
        running = Path("/proc/loadavg").read_text().split()[3].split("/")[0]
        return max(0, int(running) - 1)
    except (OSError, IndexError, ValueError):
        return 0

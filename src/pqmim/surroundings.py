"""A codec's work in torch does not depend on its caller's settings, and does not change them.

Autocast, inference mode, gradients, a default device and the number of threads are set for the calling thread alone,
for as long as the work takes. Types are named wherever tensors are made, so a default type does not matter.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import torch

from pqmim.threads import usable


@contextmanager
def shielded(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Run torch without autocast, inference mode, gradients and a foreign default device.

    Args:
        device: where the work is done.
        threads: the most that the calling thread uses for it; None: as many as `threads.usable` says.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for kind in {"cpu", device.type}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if device.type == "cpu":
            stack.enter_context(_threads(usable(threads)))
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """OpenMP's number of threads, which belongs to each calling thread."""
    if torch.get_num_threads() == count:  # asked before OpenMP is: torch sets its number at the first question
        yield
        return
    openmp = _openmp()
    if openmp is None:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
        return
    before = openmp.omp_get_max_threads()
    openmp.omp_set_num_threads(count)
    try:
        yield
    finally:
        openmp.omp_set_num_threads(before)


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library that torch runs on; None where it cannot be found or torch runs on another kind of pool."""
    if not torch.backends.openmp.is_available() or sys.platform == "win32":
        return None
    names = sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*"))
    for name in [*map(str, names), "libgomp.so.1"]:
        try:
            library = ctypes.CDLL(name)
            library.omp_get_max_threads.restype = ctypes.c_int
            if library.omp_get_max_threads() == torch.get_num_threads():
                return library
        except (OSError, AttributeError):
            continue
    return None

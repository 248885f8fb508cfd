"""Several processes, each of one thread and with a codec of its own."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pqmim.cli.jobs import Job
from pqmim.cli.messages import USER_ERRORS, sentence, warn
from pqmim.cli.work import Opener, Outcome, Task, attempt
from pqmim.errors import PqmimError

START_METHOD = "spawn"
"""Forked processes would share what torch's thread pools hold."""

AHEAD = 2
"""Jobs that wait for each process."""

_codec: Any = None
_failure: str | None = None


class Pool:
    """Processes that take jobs, until `close`.

    Args:
        count: of processes.
        opener: of each one's codec.
        keep: gets the jobs that were done and whose outcome nobody took, as after an interrupt.
    """

    def __init__(self, count: int, opener: Opener, keep: Callable[[Job, Outcome], object]) -> None:
        context = multiprocessing.get_context(START_METHOD)
        self._pool = ProcessPoolExecutor(count, context, _begin, (opener,))
        self._most, self._keep = AHEAD * count, keep
        self._waiting: dict[Future[Outcome], Job] = {}

    def outcomes(self, task: Task, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """What becomes of the jobs, as they get done.

        Raises:
            PqmimError: a process died, as it does where memory runs out.
        """
        waiting, left = self._waiting, iter(jobs)
        try:
            while True:
                while len(waiting) < self._most and (job := next(left, None)) is not None:
                    waiting[self._pool.submit(_work, task, job)] = job
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting[future], future.result()
                    del waiting[future]  # whoever asks for the next outcome has taken this one
        except BrokenProcessPool as error:
            message = "a process died, perhaps for want of memory: try fewer --jobs; the same command goes on from here"
            raise PqmimError(message) from error

    def close(self) -> None:
        """Wait for the jobs that have begun, and drop the others; a second interrupt drops them all."""
        if any(not future.done() for future in self._waiting):
            warn("pqmim: stopping when the files that have begun are done; Ctrl+C once more gives them up")
        try:
            self._pool.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            for future, job in self._waiting.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._keep(job, future.result())


def _begin(opener: Opener) -> None:
    """In a new process, before torch is imported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it and ends the others
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    global _codec, _failure
    try:
        _codec = opener()
    except USER_ERRORS as error:
        _failure = sentence(error)


def _work(task: Task, job: Job) -> Outcome:
    return attempt(task, _codec, job) if _failure is None else Outcome(error=_failure)

"""Which files a command works on, and how it gets through them: a bad one is told in one line, the others go on."""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pqmim.cli.messages import USER_ERRORS, complain, say
from pqmim.errors import OutputError, PqmimError

STREAM = "-"


class Job(NamedTuple):
    """One file to work on; `STREAM` stands for standard input and output."""

    source: str
    target: str = STREAM


def expand(paths: Sequence[str], endings: Collection[str]) -> list[str]:
    """Files as named; a folder stands for the files right in it with one of these endings, in order of their names."""
    files = []
    for path in paths:
        inside = _listing(path, endings) if os.path.isdir(path) else [path]
        if not inside:
            raise PqmimError(f"a folder without a file that ends in {', '.join(endings)}", path)
        files += inside
    return files


def plan(paths: Sequence[str], folder: str | None, endings: Collection[str], ending: str) -> list[Job]:
    """A job for each file, its target beside it or in `folder`, which is made, with `ending` in place of its own."""
    if folder is not None and os.path.exists(folder) and not os.path.isdir(folder):
        raise OutputError("a file, and -o takes a folder", folder)
    jobs = [Job(source, _target(source, folder, ending)) for source in expand(paths, endings)]
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
    return jobs


class Batch:
    """Jobs in order. Those whose target may not be written are told and dropped before any work is done."""

    def __init__(self, jobs: Sequence[Job], *, force: bool = False) -> None:
        self.jobs: list[Job] = []
        self.failed = False
        self._force = force
        taken: dict[str, str] = {}
        for job in jobs:
            with self._told(job):
                if job.target != STREAM:
                    if other := taken.get(job.target):
                        raise OutputError(f"would become {job.target}, as does {other}: rename one", job.source)
                    taken[job.target] = job.source
                    check_target(job.target, force)
                self.jobs.append(job)

    def run(self, work: Callable[[Job], str | None]) -> int:
        """Prints the line that `work` returns for each job, if it does; returns the exit status."""
        for job in _progress(self.jobs):
            with self._told(job):
                line = work(job)
                if line is not None:
                    say(line)
        return int(self.failed)

    def write(self, job: Job, data: bytes) -> None:
        """The whole target or nothing of it."""
        from pqmim.files import write_atomically

        if job.target == STREAM:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        write_atomically(job.target, data, self._force)

    @contextmanager
    def _told(self, job: Job) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except USER_ERRORS as error:
            complain(error, "standard input" if job.source == STREAM else job.source)
            self.failed = True


def read(source: str) -> bytes:
    """All bytes of a file or of standard input."""
    if source == STREAM:
        return sys.stdin.buffer.read()
    with open(source, "rb") as file:
        return file.read()


def check_target(target: str | os.PathLike, force: bool) -> None:
    """Before any work is done: raises OutputError where writing is bound to fail."""
    if os.path.isdir(target):
        raise OutputError("cannot be written: it is a folder; to write into it, use -o", target)
    if os.path.isfile(target) and not force:
        raise OutputError("exists already: choose another name, or overwrite it with --force", target)
    if os.path.exists(target) and not os.path.isfile(target):
        return  # a device or a named pipe, whose folder does not matter
    folder = os.path.dirname(target) or "."
    if not os.path.isdir(folder):
        raise OutputError(f"cannot be written: there is no folder {folder}", target)
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot be written: the folder {folder} is read-only", target)


def _progress(jobs: Sequence[Job]) -> Iterable[Job]:
    """The jobs, with a bar where there are several and a person is watching."""
    if len(jobs) < 2 or not sys.stderr.isatty():
        return jobs
    from tqdm import tqdm

    return tqdm(jobs, unit="file", leave=False)


def _listing(folder: str, endings: Collection[str]) -> list[str]:
    names = sorted(name for name in os.listdir(folder) if os.path.splitext(name)[1].lower() in endings)
    return [path for name in names if os.path.isfile(path := os.path.join(folder, name))]


def _target(source: str, folder: str | None, ending: str) -> str:
    if source != STREAM:
        beside, name = os.path.split(source)
        return os.path.join(beside if folder is None else folder, os.path.splitext(name)[0] + ending)
    if folder is not None:
        raise OutputError(f"no name to use in {folder}: name the output, as in `- photo{ending}`", "standard input")
    return STREAM

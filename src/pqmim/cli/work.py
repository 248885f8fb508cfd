"""How a command gets through its files: a bad one is told in one line, the others go on."""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pqmim.cli.jobs import STREAM, Job, check_target
from pqmim.cli.manifest import Manifest, stamp
from pqmim.cli.messages import USER_ERRORS, is_terminal, note, say, sentence, size_of, waiting, warn


@dataclass(frozen=True)
class Outcome:
    """The result of a job.

    Attributes:
        line: for a person; None where there is nothing to say.
        facts: for programs: JSON types.
        notes: what could not be kept or found, one line each.
        error: the sentence of what went wrong; then the rest is empty.
        status: exit status that this outcome asks for.
        source: the stamp that the source had when the job began, see `manifest.stamp`.
    """

    line: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str | None = None
    status: int = 0
    source: dict[str, int] = field(default_factory=dict)


class Task(Protocol):
    """What is done with one file. Goes to other processes, so it holds plain values only."""

    def __call__(self, codec: Any, job: Job) -> Outcome:
        """Do it to one file."""
        ...


Opener = Callable[[], Any]
"""Opens the codec; goes to other processes, too."""


@dataclass
class Options:
    """How to go through the files.

    Attributes:
        force: existing targets are replaced.
        skip_existing: existing targets count as done.
        json: results are JSON objects, one a line.
        workers: processes; 1 is this one.
        manifest: file that keeps what was done; None keeps nothing.
        settings: what decides the results beside the sources: a job done with others is not done.
        label: what goes on, for a person who waits.
        refuse: raises an error over a job that makes no sense, before anything else is looked at.
    """

    force: bool = False
    skip_existing: bool = False
    json: bool = False
    workers: int = 1
    manifest: str | None = None
    settings: str = ""
    label: str = "working"
    refuse: Callable[[Job], None] | None = None


class Batch:
    """Jobs in order. Those that are done, or whose target may not be written, are dropped before any work."""

    def __init__(self, jobs: Sequence[Job], options: Options | None = None) -> None:
        self.options = options or Options()
        self.jobs: list[Job] = []
        self._planned = len(jobs)
        self._skipped = self._failed = self._before = self._bytes_in = self._bytes_out = 0
        self._status = 0
        path = self.options.manifest
        self._manifest = Manifest(path, self.options.settings) if path is not None else None
        for job in jobs:
            try:
                if self._is_to_do(job):
                    self.jobs.append(job)
            except USER_ERRORS as error:
                self._take(job, Outcome(error=sentence(error, job.name)))

    def _is_to_do(self, job: Job) -> bool:
        if self.options.refuse is not None:
            self.options.refuse(job)
        exists = job.target != STREAM and os.path.isfile(job.target) and not self.options.force
        if exists and self._manifest is not None and self._manifest.has(job):
            self._before += 1
        elif exists and self.options.skip_existing:
            self._skipped += 1
        else:
            if job.target != STREAM:
                check_target(job.target, self.options.force)
            return True
        return False

    def run(self, task: Task, opener: Opener) -> int:
        """Do all jobs and report the result of each.

        Returns:
            The exit status: 1 where one failed, else the largest that an outcome asks for.
        """
        start = time.monotonic()
        with ExitStack() as stack:
            if self._manifest is not None:
                stack.callback(self._manifest.close)
            for job, outcome in self._outcomes(task, opener, stack) if self.jobs else ():
                self._take(job, outcome)
        if self._planned > 2:
            warn(self._summary(time.monotonic() - start))
        return 1 if self._failed else self._status

    def _outcomes(self, task: Task, opener: Opener, stack: ExitStack) -> Iterable[tuple[Job, Outcome]]:
        workers = min(self.options.workers, len(self.jobs))
        if workers > 1:
            from pqmim.cli.workers import Pool

            pool = Pool(workers, opener, self._keep)
            stack.callback(pool.close)
            return _with_bar(pool.outcomes(task, self.jobs), len(self.jobs))
        codec = opener()
        if len(self.jobs) > 1:
            return _with_bar(((job, attempt(task, codec, job)) for job in self.jobs), len(self.jobs))
        with waiting(f"{self.jobs[0].name}: {self.options.label}"):
            return [(self.jobs[0], attempt(task, codec, self.jobs[0]))]

    def _take(self, job: Job, outcome: Outcome) -> None:
        facts = self._keep(job, outcome)
        if outcome.error is not None:
            self._failed += 1
            warn(f"pqmim: {outcome.error}")
        else:
            self._status = max(self._status, outcome.status)
            if job.target != STREAM:  # there "bytes" are those of an output
                self._bytes_in += os.path.getsize(job.source) if os.path.isfile(job.source) else 0
                self._bytes_out += outcome.facts.get("bytes", 0)
            note(job.name, outcome.notes)
        if self.options.json:
            say(json.dumps(facts))
        elif outcome.line is not None:
            say(outcome.line)

    def _keep(self, job: Job, outcome: Outcome) -> dict[str, Any]:
        """Write an outcome into the list, before anything is printed, which may fail; returns its facts."""
        facts: dict[str, Any] = {"file": job.source} if job.source else {}
        facts |= ({} if job.target == STREAM else {"output": job.target}) | outcome.facts
        if outcome.error is not None:
            facts["error"] = outcome.error
        if outcome.notes:
            facts["notes"] = list(outcome.notes)
        if self._manifest is not None:
            self._manifest.add(facts, outcome.source)
        return facts

    def _summary(self, seconds: float) -> str:
        done = self._planned - self._failed - self._before - self._skipped
        parts = [f"{done} done"]
        parts += [f"{self._before} done before"] * bool(self._before)
        parts += [f"{self._skipped} skipped, since their outputs exist"] * bool(self._skipped)
        parts += [f"{self._failed} failed"] * bool(self._failed)
        sizes = f"; {size_of(self._bytes_in)} to {size_of(self._bytes_out)}" if self._bytes_out else ""
        kept = f"; {self.options.manifest} keeps the list" if self.options.manifest else ""
        return f"pqmim: {self._planned} files in {seconds:.1f} s: {', '.join(parts)}{sizes}{kept}"


def attempt(task: Task, codec: Any, job: Job) -> Outcome:
    """What becomes of a job; errors that are not the user's are raised."""
    try:
        source = stamp(job.source)  # before the task reads it: whoever replaces it meanwhile makes another job
        return replace(task(codec, job), source=source)
    except BrokenPipeError:
        raise
    except USER_ERRORS as error:
        return Outcome(error=sentence(error, job.name))


def tell(args: Any, line: str, facts: dict[str, Any]) -> None:
    """The result of a verb that makes one thing."""
    say(json.dumps(facts) if args.json else line)


def _with_bar(results: Iterable[tuple[Job, Outcome]], count: int) -> Iterator[tuple[Job, Outcome]]:
    """The results, with a bar where a person is watching."""
    if not is_terminal(sys.stderr) or importlib.util.find_spec("tqdm") is None:
        yield from results
        return
    from tqdm import tqdm

    yield from tqdm(results, total=count, unit="file", leave=False)

"""What a folder's job has done, one JSON object a line: a job that was stopped resumes where it was."""

import json
import os
from typing import Any, TextIO

from pqmim.cli.jobs import STREAM, Job

NAME = "pqmim.jsonl"


class Manifest:
    """A file of rows, added to as the work goes on.

    A row is what `--json` prints, with the size and the time of the source, and the settings. Lines that are no such
    rows, as a machine that died may leave, are passed over.
    """

    def __init__(self, path: str, settings: str) -> None:
        self._path, self._settings = path, settings
        self._rows: dict[str, dict[str, Any]] = {}
        self._file: TextIO | None = None
        self._ends_whole = True
        self._read()

    def _read(self) -> None:
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    self._ends_whole = line.endswith("\n")
                    try:
                        row = json.loads(line)
                        if "error" not in row:  # what failed leaves an earlier result as it is
                            self._rows[row["output"]] = row
                    except (ValueError, KeyError, TypeError):
                        continue
        except FileNotFoundError:
            pass

    def has(self, job: Job) -> bool:
        """Whether a job was done with these settings, from the source as it is now."""
        row = self._rows.get(job.target)
        return row is not None and all(row.get(k) == v for k, v in self._key(job).items())

    def add(self, job: Job, facts: dict[str, Any]) -> None:
        """Keep the result of a job."""
        if self._file is None:
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 - see `close`
            if not self._ends_whole:  # a machine that died left half a line, which must not take the next row with it
                self._file.write("\n")
        self._file.write(json.dumps(facts | self._key(job)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """The rows are in the file already; this gives it back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _key(self, job: Job) -> dict[str, Any]:
        key: dict[str, Any] = {"settings": self._settings}
        if job.source != STREAM and os.path.isfile(job.source):
            status = os.stat(job.source)
            key |= {"source_bytes": status.st_size, "source_time": status.st_mtime_ns}
        return key

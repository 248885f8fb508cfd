"""What a folder's job has done, one JSON object a line: a job that was stopped resumes where it was."""

import json
import os
from typing import Any, TextIO

from pqmim.cli.jobs import STREAM, Job

NAME = "pqmim.jsonl"


class Manifest:
    """A file of rows, added to as the work goes on.

    A row is what `--json` prints, with the size and the time that the source had when its job began, and the settings.
    Lines that are no such rows, as a machine that died may leave, are passed over.
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
        """Whether a job was done with these settings, from the source as it is now, and its output has its size still."""
        row = self._rows.get(job.target)
        if row is None or row.get("bytes") != os.path.getsize(job.target):
            return False
        return all(row.get(k) == v for k, v in self._key(stamp(job.source)).items())

    def add(self, facts: dict[str, Any], source: dict[str, int]) -> None:
        """Keep the result of a job; `source` is the stamp that its source had when it began."""
        if self._file is None:
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 - see `close`
            if not self._ends_whole:  # a machine that died left half a line, which must not take the next row with it
                self._file.write("\n")
        self._file.write(json.dumps(facts | self._key(source)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """The rows are in the file already; this gives it back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _key(self, source: dict[str, int]) -> dict[str, Any]:
        return {"settings": self._settings, **source}


def stamp(source: str) -> dict[str, int]:
    """The size of a file, and the time (in ns) when it was last written; empty for streams and what is no file."""
    if source == STREAM or not os.path.isfile(source):
        return {}
    status = os.stat(source)
    return {"source_bytes": status.st_size, "source_time": status.st_mtime_ns}

"""Bytes in and out: files, and the standard streams."""

import sys

from pqmim.cli.jobs import STREAM, Job
from pqmim.cli.messages import about
from pqmim.errors import OutputError, PqmimError


def read(source: str, max_pixels: int | None = None) -> bytes:
    """All bytes of a file or of standard input.

    Raises:
        InvalidImage: there are more than a picture of `max_pixels` pixels may take.
    """
    from pqmim.image.limits import read_bounded

    if source == STREAM:
        if sys.stdin is None:
            raise PqmimError("closed", "standard input")
        return read_bounded(sys.stdin.buffer, "standard input", max_pixels)
    try:
        with open(source, "rb") as file:
            return read_bounded(file, source, max_pixels)
    except ValueError as error:  # a name with a zero byte
        raise PqmimError(str(error), source) from error


def read_file(source: str) -> bytes:
    """The bytes of one .pqm file: no more than its header asks for, whatever the source is.

    Raises:
        UnsupportedFile: it is none, told after its first bytes.
        DamagedFile: its header is damaged.
    """
    from pqmim.bitstream.container import read_stream

    with about(source):
        if source == STREAM:
            if sys.stdin is None:
                raise PqmimError("closed")
            return read_stream(sys.stdin.buffer)
        try:
            with open(source, "rb") as file:
                return read_stream(file)
        except ValueError as error:  # a name with a zero byte
            raise error if isinstance(error, PqmimError) else PqmimError(str(error)) from error


def write(job: Job, data: bytes, force: bool) -> None:
    """The whole target or nothing of it."""
    from pqmim.files import write_atomically

    if job.target != STREAM:
        write_atomically(job.target, data, force)
        return
    if sys.stdout is None:
        raise OutputError("closed", "standard output")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

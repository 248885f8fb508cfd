"""What a user reads while a command works: results, notes, and errors in one sentence each."""

import sys
from collections.abc import Iterable
from typing import TextIO

from pqmim.errors import PqmimError

USER_ERRORS = (PqmimError, OSError, MemoryError, RuntimeError)
"""What `complain` may know a sentence for. Of RuntimeError it is only torch running out of memory."""


def say(line: str, file: TextIO | None = None) -> None:
    """Prints a line, above the progress bar where there is one."""
    tqdm = sys.modules.get("tqdm")  # not imported for this: it would take longer than all of `pqmim info`
    (tqdm.tqdm.write if tqdm else print)(line, file=file)


def note(name: str, lines: Iterable[str]) -> None:
    """Tells what could not be kept of a picture."""
    for line in lines:
        say(f"pqmim: {name}: {line}", sys.stderr)


def complain(error: BaseException, name: str | None = None) -> None:
    """Tells an error of `USER_ERRORS` that came up over the file `name`; raises it again if it is not the user's."""
    say(f"pqmim: {_sentence(error, name)}", sys.stderr)


def _sentence(error: BaseException, name: str | None) -> str:
    if isinstance(error, PqmimError):
        text = str(error if name is None else error.about(name))
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or name or 'input or output'}: {error.strerror}"
    elif _out_of_memory(error):
        text = f"{name or 'this'}: not enough memory"
    else:
        raise error
    return " ".join(text.split()).rstrip(".") + "."


def _out_of_memory(error: BaseException) -> bool:
    """torch has no one type for it: a RuntimeError on the CPU, a subclass of that on CUDA."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in words)

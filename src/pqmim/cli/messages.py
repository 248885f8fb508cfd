"""What a user reads while a command works: results, notes, and errors in one sentence each."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from pqmim.errors import PqmimError

USER_ERRORS = (PqmimError, OSError, MemoryError, RuntimeError, ModuleNotFoundError)
"""What `sentence` may know words for. Of the last two it is only torch, running out of memory or not installed."""


def say(line: str) -> None:
    """Print a result, above the progress bar where there is one, whatever characters the names in it have."""
    _print(line, sys.stdout)


def warn(line: str) -> None:
    """Print what is no result, in the same way, on standard error."""
    _print(line, sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is printed there; a stream that the shell closed is None."""
    return stream is not None and stream.isatty()


def _print(line: str, file: TextIO | None) -> None:
    if file is None:
        return
    encoding = getattr(file, "encoding", None) or "utf-8"
    line = _printable(line).encode(encoding, "backslashreplace").decode(encoding)
    tqdm = sys.modules.get("tqdm")  # not imported for this: it would take longer than all of `pqmim info`
    (tqdm.tqdm.write if tqdm else print)(line, file=file)


def note(name: str, lines: Iterable[str]) -> None:
    """Tell what could not be kept of a picture."""
    for line in lines:
        warn(f"pqmim: {name}: {line}")


def complain(error: BaseException, name: str | None = None) -> None:
    """Tell an error of `USER_ERRORS` that came up over the file `name`; raises it again if it is not the user's."""
    warn(f"pqmim: {sentence(error, name)}")


def sentence(error: BaseException, name: str | None = None) -> str:
    """The error in one sentence; raises it again if no user can mend it."""
    if isinstance(error, PqmimError):
        text = str(error if name is None else error.about(name))
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or name or 'input or output'}: {error.strerror}"
    elif isinstance(error, ModuleNotFoundError) and error.name == "torch":
        text = f"{name}: " * (name is not None) + "this needs PyTorch, which is not installed: pip install torch"
    elif _out_of_memory(error):
        text = f"{name or 'this'}: not enough memory"
    else:
        raise error
    return " ".join(text.split()).rstrip(".") + "."


@contextmanager
def about(name: str) -> Iterator[None]:
    """Errors that name no file name this one; - stands for standard input."""
    try:
        yield
    except PqmimError as error:
        error.about("standard input" if name == "-" else name)
        raise


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show that work is in progress, on a terminal, where it takes longer than a second."""
    if not is_terminal(sys.stderr):
        yield
        return
    done = threading.Event()
    start = time.monotonic()

    def tick() -> None:
        while not done.wait(1):
            print(f"\r\x1b[K{label} ... {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def size_of(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("bytes", "kB", "MB"):
        if count < (1000 if unit == "bytes" else 999.5):
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _printable(line: str) -> str:
    """Control characters of a file's name would speak to the terminal."""
    return "".join(mark if mark.isprintable() or mark in "\n\t" else repr(mark)[1:-1] for mark in line)


def _out_of_memory(error: BaseException) -> bool:
    """Running out of memory has no one type in torch: a RuntimeError on the CPU, a subclass of that on CUDA."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in words)

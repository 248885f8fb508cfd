"""The command line: one thin file a verb, which imports what it needs when it runs, so that help and info are quick."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from pqmim.cli.messages import USER_ERRORS, complain
from pqmim.cli.parser import build, parse

TERMINATED = 128 + signal.SIGTERM


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; those of the process by default.

    Returns:
        The exit status: 0; 1 after an error, told in one sentence; 3 where `check` found nothing wrong and nothing to
        prove it by; 130 if interrupted, 143 if terminated. Usage errors leave through argparse, with status 2.
    """
    parser = build()
    args = parse(parser, sys.argv[1:] if argv is None else argv)
    if args.run is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        with _clean_termination():
            status = int(args.run(args))
            if sys.stdout is not None:  # it is None where the shell closed it
                sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except _Terminated:
        return TERMINATED
    except BrokenPipeError:  # whoever read our output has seen enough, as `head` does
        _abandon_stdout()
        return 1
    except USER_ERRORS as error:
        complain(error)
        if isinstance(error, OSError) and error.filename is None:
            _abandon_stdout()  # the disk behind it may be full
        return 1


class _Terminated(BaseException):
    """SIGTERM arrived: clean up and leave, as after an interrupt."""


@contextmanager
def _clean_termination() -> Iterator[None]:
    """SIGTERM unwinds the stack, so that half-written files go away; what it did before is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _abandon_stdout() -> None:
    """Python flushes standard output when it exits, and would fail there once more."""
    with suppress(OSError, ValueError, AttributeError):  # standard output is no file, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""Output files: whole or not at all.

A file is written under a hidden name beside its target, brought to the disk, and given the target's name in one step.
Where the process is killed in between, the hidden file stays; the next process that writes into the folder removes it.
"""

import os
import re
import secrets
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from pqmim.errors import OutputError

ABANDONED = 600.0
"""Seconds after which a hidden file is one that its writer left behind: writing takes a few."""

_PART = re.compile(r"\.pqmim-[0-9a-f]{16}\.part")

swept: set[str] = set()  # folders that this process has looked through
_lock = threading.Lock()


def write_atomically(path: str | os.PathLike[str], data: bytes, force: bool = False, *, parents: bool = False) -> None:
    """Write a file so that no reader ever meets half of it, and that a failure leaves nothing.

    Of two writers of one name without `force`, one fails. With `force`, an existing file is replaced and keeps its
    permissions; a link stays a link. Devices and named pipes are written to directly.

    Args:
        path: the file.
        data: all its bytes.
        force: replace a file that exists.
        parents: make the folders that it lies in.

    Raises:
        OutputError: the target exists and `force` is not given, or it cannot be written.
    """
    name = os.fspath(path)
    try:
        if os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name):
            with open(name, "wb", buffering=0) as device:  # by this name: that of a pipe behind /dev/stdout is none
                _write_all(device.fileno(), data)
            return
        target = Path(os.path.realpath(name))
        if parents:
            _make_folder(target.parent, name)
        if target.is_dir():
            raise OutputError("cannot be written: it is a folder", name)
        if target.exists() and not force:
            raise OutputError("exists already: choose another name, or force overwriting", name)
        sweep(target.parent)
        _replace(target, data, force)
    except FileExistsError as error:  # another writer was quicker
        raise OutputError("exists already: choose another name, or force overwriting", name) from error
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", name) from error
    except ValueError as error:  # a NUL in the name
        raise OutputError(f"cannot be written: {error}", name.replace("\0", "\\0")) from error


def _make_folder(folder: Path, name: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"cannot be written: {folder} is a file", name) from error


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what killed processes left in a folder, once a process: it takes as long as listing the folder."""
    place = os.path.realpath(folder)
    with _lock:
        if place in swept:
            return
        swept.add(place)
    oldest = time.time() - ABANDONED
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)


def _replace(target: Path, data: bytes, force: bool) -> None:
    part = target.with_name(f".pqmim-{secrets.token_hex(8)}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not force:
            _claim(part, target)
            return
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _claim(part: Path, target: Path) -> None:
    """Give a file the target's name, and fail where somebody else has taken it."""
    try:
        os.link(part, target)
        return
    except FileExistsError:
        raise
    except (OSError, AttributeError, NotImplementedError):  # a file system without links
        pass
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # takes the name
    try:
        os.replace(part, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]

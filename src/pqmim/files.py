"""Output files: whole or not at all."""

import os
import secrets
import shutil
from pathlib import Path

from pqmim.errors import OutputError


def write_atomically(path: str | os.PathLike, data: bytes, force: bool = False) -> None:
    """Writes beside the target and renames, so that no reader ever meets half a file and a failure leaves nothing.

    With `force`, an existing file is replaced and keeps its permissions; a link stays a link. Devices and named pipes
    are written to directly. Raises OutputError where the target exists and `force` is not given, or is unwritable.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise OutputError("cannot be written: it is a folder", path)
        if target.exists() and not target.is_file():
            target.write_bytes(data)
            return
        if target.exists() and not force:
            raise OutputError("exists already: choose another name, or force overwriting", path)
        _replace(target, data)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", path) from error


def _replace(target: Path, data: bytes) -> None:
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(data)
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)

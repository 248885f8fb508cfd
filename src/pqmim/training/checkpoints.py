"""Checkpoints: a file each, or numbered parts of a limited size, replaced as a whole."""

import io
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

PART = re.compile(r"\.(\d+)-(\d+)of(\d+)")  # generation, part, parts


def save(state: Any, path: Path, megabytes: float = math.inf) -> None:
    """Replace the checkpoint `path` by `state`.

    If a number of `megabytes` (10**6 bytes) is given, it is written as parts of at most that size, named
    `PATH.GENERATION-NUMBERofCOUNT`.  Whoever stops it midway, by cutting the power too, finds a complete checkpoint, the
    old one or the new.
    """
    old, hidden = _parts(path), path.with_suffix(".part")
    if math.isinf(megabytes):
        _write(hidden, lambda file: torch.save(state, file))
        hidden.replace(path)
    else:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data, size = buffer.getbuffer(), max(1, int(megabytes * 1e6))
        generation, count = 1 + max((g for g, _ in old), default=0), -(-len(data) // size)
        for number in range(count):
            some = data[number * size : (number + 1) * size]
            _write(hidden, lambda file, some=some: file.write(some))  # type: ignore[misc]
            hidden.replace(path.with_name(f"{path.name}.{generation}-{number}of{count}"))
        path.unlink(missing_ok=True)
    for parts in old.values():
        for part in parts:
            part.unlink()


def exists(path: Path) -> bool:
    """Whether something was saved under `path`, whole or in parts."""
    return path.exists() or _newest(path) is not None


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """What was saved under `path`, whole or in parts, with its tensors on `device`; None if nothing was."""
    parts = _newest(path)
    if parts is not None and path.exists() and _written(path) > max(map(_written, parts)):
        parts = None  # a save without parts was stopped before it removed them
    if parts is None and not path.exists():
        return None
    source = path if parts is None else io.BytesIO(b"".join(part.read_bytes() for part in parts))
    return torch.load(source, map_location=device, weights_only=True)


def _write(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file and bring it to the disk, so that a name that it gets then never stands for less."""
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns


def _parts(path: Path) -> dict[tuple[int, int], list[Path]]:
    """Parts in order, by generation and the number that makes it complete."""
    found: dict[tuple[int, int], list[tuple[int, Path]]] = {}
    for part in path.parent.glob(f"{path.name}.*"):
        if match := PART.fullmatch(part.name, len(path.name)):
            generation, number, count = map(int, match.groups())
            found.setdefault((generation, count), []).append((number, part))
    return {key: [part for _, part in sorted(parts)] for key, parts in found.items()}


def _newest(path: Path) -> list[Path] | None:
    complete = [(key, parts) for key, parts in _parts(path).items() if len(parts) == key[1]]
    return max(complete)[1] if complete else None

"""What long evaluations keep in a folder, so that a run that was stopped goes on where it stopped."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pqmim.files import write_atomically

Arrays = dict[str, NDArray[np.float32]]
Rgb = NDArray[np.uint8]
Measures = Mapping[str, Callable[[Rgb], NDArray[np.float32]]]


@dataclass(frozen=True)
class Store:
    """Files and arrays under keys, in a folder; without one, nothing is kept."""

    folder: Path | None = None

    def file(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The bytes under a key, made and kept where they are not there."""
        if self.folder is None:
            return make()
        path = self.folder / "files" / key
        if not path.exists():
            _write(path, make())
        return path.read_bytes()

    def arrays(self, key: str, measures: Measures, picture: Callable[[], Rgb]) -> Arrays:
        """What measures find in a picture, by their names, each computed and kept where it is not there.

        Args:
            key: Tells pictures apart.
            measures: By name; what follows an @, the digest of a network, is left out of the names that are returned.
            picture: Makes the picture, once, where a measure is missing.
        """
        path = None if self.folder is None else self.folder / "arrays" / f"{key}.npz"
        found: Arrays = {}
        if path is not None and path.exists():
            with np.load(path) as stored:
                found = {name: stored[name] for name in stored.files}
        missing = [name for name in measures if name not in found]
        if missing:
            rgb = picture()
            found |= {name: np.asarray(measures[name](rgb), np.float32) for name in missing}
            if path is not None:
                whole = io.BytesIO()
                np.savez(whole, **found)  # type: ignore[arg-type]  # numpy's stubs know no names but allow_pickle
                _write(path, whole.getvalue())
        return {name.partition("@")[0]: found[name] for name in measures}


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that tell values of JSON apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _write(path: Path, data: bytes) -> None:
    write_atomically(path, data, force=True, parents=True)

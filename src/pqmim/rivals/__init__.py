"""The rivals of the paper: same transforms, same trainer, real files.

A rival is a package here, with a line in `REGISTRY`.  Its module `stage` has a `Recipe` (a subclass of `BaseRecipe`)
and `train(recipe, photos, run)`, which writes its weights; its module `files` has `open_codec(name, paths, device)`,
which gives a codec of files.  Nothing is imported before it is asked for.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class FileCodec(Protocol):
    """A rival as a codec of files.  Pictures are RGB (H, W, 3) uint8; a higher setting is a better picture."""

    name: str
    settings: Sequence[float]
    digest: str  # what tells its weights apart in results

    def encode(self, rgb: NDArray[np.uint8], setting: float) -> bytes:
        """A file of a picture.  Raises `ValueError` if there is no such setting."""

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The picture of a file.  Raises `DamagedFile`, `UnsupportedFile` or `InvalidImage`."""


@dataclass(frozen=True)
class Rival:
    """A registered rival.

    Attributes:
        package: Where its modules are.
        codecs: Names of its codecs, its own first; others are the same weights used otherwise.
    """

    package: str
    codecs: tuple[str, ...]

    def recipe(self) -> Any:
        """The class of its recipes."""
        return import_module(f"{self.package}.stage").Recipe

    def train(self, recipe: Any, photos: Any, run: Any) -> Path:
        """Train it by a recipe of its kind; returns the path of its weights."""
        path: Path = import_module(f"{self.package}.stage").train(recipe, photos, run)
        return path

    def open_codec(self, name: str, paths: Sequence[str | os.PathLike[str]], device: str = "cpu") -> FileCodec:
        """One of `codecs`, with weights from `paths`.

        Raises:
            PqmimError: The files are not its weights, or too many.
        """
        codec: FileCodec = import_module(f"{self.package}.files").open_codec(
            name, [Path(path) for path in paths], device
        )
        return codec


REGISTRY: Mapping[str, Rival] = {
    "hyperprior": Rival("pqmim.rivals.hyperprior", ("hyperprior", "hyperprior-refined")),
    "vq": Rival("pqmim.rivals.vq", ("vq",)),
    "hific": Rival("pqmim.rivals.hific", ("hific",)),
}

CODECS: Mapping[str, Rival] = {codec: rival for rival in REGISTRY.values() for codec in rival.codecs}

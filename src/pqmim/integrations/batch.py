"""Work for an engine that spreads batches over processes and machines. Knows no engine."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pqmim.dial import TARGETS, check_effort, check_quality, check_targets
from pqmim.errors import PqmimError
from pqmim.release import load

if TYPE_CHECKING:
    from pqmim.codec import Codec

Batch = dict[str, NDArray[Any]]
"""Columns of equal length. Bytes and texts are arrays of objects: NumPy's own bytes lose zeros at their end."""


class Compress:
    """Photos to .pqm files, a batch at a time; a photo that cannot be compressed is a row with an error.

    An instance goes to other processes without its codec, which is opened at the first batch and then kept.

    Args:
        quality: 0 to 100.
        device: "cpu", or "cuda" on workers that have one.
        threads: of one worker; engines run one a core.
        weights: a file of weights; None: those of the package.
        options: others of `Codec.encode`: size, bpp, psnr, msssim, effort, max_pixels.

    Raises:
        BadArgument: a number is out of range, or several targets are given.
    """

    def __init__(
        self,
        quality: int = 50,
        *,
        device: str = "cpu",
        threads: int = 1,
        weights: str | None = None,
        **options: Any,
    ) -> None:
        check_quality(quality)
        check_effort(options.get("effort"))
        check_targets({name: options.get(name) for name in TARGETS})
        self._codec: Codec | None = None
        self._weights = weights
        self._device, self._threads = device, threads
        self._options = {"quality": quality, **options}

    def __call__(self, batch: Mapping[str, Sequence[Any] | NDArray[Any]]) -> Batch:
        """Compress the photos of a batch.

        Args:
            batch: columns `path`, and `bytes` of image files.

        Returns:
            Columns `path` as given; `sha256` of the photo's bytes, empty where there are none; `data`, the .pqm file,
            empty after an error; `bpp`, 0 after an error; `error`, empty where there is none.

        Raises:
            WeightsError: the codec cannot be opened.
        """
        rows = [self.row(str(path), photo) for path, photo in zip(batch["path"], batch["bytes"])]
        return {name: _column([row[name] for row in rows]) for name in ("path", "sha256", "data", "bpp", "error")}

    def row(self, path: str, photo: Any) -> dict[str, Any]:
        """One photo's row of the result; `photo` holds bytes, or null where an engine has none.

        Raises:
            WeightsError: the codec cannot be opened.
        """
        row = {"path": path, "sha256": "", "data": b"", "bpp": 0.0, "error": ""}
        try:
            data = bytes(memoryview(photo))  # numbers and lists of them are no bytes
        except TypeError:
            return row | {"error": f"there are no bytes, but {photo!r}"}
        row["sha256"] = hashlib.sha256(data).hexdigest()
        codec = self.codec  # weights that cannot be opened are no fault of the photo
        try:
            encoded = codec.encode(data, **self._options)
        except (PqmimError, ValueError, MemoryError, RuntimeError) as error:  # RuntimeError: torch is out of memory
            return row | {"error": str(error) or type(error).__name__}
        return row | {"data": encoded.data, "bpp": encoded.bpp}

    @cached_property
    def settings(self) -> str:
        """What decides the files beside the photos: options of `Codec.encode`, and the digest of the weights.

        Raises:
            WeightsError: the weights cannot be read.
        """
        decides = self._options | {"weights": load(self._weights).digest[:16]}
        return " ".join(f"{name}={value}" for name, value in decides.items())

    @property
    def codec(self) -> "Codec":
        """That of this process, opened when it is first asked for."""
        if self._codec is None:
            from pqmim.codec import Codec

            self._codec = Codec(self._weights, device=self._device, threads=self._threads)
        return self._codec

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_codec": None}
        state.pop("settings", None)  # another machine may have other weights
        return state


def _column(values: list[Any]) -> NDArray[Any]:
    column = np.empty(len(values), float if values and isinstance(values[0], float) else object)
    column[:] = values
    return column

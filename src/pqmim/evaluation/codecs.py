"""The codecs that a comparison runs, behind one small interface."""

import importlib.metadata
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from PIL import Image, features

from pqmim.errors import PqmimError


class MissingCodec(PqmimError):
    """Raised where a codec is asked for that this installation does not have."""


class ImageCodec(Protocol):
    """Pictures are RGB (H, W, 3) uint8; a setting is the codec's own dial, higher for better pictures."""

    name: str
    settings: Sequence[float]
    versions: Mapping[str, str]  # of the libraries that do the work

    def encode(self, rgb: np.ndarray, setting: float) -> bytes: ...

    def decode(self, data: bytes) -> np.ndarray: ...


class PillowCodec:
    """A format that Pillow writes, with its quality as the setting."""

    def __init__(
        self, name: str, format: str, settings: Sequence[int], versions: Mapping[str, str | None], **options: object
    ) -> None:
        self.name = name
        self.format = format
        self.settings = settings
        self.versions = {library: version or "unknown" for library, version in versions.items()}
        self.options = options

    def encode(self, rgb: np.ndarray, setting: float) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, self.format, quality=int(setting), **self.options)
        return buffer.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            return np.asarray(image.convert("RGB"))


class RivalCodec:
    """A learned rival from `rivals`, with weights that the user trained: the package holds none."""

    def __init__(self, name: str, files: Sequence[str | os.PathLike], device: str, threads: int | None) -> None:
        if not files:
            raise MissingCodec(f"{name} has no weights in the package: train them and name their file, {name}=FILE.")
        if name == "hyperprior" and len(files) > 1:
            raise MissingCodec("One file of weights serves every rate of hyperprior: name only one.")
        import torch

        from pqmim.rivals.files import HyperpriorFiles, VqFiles

        if threads:
            torch.set_num_threads(threads)
        self.name = name
        self.files = HyperpriorFiles(files[0], device) if name == "hyperprior" else VqFiles(files, device)
        self.settings = self.files.settings
        self.versions = {"torch": importlib.metadata.version("torch"), "weights": self.files.digest}
        self.encode, self.decode = self.files.encode, self.files.decode


class PqmimCodec:
    """This project's own codec, at an effort that its name tells (see `OWN`)."""

    settings = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)

    def __init__(self, name: str, weights: str | os.PathLike | None, device: str, threads: int | None) -> None:
        from pqmim.codec import Codec

        self.name, self.effort = name, OWN[name]
        self.codec = Codec(weights, device=device, threads=threads)
        self.versions = {"torch": importlib.metadata.version("torch")}

    def encode(self, rgb: np.ndarray, setting: float) -> bytes:
        return self.codec.compress(rgb, setting, effort=self.effort)

    def decode(self, data: bytes) -> np.ndarray:
        return np.asarray(self.codec.decompress(data).convert("RGB"))


def files_by_codec(choices: Sequence[str]) -> dict[str, list[str]]:
    """Names of codecs, in order, each with the files of weights that its choices, NAME or NAME=FILE, give it."""
    found: dict[str, list[str]] = {}
    for choice in choices:
        name, _, file = choice.partition("=")
        found.setdefault(name, []).extend([file] if file else [])
    return found


def make_codec(
    name: str,
    files: Sequence[str | os.PathLike] = (),
    *,
    weights: str | os.PathLike | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> ImageCodec:
    """The codec of that name (see `CODECS`), ready to run.

    `weights` concern pqmim alone, `files` of weights the rivals (`RIVALS`); device concerns both.  JPEG and WebP run
    on one thread; all others on as many as `threads` says, or else on all.
    Raises MissingCodec where the installation does not have it, PqmimError where weights cannot be read.
    """
    if name in RIVALS:
        return RivalCodec(name, files, device, threads)
    if files and name in CODECS:
        raise MissingCodec(f"{name} takes no file of weights as {name}=FILE; only {' and '.join(RIVALS)} do.")
    if name in OWN:
        return PqmimCodec(name, weights, device, threads)
    if name not in CLASSICAL:
        raise MissingCodec(f"There is no codec named {name}: choose from {', '.join(CODECS)}.")
    return CLASSICAL[name](threads)


def _jpeg(threads: int | None) -> PillowCodec:
    library = "libjpeg_turbo" if features.check("libjpeg_turbo") else "jpg"
    return PillowCodec(
        "jpeg",
        "JPEG",
        (2, 5, 8, 12, 16, 20, 25, 30, 40, 50, 60, 70, 80, 90),
        {library: features.version(library)},
        progressive=True,
        optimize=True,
        subsampling="4:2:0",
    )


def _webp(threads: int | None) -> PillowCodec:
    if not features.check("webp"):
        raise MissingCodec("This Pillow was built without WebP: install a wheel of Pillow from PyPI.")
    settings = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
    return PillowCodec("webp", "WEBP", settings, {"libwebp": features.version("webp")}, method=6)


def _avif(threads: int | None) -> PillowCodec:
    return _avif_as("avif", threads, speed=6, subsampling="4:2:0")


def _avif_444(threads: int | None) -> PillowCodec:
    return _avif_as("avif-444", threads, speed=2, subsampling="4:4:4")


def _avif_as(name: str, threads: int | None, **options: object) -> PillowCodec:
    if not features.check("avif"):
        raise MissingCodec("This Pillow has no AVIF: install Pillow 11.3 or newer from PyPI.")
    settings = (0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80)
    library = {"libavif": features.version("avif")}
    return PillowCodec(name, "AVIF", settings, library, max_threads=threads or os.cpu_count(), **options)


def _jxl(threads: int | None) -> PillowCodec:
    try:
        importlib.import_module("pillow_jxl")  # which teaches Pillow the format
    except ImportError as error:
        raise MissingCodec("JPEG XL needs a plug-in of Pillow: pip install pillow-jxl-plugin.") from error
    return PillowCodec(
        "jxl",
        "JXL",
        (0, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90),
        {"pillow-jxl-plugin": importlib.metadata.version("pillow-jxl-plugin")},
        effort=7,
        num_threads=threads or -1,
    )


CLASSICAL: Mapping[str, Callable[[int | None], PillowCodec]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "avif-444": _avif_444,
    "jxl": _jxl,
}
RIVALS = ("hyperprior", "vq")
OWN: Mapping[str, int | None] = {"pqmim": None, "pqmim-fast": 0, "pqmim-refined": 16}  # efforts
CODECS = (*OWN, *CLASSICAL, *RIVALS)

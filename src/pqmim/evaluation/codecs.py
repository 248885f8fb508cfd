"""The codecs that a comparison runs, behind one small interface."""

import importlib.metadata
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from pqmim import looks, rivals
from pqmim.errors import PqmimError
from pqmim.evaluation.machine import code_digest

Rgb = NDArray[np.uint8]  # (H, W, 3)
Path = str | os.PathLike[str]

LOOK = "look"  # in `versions`: the digest of the look that pictures are shown by
SHORT = 16  # hexadecimal digits of a digest that `versions` has
QUALITIES = tuple(range(0, 101, 10))
SIZES = (200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


class MissingCodec(PqmimError):
    """Raised where a codec is asked for that this installation does not have."""


class ImageCodec(Protocol):
    """Pictures are RGB (H, W, 3) uint8; a setting is the codec's own dial, higher for better pictures."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def coder(self) -> str:
        """Whose files it decodes: codecs that differ in decoding alone share them."""

    @property
    def settings(self) -> Sequence[float]:
        """Those that a curve is made of, in order."""

    @property
    def versions(self) -> Mapping[str, str]:
        """The libraries and weights that do the work: whatever changes files or pictures changes one of these.

        What changes decoded pictures alone is under `LOOK`.
        """

    def encode(self, rgb: Rgb, setting: float) -> bytes:
        """A file of a picture."""

    def decode(self, data: bytes) -> Rgb:
        """The picture of a file."""


class PillowCodec:
    """A format that Pillow writes, with its quality as the setting.

    Args:
        name: What results call it.
        format: The format as Pillow calls it.
        settings: Qualities, in order.
        versions: Of the libraries that do the work, None where unknown.
        **options: Passed to Pillow's `save`.
    """

    def __init__(
        self, name: str, format: str, settings: Sequence[int], versions: Mapping[str, str | None], **options: Any
    ) -> None:
        self.name = self.coder = name
        self.format = format
        self.settings: Sequence[float] = settings
        self.versions: Mapping[str, str] = {library: version or "unknown" for library, version in versions.items()}
        self.options = options

    def encode(self, rgb: Rgb, setting: float) -> bytes:
        """A file of a picture."""
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, self.format, quality=int(setting), **self.options)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Rgb:
        """The picture of a file."""
        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            return np.asarray(image.convert("RGB"))


class RivalCodec:
    """A learned rival from `rivals`, with weights that the user trained: the package holds none."""

    def __init__(self, name: str, files: Sequence[Path], device: str, threads: int | None) -> None:
        if not files:
            raise MissingCodec(f"no weights are in the package: train them and name their file, {name}=FILE", name)
        import torch

        if threads:
            torch.set_num_threads(threads)
        self.name = self.coder = name
        self.files = rivals.CODECS[name].open_codec(name, files, device)
        self.settings = self.files.settings
        self.versions = {"torch": importlib.metadata.version("torch"), "weights": self.files.digest}
        self.encode, self.decode = self.files.encode, self.files.decode


@dataclass(frozen=True)
class Own:
    """How this project's own codec is used."""

    effort: int | None = None  # steps that refine the choice of codes; None: the default
    look: float = 0.0  # of decoding: 0 is faithful, 1 is vivid
    sized: bool = False  # settings are the bytes of files, not qualities


class PqmimCodec:
    """This project's own codec, used as its name tells (see `OWN`)."""

    def __init__(self, name: str, weights: Path | None, device: str, threads: int | None) -> None:
        import pqmim
        from pqmim.codec import Codec

        self.name, self.own = name, OWN[name]
        self.coder = next(other for other, own in OWN.items() if replace(self.own, look=0.0) == own)
        self.settings: Sequence[float] = SIZES if self.own.sized else QUALITIES
        self.codec = Codec(None if weights is None else os.fspath(weights), device=device, threads=threads)
        release = self.codec.release
        versions = {
            "pqmim": pqmim.__version__,
            "code": code_digest(),
            "weights": f"{release.id:03x}",  # names what decides codes alone
            "digest": release.digest[:SHORT],
            "torch": importlib.metadata.version("torch"),
        }
        if self.own.look:
            look = looks.find(release.part("synthesis"), release.digest_of("synthesis"))
            versions[LOOK] = look.digest[:SHORT] if look else "none"
        self.versions: Mapping[str, str] = versions

    def encode(self, rgb: Rgb, setting: float) -> bytes:
        """A file of a picture."""
        if self.own.sized:
            return self.codec.compress(rgb, size=int(setting), effort=self.own.effort)
        return self.codec.compress(rgb, int(setting), effort=self.own.effort)

    def decode(self, data: bytes) -> Rgb:
        """The picture of a file."""
        look: dict[str, Any] = {"look": self.own.look} if self.own.look else {}
        return np.asarray(self.codec.decompress(data, **look).convert("RGB"))


def files_by_codec(choices: Sequence[str]) -> dict[str, list[str]]:
    """Names of codecs, in order, each with the files of weights that its choices, NAME or NAME=FILE, give it."""
    found: dict[str, list[str]] = {}
    for choice in choices:
        name, _, file = choice.partition("=")
        found.setdefault(name, []).extend([file] if file else [])
    return found


def make_codec(
    name: str,
    files: Sequence[Path] = (),
    *,
    weights: Path | None = None,
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
        raise MissingCodec(f"takes no file of weights as {name}=FILE; only {' and '.join(RIVALS)} do", name)
    if name in OWN:
        return PqmimCodec(name, weights, device, threads)
    if name not in CLASSICAL:
        raise MissingCodec(f"no such codec: choose from {', '.join(CODECS)}", name)
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
        raise MissingCodec("Pillow was built without WebP here: install a wheel of Pillow from PyPI", "webp")
    settings = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
    return PillowCodec("webp", "WEBP", settings, {"libwebp": features.version("webp")}, method=6)


def _avif(threads: int | None) -> PillowCodec:
    return _avif_as("avif", threads, speed=6, subsampling="4:2:0")


def _avif_444(threads: int | None) -> PillowCodec:
    return _avif_as("avif-444", threads, speed=2, subsampling="4:4:4")


def _avif_as(name: str, threads: int | None, **options: Any) -> PillowCodec:
    if not features.check("avif"):
        raise MissingCodec("Pillow has no AVIF here: install Pillow 11.3 or newer from PyPI", name)
    settings = (0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80)
    library = {"libavif": features.version("avif")}
    return PillowCodec(name, "AVIF", settings, library, max_threads=threads or os.cpu_count(), **options)


def _jxl(threads: int | None) -> PillowCodec:
    try:
        importlib.import_module("pillow_jxl")  # which teaches Pillow the format
    except ImportError as error:
        raise MissingCodec("needs a plug-in of Pillow: pip install pillow-jxl-plugin", "jxl") from error
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
RIVALS = tuple(rivals.CODECS)
OWN: Mapping[str, Own] = {
    "pqmim": Own(),
    "pqmim-fast": Own(effort=0),
    "pqmim-refined": Own(effort=16),
    "pqmim-look25": Own(look=0.25),
    "pqmim-look50": Own(look=0.5),
    "pqmim-look75": Own(look=0.75),
    "pqmim-vivid": Own(look=1.0),
    "pqmim-sized": Own(sized=True),
    "pqmim-sized-vivid": Own(sized=True, look=1.0),
}
CODECS = (*OWN, *CLASSICAL, *RIVALS)

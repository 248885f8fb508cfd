"""A learned image codec: product quantized masked image modeling.

    data = pqmim.compress("photo.jpg", quality=50)
    image = pqmim.decompress(data)
    pqmim.info(data)["bpp"]

Pictures are paths, bytes of an image file, PIL images or uint8 arrays (H, W, 3). Files are bytes, paths or binary file
objects. `Codec` holds loaded weights and settings for repeated use. What a user can get wrong raises a `PqmimError`,
`TypeError` or `ValueError` for arguments of the wrong kind, or `OSError` for a .pqm file that cannot be opened.

Nothing heavy is imported before the first call that needs it.
"""

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from pqmim.errors import (
    BadArgument,
    DamagedFile,
    InvalidImage,
    MissingPackage,
    OutputError,
    PqmimError,
    TooShort,
    UnsupportedFile,
    WeightsError,
)
from pqmim.source import Source, data_of

if TYPE_CHECKING:
    from os import PathLike
    from typing import Literal

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from pqmim.codec import Codec
    from pqmim.decoder import Decoder
    from pqmim.results import Received

__version__ = "0.1.0"

__all__ = [
    "BadArgument",
    "Codec",
    "DamagedFile",
    "Decoder",
    "InvalidImage",
    "MissingPackage",
    "OutputError",
    "PqmimError",
    "TooShort",
    "UnsupportedFile",
    "WeightsError",
    "check",
    "compress",
    "decompress",
    "generate",
    "info",
    "shared_codec",
]


def compress(
    image: "str | PathLike[str] | bytes | Image.Image | NDArray[np.uint8]",
    quality: int = 50,
    *,
    size: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    msssim: float | None = None,
    effort: int | None = None,
    max_pixels: int | None = None,
    keep_metadata: bool = False,
) -> bytes:
    """The bytes of a .pqm file.

    At most one of `size`, `bpp`, `psnr` and `msssim` takes the place of the quality, see `Codec.encode`.

    Args:
        image: a path, the bytes of an image file, a PIL image of any mode, or a uint8 array (H, W, 3) in sRGB.
        quality: 0 (smallest file) to 100 (best picture).
        size: the most bytes that the file takes, nearly always all of them; without transparency and metadata.
        bpp: such a size in bits a pixel.
        psnr: dB that the picture reaches, in as few bytes as it takes.
        msssim: MS-SSIM that it reaches, 0 to 1.
        effort: steps that refine the choice of codes: 0 is fastest, 8 saves another half percent, None is 4, or 0 beyond
            8 megapixels.
        max_pixels: the most that the picture may have; None: 67 million.
        keep_metadata: keep EXIF, XMP and the colour profile.

    Raises:
        InvalidImage: the picture cannot be read, or is too large.
        BadArgument: a number is out of its range; also a ValueError.
    """
    return shared_codec().compress(
        image,
        quality,
        size=size,
        bpp=bpp,
        psnr=psnr,
        msssim=msssim,
        effort=effort,
        max_pixels=max_pixels,
        keep_metadata=keep_metadata,
    )


def decompress(
    file: Source,
    *,
    look: float | str = 0.0,
    complete: "Literal['expect', 'sample', 'none']" = "expect",
    seed: int = 0,
    temperature: float = 0.5,  # `coding.sampler.COMPLETING`, which cannot be imported lightly
    partial: bool = False,
    max_pixels: int | None = None,
) -> "Image.Image":
    """The picture in a .pqm file, or in its beginning; `Decoder` takes bytes as they come.

    Args:
        file: its bytes, its path, or a binary file object.
        look: 0 or `faithful` for the least error, 1 or `vivid` for texture, or between.
        complete: what is missing is what the model expects (the least error), a sample of what it may have been, or
            none.
        seed: of a sample, and of a look's noise; from 0.
        temperature: of a sample: 1 draws as often as the model says, less keeps to what is likely; 0.5 as in
            `Codec.render` and `pqmim decompress`.
        partial: decode a damaged file as far as it goes.
        max_pixels: the most that the picture may have; None: 16.8 million, and 8,192 more for each byte of `file`.

    Returns:
        An image of mode RGB, or RGBA where the file carries alpha.

    Raises:
        DamagedFile: the file breaks the format, or it is framed and whole and its check fails; `check` tells of bare
            files, which may be cut anywhere.
        UnsupportedFile: it is of another kind, or needs a newer version or other weights.
        InvalidImage: the picture is too large.
        BadArgument: a number is out of its range; also a ValueError.
    """
    return shared_codec().decompress(
        data_of(file),
        look=look,
        complete=complete,
        seed=seed,
        temperature=temperature,
        partial=partial,
        max_pixels=max_pixels,
    )


def check(file: Source) -> "Received":
    """Decode the codes of a whole .pqm file and verify them.

    Args:
        file: its bytes, its path, or a binary file object.

    Raises:
        DamagedFile: the file is cut or damaged, or carries nothing to verify it by.
        UnsupportedFile: it is of another kind, or needs a newer version or other weights.
    """
    return shared_codec().check(data_of(file))


def generate(
    width: int = 512, height: int = 512, *, quality: int = 40, seed: int = 0, temperature: float = 1.0
) -> "Image.Image":
    """A picture of which nothing was sent: all codes of a quality are drawn.

    Args:
        width: pixels.
        height: pixels.
        quality: whose codes are drawn, 0 to 100.
        seed: draws the same picture again on the same machine; another may round otherwise and draw another one.
        temperature: 1 draws as often as the model says, less keeps to what is likely.

    Raises:
        BadArgument: a number is out of its range, or no picture has that size; also a ValueError.
    """
    return shared_codec().generate(width, height, quality=quality, seed=seed, temperature=temperature)


def info(file: Source) -> dict[str, Any]:
    """What a .pqm file says of itself (size, quality, bytes, bpp, ...), without decoding: see `bitstream.describe`.

    Args:
        file: its bytes, its path, or a binary file object.

    Raises:
        DamagedFile: the file breaks the format.
        UnsupportedFile: it is of another kind, or of a newer version.
    """
    from pqmim.bitstream.describe import describe

    return describe(data_of(file))


def __getattr__(name: str) -> Any:
    if name == "Codec":
        from pqmim.codec import Codec

        return Codec
    if name == "Decoder":
        from pqmim.decoder import Decoder

        return Decoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def shared_codec() -> "Codec":
    """One codec for the whole process: loading weights takes longer than a small picture."""
    with _sharing:  # or threads that start together would make one each
        return _shared_codec()


_sharing = threading.Lock()


@cache
def _shared_codec() -> "Codec":
    from pqmim.codec import Codec

    return Codec()

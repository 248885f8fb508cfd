"""A learned image codec: product quantized masked image modeling.

    data = pqmim.compress("photo.jpg", quality=50)
    image = pqmim.decompress(data)
    pqmim.info(data)["bpp"]

Images are paths, bytes of an image file, PIL images or uint8 arrays (H, W, 3). `Codec` holds loaded weights and
settings for repeated use. What a user can get wrong raises a `PqmimError`.

Nothing heavy is imported before the first call that needs it.
"""

from typing import TYPE_CHECKING, Any

from pqmim.bitstream.errors import DamagedFile, InvalidImage, OutputError, PqmimError, UnsupportedFile

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from PIL import Image

    from pqmim.codec import Codec

__version__ = "0.1.0"

__all__ = [
    "Codec",
    "DamagedFile",
    "InvalidImage",
    "OutputError",
    "PqmimError",
    "UnsupportedFile",
    "compress",
    "decompress",
    "info",
]

_shared: "Codec | None" = None


def compress(
    image: "str | PathLike | bytes | Image.Image | np.ndarray", quality: int = 50, *, size: int | None = None
) -> bytes:
    """The bytes of a .pqm file.

    `image`: a path, the bytes of an image file, a PIL image of any mode, or a uint8 array (H, W, 3) in sRGB.
    `quality`: 0 (smallest file) to 100 (best picture).
    `size`: bytes that the file shall take, in place of a quality; see `Codec.compress`.
    Raises InvalidImage if the picture cannot be read or is too large.
    """
    return _shared_codec().compress(image, quality, size=size)


def decompress(data: bytes) -> "Image.Image":
    """The picture in the bytes of a .pqm file: mode RGB, or RGBA where the file carries alpha.

    Raises DamagedFile, or UnsupportedFile for what needs a newer version or other weights.
    """
    return _shared_codec().decompress(data)


def info(data: bytes) -> dict[str, Any]:
    """What a .pqm file says of itself (size, quality, bytes, bpp, ...), without decoding: see `bitstream.describe`.

    Raises DamagedFile or UnsupportedFile.
    """
    from pqmim.bitstream.describe import describe

    return describe(data)


def __getattr__(name: str) -> Any:
    if name == "Codec":
        from pqmim.codec import Codec

        return Codec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _shared_codec() -> "Codec":
    """One codec for the whole process: loading weights takes longer than a small picture."""
    global _shared
    if _shared is None:
        from pqmim.codec import Codec

        _shared = Codec()
    return _shared

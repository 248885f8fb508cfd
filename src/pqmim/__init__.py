"""A learned image codec: product quantized masked image modeling.

    data = pqmim.compress("photo.jpg", quality=50)
    image = pqmim.decompress(data)
    pqmim.info(data)["bpp"]

Images are paths, bytes of an image file, PIL images or uint8 arrays (H, W, 3). `Codec` holds loaded weights and
settings for repeated use. What a user can get wrong raises a `PqmimError`.

Nothing heavy is imported before the first call that needs it.
"""

from typing import TYPE_CHECKING, Any

from pqmim.errors import DamagedFile, InvalidImage, OutputError, PqmimError, UnsupportedFile

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from PIL import Image

    from pqmim.codec import Codec
    from pqmim.decoder import Decoder

__version__ = "0.1.0"

__all__ = [
    "Codec",
    "DamagedFile",
    "Decoder",
    "InvalidImage",
    "OutputError",
    "PqmimError",
    "UnsupportedFile",
    "compress",
    "decompress",
    "generate",
    "info",
]

_shared: "Codec | None" = None


def compress(
    image: "str | PathLike | bytes | Image.Image | np.ndarray",
    quality: int = 50,
    *,
    size: int | None = None,
    bpp: float | None = None,
    effort: int | None = None,
) -> bytes:
    """The bytes of a .pqm file.

    `image`: a path, the bytes of an image file, a PIL image of any mode, or a uint8 array (H, W, 3) in sRGB.
    `quality`: 0 (smallest file) to 100 (best picture).
    `size`: bytes that the file shall take, in place of a quality, or `bpp`: bits a pixel; see `Codec.compress`.
    `effort`: steps that refine the choice of codes: 0 is fastest, 8 saves another 1 %, None is 4, or 0 beyond
    8 megapixels.
    Raises InvalidImage if the picture cannot be read or is too large.
    """
    return _shared_codec().compress(image, quality, size=size, bpp=bpp, effort=effort)


def decompress(data: bytes, **options: Any) -> "Image.Image":
    """The picture in the bytes of a .pqm file, or of its beginning: mode RGB, or RGBA where the file carries alpha.

    `options` say how to complete what is missing: see `Codec.decompress`; `Decoder` takes bytes as they come.
    Raises DamagedFile, or UnsupportedFile for what needs a newer version or other weights.
    """
    return _shared_codec().decompress(data, **options)


def generate(width: int = 512, height: int = 512, **options: Any) -> "Image.Image":
    """A picture of which nothing was sent; `options` as for `Codec.generate`."""
    return _shared_codec().generate(width, height, **options)


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
    if name == "Decoder":
        from pqmim.decoder import Decoder

        return Decoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _shared_codec() -> "Codec":
    """One codec for the whole process: loading weights takes longer than a small picture."""
    global _shared
    if _shared is None:
        from pqmim.codec import Codec

        _shared = Codec()
    return _shared

"""Decoded pictures to image files."""

import io
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from pqmim.errors import OutputError
from pqmim.files import write_atomically
from pqmim.image.metadata import options


@dataclass(frozen=True)
class Format:
    """How pictures are written by one ending.

    Attributes:
        name: as Pillow calls the format.
        options: of Pillow's `save`.
        alpha: whether the format keeps transparency.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    alpha: bool = True


PNG = Format("PNG")
JPEG = Format("JPEG", {"quality": 95, "subsampling": "4:4:4"}, alpha=False)
TIFF = Format("TIFF", {"compression": "tiff_adobe_deflate"})

LARGE = 1 << 22
"""Pixels from which PNG files are deflated at the lowest level: several times as quickly, and not much larger."""

FORMATS = {
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": Format("WEBP", {"lossless": True, "exact": True}),
    ".avif": Format("AVIF", {"quality": 95, "subsampling": "4:4:4"}),
    ".tif": TIFF,
    ".tiff": TIFF,
    ".bmp": Format("BMP", alpha=False),
    ".ppm": Format("PPM", alpha=False),
    ".tga": Format("TGA"),
    ".jp2": Format("JPEG2000"),
}


def save(
    image: Image.Image, target: str | os.PathLike[str] | BinaryIO, *, force: bool = False, ending: str | None = None
) -> list[str]:
    """Write an RGB or RGBA image in the format of the target's ending, or of `ending` (default for streams: .png).

    PNG, WebP, TIFF, BMP, PPM, TGA and JPEG 2000 keep every pixel as it is; JPEG and AVIF are written at quality 95.
    EXIF, XMP and a colour profile in the image's `info` are written where the format keeps them.

    Returns:
        One line for each thing that the format could not keep.

    Raises:
        OutputError: the ending or the size suits no format, the target exists and `force` is not given, or it cannot
            be written.
    """
    if not isinstance(target, (str, os.PathLike)):
        data, notes = encode(image, ending or ".png")
        target.write(data)
        return notes
    data, notes = encode(image, ending or Path(target).suffix, os.fspath(target))
    write_atomically(target, data, force)
    return notes


def ending_of(target: str) -> str:
    """The ending of a name.  Raises OutputError, before any work is done, where no format goes by it."""
    ending = os.path.splitext(target)[1]
    if ending.lower() not in FORMATS:
        raise OutputError(f"cannot be written: pictures end in {', '.join(FORMATS)}, not in {ending!r}", target)
    return ending


def encode(image: Image.Image, ending: str, name: str | None = None) -> tuple[bytes, list[str]]:
    """The bytes of an image file, and one line for each thing that its format could not keep; see `save`."""
    if ending.lower() not in FORMATS:
        known = "an ending" if not ending else f"the ending {ending}"
        raise OutputError(f"{known} that no format goes by: use .png, .jpg, .webp, .avif or .tiff", name)
    kind = FORMATS[ending.lower()]
    metadata, notes = options(image, kind.name)
    if image.mode == "RGBA" and not kind.alpha:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        notes.insert(0, f"alpha blended onto white, since {kind.name} keeps none")
    buffer = io.BytesIO()
    try:
        quick = {"compress_level": 1} if kind is PNG and image.width * image.height >= LARGE else {}
        image.save(buffer, kind.name, **kind.options, **quick, **metadata)
    except KeyError as error:  # Pillow built without this format
        raise OutputError(f"cannot be written: this Pillow has no {kind.name} encoder", name) from error
    except (OSError, ValueError, SyntaxError, TypeError, struct.error) as error:  # the last ones over damaged EXIF
        raise OutputError(f"cannot be written as {kind.name}: {error}", name) from error
    return buffer.getvalue(), notes

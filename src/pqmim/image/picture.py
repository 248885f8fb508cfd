"""Pictures as people have them, read into 8-bit sRGB."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pqmim.errors import InvalidImage
from pqmim.image.colour import REDUCED, has_deep_colour, settle_transparency, to_srgb
from pqmim.image.limits import MAX_PIXELS, check_size, pixel_limit, read_bounded
from pqmim.image.metadata import Metadata, has_text

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "PPM", "TGA", "JPEG2000", "ICO", "QOI")
"""Formats that are opened, as Pillow calls them: those of pictures. Others, some of which run programs, are not."""

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[np.uint8]

# What Pillow's plug-ins raise over damaged files, as found by feeding them such files.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass
class Picture:
    """The pixels of a source, and what of it they do not hold.

    Attributes:
        rgb: (H, W, 3) uint8, in sRGB, or in the space of the profile that is kept in `metadata`.
        alpha: (H, W) uint8; None where every pixel is opaque.
        notes: what was changed or dropped, one line each.
        metadata: what was asked to be kept beside the pixels.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    notes: list[str] = field(default_factory=list)
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class _Reading:
    """How a source is read: its name in errors, and what the caller asked for."""

    name: str | None
    max_pixels: int | None
    keep_metadata: bool


def read_picture(source: Source, *, max_pixels: int | None = None, keep_metadata: bool = False) -> Picture:
    """Read a picture.

    EXIF orientation is applied, a colour profile converted to sRGB, alpha kept; all else is told in the notes.

    Args:
        source: an image file, its bytes, a PIL image of any mode, or a uint8 array (H, W), (H, W, 3) or (H, W, 4).
            Files and bytes are of one of the `FORMATS`.
        max_pixels: of the largest picture that is read; None is `limits.MAX_PIXELS`.
        keep_metadata: keep EXIF, XMP and an RGB colour profile, whose colours are then not converted.

    Raises:
        InvalidImage: the source is no readable picture, or too large.
        TypeError, ValueError: an argument is of another kind than these.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    reading = _Reading(None, max_pixels, keep_metadata)
    if isinstance(source, Image.Image):
        return _from_image(source, reading)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), reading)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"An image is a path, bytes, a PIL image or a uint8 array, not {type(source).__name__}.")
    name = os.fspath(source)
    try:
        with open(name, "rb") as file:
            data = read_bounded(file, name, max_pixels)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InvalidImage(f"cannot be read: {getattr(error, 'strerror', None) or error}", name) from error
    return _from_bytes(data, _Reading(name, max_pixels, keep_metadata))


def to_pil(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> Image.Image:
    """An RGB image of (H, W, 3) uint8; RGBA with alpha (H, W) uint8."""
    image = Image.fromarray(rgb)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return image


def _from_array(array: NDArray[np.uint8], max_pixels: int | None) -> Picture:
    if array.dtype != np.uint8:
        raise TypeError(f"An image array holds uint8, not {array.dtype}.")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(f"An image array has the shape (H, W), (H, W, 3) or (H, W, 4), not {array.shape}.")
    check_size(array.shape[1], array.shape[0], None, max_pixels)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    alpha = array[..., 3] if array.shape[2] == 4 and array[..., 3].min() < 255 else None
    return Picture(np.ascontiguousarray(array[..., :3]), None if alpha is None else np.ascontiguousarray(alpha))


def _from_bytes(data: bytes, reading: _Reading) -> Picture:
    with pixel_limit(), _errors_of(reading.name):
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    with image:
        return _from_image(image, reading)


def _from_image(image: Image.Image, reading: _Reading) -> Picture:
    check_size(*image.size, reading.name, reading.max_pixels)
    notes = []
    most = MAX_PIXELS if reading.max_pixels is None else reading.max_pixels
    with pixel_limit(most), _errors_of(reading.name):
        frames = _count_frames(image)
        if frames > 1:
            which = f"frame {image.tell() + 1}" if image.tell() else "the first"
            notes.append(f"only {which} of {frames} frames is kept")
        deep = has_deep_colour(image)
        notes += settle_transparency(image)
        image.load()
        check_size(*image.size, reading.name, most)  # that of an icon is known now alone
        found = Metadata.of(image)
        texts, photoshop = has_text(image), bool(image.info.get("photoshop"))
        upright, orientation = image, _orientation(image)
        if orientation not in (1, None):
            upright = ImageOps.exif_transpose(image)
            found = found.upright()
    if deep:
        notes.append(REDUCED)
    if image.mode in ("P", "PA"):
        notes.append("converted from a palette to full colour")
    rgb, alpha, icc, conversions = to_srgb(upright, keep_profile=reading.keep_metadata)
    readable = found.exif if orientation is not None else b""
    kept = Metadata(readable, icc, found.xmp) if reading.keep_metadata else Metadata()
    kinds = {
        "EXIF": found.exif and not kept.exif and found.says_more_than_orientation(),  # which alone is applied
        "XMP": found.xmp and not kept.xmp,
        "Photoshop": photoshop,
        "text": texts,
    }
    names = [name for name, dropped in kinds.items() if dropped]
    dropped = [f"{' and '.join(names)} metadata dropped"] if names else []
    return Picture(rgb, alpha, notes + conversions + dropped, kept)


def _orientation(image: Image.Image) -> object:
    """What EXIF says of how a loaded image lies; 1 is upright. None where there is EXIF, and no reading it."""
    try:
        found: object = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODER_ERRORS:
        return None
    return found


def _count_frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except ValueError:  # a file that its owner has closed
        return 1


@contextmanager
def _errors_of(name: str | None) -> Iterator[None]:
    """Turns what Pillow raises over foreign files, which is almost anything, into one sentence."""
    try:
        yield
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS).replace("WEBP", "WebP").replace("DIB, ", "").replace("JPEG2000", "JPEG 2000")
        raise InvalidImage(f"not an image of a format that is read ({known})", name) from error
    except MemoryError as error:
        raise InvalidImage("too large a picture for the memory that is left", name) from error
    except Image.DecompressionBombError as error:
        raise InvalidImage("too large a picture, unless --max-pixels or max_pixels allows more", name) from error
    except DECODER_ERRORS as error:
        raise InvalidImage(f"damaged or cut short ({' '.join(str(error).split()).rstrip('.')})", name) from error

"""Pictures as people have them, read into 8-bit sRGB."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pqmim.errors import InvalidImage
from pqmim.image.colour import REDUCED, has_deep_colour, to_srgb
from pqmim.image.limits import MAX_SIDE, check_size, pixel_limit

METADATA = {"exif": "EXIF", "xmp": "XMP", "XML:com.adobe.xmp": "XMP", "photoshop": "Photoshop"}

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
    """Colours in sRGB, and what of the source they do not hold."""

    rgb: np.ndarray  # (H, W, 3) uint8
    alpha: np.ndarray | None = None  # (H, W) uint8; None: opaque
    notes: list[str] = field(default_factory=list)  # what was changed or dropped, one line each


def read_picture(source: str | os.PathLike | bytes | Image.Image | np.ndarray) -> Picture:
    """Reads an image file, its bytes, a PIL image of any mode, or a uint8 array (H, W), (H, W, 3) or (H, W, 4).

    EXIF orientation is applied, a colour profile converted to sRGB, alpha kept; all else is told in the notes.
    Raises InvalidImage where the source is no readable image of 1 to 65,536 pixels a side and at most 2^30 in all,
    TypeError or ValueError where an argument is of another kind than these.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_image(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source))
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"An image is a path, bytes, a PIL image or a uint8 array, not {type(source).__name__}.")
    name = os.fspath(source)
    try:
        with open(name, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InvalidImage(f"cannot be read: {error.strerror}", name) from error
    return _from_bytes(data, name)


def to_pil(rgb: np.ndarray, alpha: np.ndarray | None = None) -> Image.Image:
    """An RGB image of (H, W, 3) uint8; RGBA with alpha (H, W) uint8."""
    image = Image.fromarray(rgb)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return image


def _from_array(array: np.ndarray) -> Picture:
    if array.dtype != np.uint8:
        raise TypeError(f"An image array holds uint8, not {array.dtype}.")
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4):
        raise ValueError(f"An image array has the shape (H, W), (H, W, 3) or (H, W, 4), not {array.shape}.")
    check_size(array.shape[1], array.shape[0])
    alpha = array[..., 3] if array.shape[2] == 4 and array[..., 3].min() < 255 else None
    return Picture(np.ascontiguousarray(array[..., :3]), None if alpha is None else np.ascontiguousarray(alpha))


def _from_bytes(data: bytes, name: str | None = None) -> Picture:
    with pixel_limit, _errors_of(name):
        image = Image.open(io.BytesIO(data))
    return _from_image(image, name)


def _from_image(image: Image.Image, name: str | None = None) -> Picture:
    check_size(*image.size, name)
    notes = []
    with pixel_limit, _errors_of(name):
        frames = _count_frames(image)
        if frames > 1:
            which = f"frame {image.tell() + 1}" if image.tell() else "the first"
            notes.append(f"only {which} of {frames} frames is kept")
        deep = has_deep_colour(image)
        image.load()
        exif = image.getexif()
        if exif.get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    if deep:
        notes.append(REDUCED)
    rgb, alpha, conversions = to_srgb(image)
    kinds = {kind: None for key, kind in METADATA.items() if image.info.get(key)}
    if not set(exif) - {ExifTags.Base.Orientation}:
        kinds.pop("EXIF", None)  # orientation alone: it was applied, so nothing is lost
    dropped = [f"{' and '.join(kinds)} metadata dropped"] if kinds else []
    return Picture(rgb, alpha, notes + conversions + dropped)


def _count_frames(image: Image.Image) -> int:
    try:
        return image.n_frames
    except (AttributeError, ValueError):  # not a file, or one that its owner has closed
        return 1


@contextmanager
def _errors_of(name: str | None) -> Iterator[None]:
    """Turns what Pillow raises over foreign files, which is almost anything, into one sentence."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise InvalidImage("not an image that Pillow can open", name) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise InvalidImage(f"too large a picture: at most {MAX_SIDE} a side and 2^30 pixels", name) from error
    except DECODER_ERRORS as error:
        raise InvalidImage(f"damaged or cut short ({str(error).strip().rstrip('.')})", name) from error

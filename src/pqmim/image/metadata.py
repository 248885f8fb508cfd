"""What a picture says beside its pixels: EXIF, XMP and colour profiles, kept as bytes when asked for.

Pixels are stored upright, so the orientation is set to upright in what is kept.
"""

import re
import struct
from dataclasses import dataclass, replace
from typing import Any

from PIL import ExifTags, Image

_ORIENTATION = int(ExifTags.Base.Orientation)
_PREFIX = b"Exif\0\0"
_XMP_OF_PNG = "XML:com.adobe.xmp"

# Tags of a TIFF file that tell of the photo, and not of how the file holds its pixels.
_TELLING = (270, 271, 272, 305, 306, 315, 33432, 34665, 34853)

_KEPT_BY = {
    "PNG": ("exif", "icc", "xmp"),
    "JPEG": ("exif", "icc", "xmp"),
    "WEBP": ("exif", "icc", "xmp"),
    "AVIF": ("exif", "icc", "xmp"),
    "TIFF": ("exif", "icc"),
}
_NAMES = {"exif": "EXIF", "xmp": "XMP", "icc": "colour profile"}

# Bytes that a segment of a JPEG file has room for, beside the words that it begins with.
_MOST_OF_JPEG = {"exif": 65533 - len(_PREFIX), "xmp": 65533 - 29}


@dataclass(frozen=True)
class Metadata:
    r"""Bytes beside the pixels; empty where there are none.

    Attributes:
        exif: a TIFF structure, without `Exif\0\0` before it.
        icc: an ICC profile of RGB: the pixels are in its space, and in sRGB without one.
        xmp: an XMP packet in UTF-8.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.exif or self.icc or self.xmp)

    def attach(self, image: Image.Image) -> None:
        """Put it where Pillow and `options` look for it: in the image's `info`."""
        if self.exif:
            image.info["exif"] = _PREFIX + self.exif
        if self.icc:
            image.info["icc_profile"] = self.icc
        if self.xmp:
            image.info["xmp"] = self.xmp

    @classmethod
    def of(cls, image: Image.Image) -> "Metadata":
        """That of a loaded image, whatever its format calls it. The orientation is as it was."""
        exif = _exif_of_tiff(image) if image.format == "TIFF" else image.info.get("exif") or b""
        xmp = image.info.get("xmp") or image.info.get(_XMP_OF_PNG) or b""
        icc = image.info.get("icc_profile") or b""
        return cls(bytes(exif).removeprefix(_PREFIX), bytes(icc), xmp.encode() if isinstance(xmp, str) else bytes(xmp))

    def upright(self) -> "Metadata":
        """The same of a picture that was turned upright."""
        xmp = re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", self.xmp)
        return Metadata(_upright(self.exif), self.icc, xmp)

    def says_more_than_orientation(self) -> bool:
        """Whether its EXIF holds anything but the orientation, or cannot be read at all."""
        try:
            _, entries = _entries(self.exif)
        except struct.error:
            return True
        return any(tag != _ORIENTATION for tag, _ in entries)


def options(image: Image.Image, format: str) -> tuple[dict[str, Any], list[str]]:
    """Arguments of Pillow's `save` that keep an image's metadata in a format, and a line for what it cannot keep."""
    found = Metadata.of(image)
    if format == "TIFF":
        found = replace(found, exif=_for_tiff(found.exif))
    kept = [field for field in _KEPT_BY.get(format, ()) if _has_room(format, field, getattr(found, field))]
    dropped = [name for field, name in _NAMES.items() if getattr(found, field) and field not in kept]
    arguments: dict[str, Any] = {}
    if found.exif and "exif" in kept:
        arguments["exif"] = _PREFIX + found.exif
    if found.icc and "icc" in kept:
        arguments["icc_profile"] = found.icc
    if found.xmp and "xmp" in kept:
        if format == "PNG":
            from PIL.PngImagePlugin import PngInfo

            arguments["pnginfo"] = PngInfo()
            arguments["pnginfo"].add_itxt(_XMP_OF_PNG, found.xmp.decode(errors="replace"))
        else:
            arguments["xmp"] = found.xmp
    why = "keeps none" if set(kept) == set(_KEPT_BY.get(format, ())) else "keeps no more than 64 kB of it"
    return arguments, [f"{' and '.join(dropped)} dropped, since {format} {why}"] if dropped else []


def has_text(image: Image.Image) -> bool:
    """Whether a loaded image carries comments or other text of its own."""
    texts = getattr(image, "text", None) or {}
    comment = image.format != "JPEG2000" and image.info.get("comment")  # there it names the encoder alone
    return bool(comment) or any(key != _XMP_OF_PNG for key in texts)


def _entries(exif: bytes) -> tuple[str, list[tuple[int, int]]]:
    """Byte order, and tags with the places of their entries, of the first directory; struct.error if there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        raise struct.error("no byte order")
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    places = [start + 2 + 12 * i for i in range(count)]
    return order, [(struct.unpack_from(order + "H", exif, place)[0], place) for place in places]


def _upright(exif: bytes) -> bytes:
    """EXIF with orientation 1 in place of another, all other bytes as they are; none where it cannot be read."""
    try:
        order, entries = _entries(exif)
    except struct.error:
        return b""
    turned = bytearray(exif)
    for tag, place in entries:
        if tag == _ORIENTATION and len(exif) >= place + 12:
            struct.pack_into(order + "H", turned, place + 8, 1)
    return bytes(turned)


def _has_room(format: str, field: str, data: bytes) -> bool:
    return format != "JPEG" or len(data) <= _MOST_OF_JPEG.get(field, len(data))


def _exif_of_tiff(image: Image.Image) -> bytes:
    return _telling(image.getexif())


def _for_tiff(exif: bytes) -> bytes:
    """EXIF without what tells how a file holds its pixels: a TIFF file has such tags of its own in the same directory."""
    found = Image.Exif()
    try:
        found.load(_PREFIX + exif)
        return _telling(found)
    except (OSError, ValueError, SyntaxError, TypeError, struct.error):  # damaged: writing it says so
        return exif


def _telling(found: Image.Exif) -> bytes:
    kept = Image.Exif()
    for tag in _TELLING:
        if tag in found:
            kept[tag] = found.get_ifd(tag) if tag in (34665, 34853) else found[tag]
    return kept.tobytes() if len(kept) else b""

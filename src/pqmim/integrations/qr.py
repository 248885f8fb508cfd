"""Small files as QR codes, and back: `pip install '.[qr]'`.

A code holds 2,953 bytes at most. The forms, with the modules a side that 200 bytes need:

    link     an address and base64url in its fragment (61): phones open it
    text     base64url alone (57)
    base45   RFC 9285, of QR's own alphabet (53): for readers that return text only
    raw      the bytes themselves (53)
"""

import importlib
import io
from typing import Literal

from PIL import Image

from pqmim.bitstream.header import begins
from pqmim.errors import InvalidImage, PqmimError, UnsupportedFile
from pqmim.integrations.text import from_text, to_base64url, to_link

Form = Literal["link", "text", "base45", "raw"]

MOST = 2953
"""Bytes that the largest code holds."""

_BASE45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


def require() -> None:
    """Raises ModuleNotFoundError where a package that this needs is not installed."""
    for name in ("segno", "zxingcpp"):
        importlib.import_module(name)


def write_qr(data: bytes, ending: str, form: Form = "text", page: str | None = None, scale: int = 8) -> bytes:
    """A picture of a QR code.

    Args:
        data: the .pqm file; some 200 to 500 bytes make a code that a phone reads with ease.
        ending: .svg, .png or .txt (block characters for a terminal).
        form: see above; "link" needs `page`.
        page: address of a page that decodes what stands after its #.
        scale: pixels a module.

    Raises:
        PqmimError: the file is too long for a code, or no such picture can be written.
    """
    import segno

    too_many = f"{len(data):,} bytes are too many for a QR code as {form}: make the file smaller"
    if len(data) > MOST:  # segno would take seconds a megabyte to say so
        raise PqmimError(too_many)
    content: str | bytes = data
    if form == "link":
        if page is None:
            raise PqmimError("a link needs the address of a page that opens it")
        content = to_link(data, page)
    elif form != "raw":
        content = to_base64url(data) if form == "text" else to_base45(data)
    try:
        code = segno.make_qr(content, error="l", boost_error=True)
    except segno.DataOverflowError as error:
        raise PqmimError(too_many) from error
    if ending not in (".svg", ".png", ".txt"):
        raise PqmimError(f"QR codes are written as .svg, .png or .txt, not as {ending or 'a name without an ending'}")
    if ending == ".txt":
        drawing = io.StringIO()
        code.terminal(drawing, compact=True)
        return drawing.getvalue().encode()
    out = io.BytesIO()
    code.save(out, kind=ending[1:], scale=scale, border=4)
    return out.getvalue()


def read_qr(image: Image.Image) -> bytes:
    """The .pqm file in the first QR code of a photo or a screenshot, in any of the forms.

    Raises:
        InvalidImage: there is no readable QR code.
        UnsupportedFile: there is one, and it carries no .pqm file.
    """
    import zxingcpp

    codes = zxingcpp.read_barcodes(image.convert("L"), formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    if not codes:
        raise InvalidImage("there is no QR code that can be read: let it fill the picture, sharp and evenly lit")
    for code in codes:
        data = _content(code.bytes)
        if begins(data):
            return data
    raise UnsupportedFile("the QR code carries no .pqm file")


def _content(content: bytes) -> bytes:
    """The file in what a code says, or nothing."""
    if begins(content):
        return content
    for decoded in (from_text, from_base45):
        try:
            data = decoded(content.decode("ascii"))
        except (PqmimError, UnicodeDecodeError):
            continue
        if begins(data):
            return data
    return b""


def to_base45(data: bytes) -> str:
    """RFC 9285: three characters for two bytes, two for a last one."""
    characters = []
    for start in range(0, len(data), 2):
        pair = data[start : start + 2]
        value = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            value, digit = divmod(value, 45)
            characters.append(_BASE45[digit])
    return "".join(characters)


def from_base45(text: str) -> bytes:
    """The bytes of RFC 9285 text.

    Raises:
        UnsupportedFile: it is none.
    """
    data = b""
    for start in range(0, len(text), 3):
        digits = [_BASE45.find(character) for character in text[start : start + 3]]
        value = sum(digit * 45**place for place, digit in enumerate(digits))
        size = len(digits) - 1
        if min(digits) < 0 or not size or value >= 256**size:
            raise UnsupportedFile("the text is not base45")
        data += value.to_bytes(size, "big")
    return data

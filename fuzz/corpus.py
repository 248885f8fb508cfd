"""Where fuzzing starts: small sound inputs of each target, made here, and what was found, kept in corpus/."""

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, features

from pqmim.bitstream import Header, Kind, Tag, write
from pqmim.image.alpha import encode_alpha
from pqmim.integrations import packets, text

FOLDER = Path(__file__).parent / "corpus"
FOUND = Path(__file__).parent / "found"


def starts(target: str) -> list[bytes]:
    """Inputs of a target, in one order on every machine."""
    made = {
        "alpha": _alphas,
        "picture": _pictures,
        "exif": _exifs,
        "joined": _packets,
        "from_text": _texts,
    }.get(target, _files)()
    kept = sorted((FOLDER / target).glob("*")) if (FOLDER / target).is_dir() else []
    return [*made, *(path.read_bytes() for path in kept)]


def keep(name: str, data: bytes) -> None:
    """Write down an input that breaks a target."""
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    print(f"{path}: breaks {name}", file=sys.stderr)


def _noise(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def _files() -> list[bytes]:
    chunks = {Tag.ALPHA: b"\0\x80", Tag.EXIF: b"MM\0*", 8: b"new"}
    headers = [
        Header(40, 30, 50, 1),
        Header(1, 1, 100, 1),
        Header(100, 17, 0, 1, scale=2, kind=Kind.GREY),
        Header(768, 512, 50, 1),
        Header(40, 30, 50, 1, framed=False),
        Header(40, 30, 50, 1, framed=False, checked=True),
        Header(9, 300, 30, 1, scale=1, framed=False),
    ]
    made = [write(header, _noise(24), chunks if header.framed else {}, b"") for header in headers]
    flat = [Header(40, 30, 0, 0, kind=Kind.FLAT), Header(40, 30, 0, 0, framed=False, kind=Kind.FLAT)]
    return [*made, *(write(header, b"abc", {}, b"") for header in flat), made[0][:20]]


def _alphas() -> list[bytes]:
    ramp = np.tile(np.arange(20, dtype=np.uint8), (10, 1))
    planes = [np.full((10, 20), 7, np.uint8), ramp, np.ascontiguousarray(ramp.T), np.frombuffer(_noise(99), np.uint8)]
    planes = [plane.reshape(9, 11) if plane.ndim == 1 else plane for plane in planes]
    return [bytes(side - 1 for side in plane.shape) + encode_alpha(plane) for plane in planes]


def _pictures() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    made = []
    for mode, format in (
        *(("RGB", name) for name in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "TGA", "ICO", "QOI", "JPEG2000")),
        *(("RGBA", "PNG"), ("P", "GIF"), ("P", "PNG"), ("I;16", "PNG"), ("CMYK", "JPEG"), ("F", "TIFF"), ("LA", "PNG")),
        *([("RGB", "AVIF")] if features.check("avif") else []),
    ):
        image = Image.frombytes("RGB", (16, 16), _noise(768))
        image = Image.new(mode, (16, 16)) if mode in ("I;16", "F", "LA") else image.convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, format, **({"exif": exif} if format in ("PNG", "JPEG", "WEBP", "TIFF") else {}))
        made.append(buffer.getvalue())
    return made


def _exifs() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return [exif.tobytes()[6:], b"II*\0\x08\0\0\0\x01\0\x12\1\3\0\1\0\0\0\6\0\0\0", b'<x tiff:Orientation="6"/>']


def _packets() -> list[bytes]:
    sent = packets.split(_noise(90), 40)
    return [b"".join(bytes([len(packet)]) + packet for packet in order) for order in (sent, sent[::-1], sent[1:])]


def _texts() -> list[bytes]:
    data = _noise(20)
    return [form(data).encode() for form in (text.to_base64url, text.to_base2048)]

"""A tree of fifty odd pictures: every one is told, none is lost."""

import io
import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F")
ENDINGS = {".png": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"), ".tif": MODES, ".jpg": ("RGB", "L", "CMYK")}


def _saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in 80 bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def tree(here) -> tuple[list[str], list[str]]:
    """Names of the good pictures and of the bad ones."""
    good, bad = {}, {}
    for end, modes in ENDINGS.items():
        for mode in modes:
            image = Image.new(mode, (20, 12), 1 if mode in ("1", "F", "I;16", "L", "P") else None)
            good[f"modes/{mode.replace(';', '')}{end}"] = _saved(image, Image.registered_extensions()[end])
    plain = Image.new("RGB", (20, 12), (9, 99, 199))
    png = _saved(plain, "PNG")
    for name in (
        "a b.png",
        "ümläut.png",
        "-q.png",
        "UPPER.PNG",
        "two.dots.png",
        "deep/er/est/a.png",
        "%s.png",
        "'.png",
    ):
        good[f"names/{name}"] = png
    good["names/same.png"], good["names/same.jpg"] = png, _saved(plain, "JPEG")
    good["names/same.PNG.webp"] = _saved(plain, "WEBP")
    good["sizes/one.png"] = _saved(Image.new("RGB", (1, 1)), "PNG")
    good["sizes/line.png"] = _saved(Image.new("RGB", (900, 1)), "PNG")
    good["sizes/wrong-ending.png"] = _saved(plain, "JPEG")
    good["sizes/moves.gif"] = _saved(plain, "GIF", save_all=True, append_images=[Image.new("RGB", (20, 12))])
    exif = Image.Exif()
    exif[0x0112] = 6
    good["sizes/turned.jpg"] = _saved(plain, "JPEG", exif=exif)
    bad |= {"bad/empty.png": b"", "bad/cut.png": png[:50], "bad/text.jpg": b"hello", "bad/bomb.png": _bomb()}
    bad |= {"bad/flipped.png": png[:45] + bytes([png[45] ^ 255]) + png[46:], "bad/zeros.webp": bytes(500)}
    for name, data in (good | bad).items():
        path = here / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    os.symlink("nowhere", here / "in" / "bad" / "link.png")
    os.symlink("..", here / "in" / "bad" / "loop")
    (here / "in" / "bad" / "folder.png").mkdir()
    return list(good), [*bad, "bad/link.png"]


def test_every_one_is_told_and_none_is_lost(run, tree):
    good, bad = tree
    status, out, err = run("compress", "-r", "in", "-o", "out", "--json")
    rows = {row["file"]: row for row in map(json.loads, out.splitlines())}
    assert status == 1 and set(rows) == {f"in/{name}" for name in good + bad}
    assert {name for name, row in rows.items() if "error" in row} == {f"in/{name}" for name in bad}
    assert f"{len(good)} done, {len(bad)} failed" in err.splitlines()[-1]
    made = {path.relative_to("out").as_posix() for path in Path("out").rglob("*.pqm")}
    assert len(made) == len(good) and made == {
        Path(row["output"]).relative_to("out").as_posix() for row in rows.values() if "error" not in row
    }
    assert {"names/same.png-2.pqm", "names/same.jpg.pqm", "names/same.PNG.pqm"} <= made
    for name in bad:
        assert sum(line.startswith(f"pqmim: in/{name}: ") for line in err.splitlines()) == 1
    status, out, err = run("compress", "-r", "in", "-o", "out")
    assert status == 1 and out == b"" and f"{len(good)} done before, {len(bad)} failed" in err

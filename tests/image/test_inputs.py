"""Which files are opened, how large, and what is said of the others."""

import io
import os
import shutil
import struct

import numpy as np
import pytest
from PIL import Image

from pqmim.errors import InvalidImage
from pqmim.image import picture as picture_module
from pqmim.image.limits import MAX_PIXELS, check_size, pixel_limit
from pqmim.image.picture import FORMATS, read_picture

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def file_of(format: str, size: tuple[int, int] = (16, 16)) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def test_no_program_is_run_for_a_picture(tmp_path, monkeypatch):
    """An EPS called .png is PostScript all the same, which Pillow hands to Ghostscript."""
    monkeypatch.setattr(shutil, "which", lambda *args: pytest.fail("looked for a program"))
    path = tmp_path / "photo.png"
    path.write_bytes(EPS)
    with pytest.raises(InvalidImage, match=r"photo\.png: not an image of a format that is read \(PNG, JPEG, "):
        read_picture(path)


@pytest.mark.parametrize("format", ["PCX", "SGI", "SPIDER", "MSP"])
def test_other_formats_are_not_opened(format):
    pixels = Image.new("1" if format == "MSP" else "F" if format == "SPIDER" else "RGB", (16, 16))
    buffer = io.BytesIO()
    pixels.save(buffer, format)
    with pytest.raises(InvalidImage, match="not an image|damaged"):
        read_picture(buffer.getvalue())


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "TGA"])
def test_every_listed_format_is_read(format):
    picture = read_picture(file_of(format))
    assert picture.rgb.shape == (16, 16, 3) and picture.rgb.std() > 10
    assert picture.notes == (["converted from a palette to full colour"] if format == "GIF" else [])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_one_sentence(format):
    data = file_of(format)
    generator = np.random.default_rng(1)
    refused = []
    for _ in range(25):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), 4):
            damaged[place] = generator.integers(256)
        try:
            assert read_picture(bytes(damaged[: generator.integers(1, len(data) + 1)])).rgb.ndim == 3
        except InvalidImage as error:
            refused.append(str(error))
    assert refused and not any("\n" in text or text.endswith(".") for text in refused)


def test_limits():
    check_size(1, MAX_PIXELS // 65536 * 64)
    check_size(8192, 8192)
    for width, height, most in ((8193, 8192, None), (65537, 1, None), (11, 10, 109), (0, 5, None), (5, -1, None)):
        with pytest.raises(InvalidImage, match=f"{width}x{height}"):
            check_size(width, height, max_pixels=most)
    check_size(11, 10, max_pixels=110)
    check_size(65536, 65536, max_pixels=1 << 32)


@pytest.mark.parametrize("source", ["bytes", "image", "array"])
def test_max_pixels_holds_for_every_source(source):
    data = file_of("PNG", (20, 10))
    with Image.open(io.BytesIO(data)) as image:
        given = {"bytes": data, "image": image, "array": np.asarray(image)}[source]
        assert read_picture(given, max_pixels=200).rgb.shape == (10, 20, 3)
        with pytest.raises(InvalidImage, match="20x10.*at most 199 pixels"):
            read_picture(given, max_pixels=199)


@pytest.mark.filterwarnings("ignore")  # Pillow remarks on the size
def test_a_picture_inside_an_icon_is_as_limited(monkeypatch):
    """An icon says 16x16 of a PNG inside it, which says otherwise."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    inside = io.BytesIO()
    Image.new("RGB", (300, 200)).save(inside, "PNG")
    png = inside.getvalue()
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + png
    for most in (1000, 40_000, 59_999):
        with pytest.raises(InvalidImage, match="too large"):
            read_picture(icon, max_pixels=most)
    assert read_picture(icon, max_pixels=60_000).rgb.shape == (200, 300, 3)
    assert Image.MAX_IMAGE_PIXELS == 12345


def test_the_widest_limit_of_those_who_read_holds(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    with pixel_limit(100):
        assert Image.MAX_IMAGE_PIXELS == 100
        with pixel_limit(300):
            with pixel_limit(200):
                assert Image.MAX_IMAGE_PIXELS == 300
            assert Image.MAX_IMAGE_PIXELS == 300
        assert Image.MAX_IMAGE_PIXELS == 100
        with pixel_limit():
            assert Image.MAX_IMAGE_PIXELS == 1 << 32
    assert Image.MAX_IMAGE_PIXELS == 12345


@pytest.mark.parametrize(("given", "held"), [(1000, 1000), (None, MAX_PIXELS)])
def test_pillow_is_held_to_the_limit_of_the_caller_while_it_loads(monkeypatch, given, held):
    image, seen = Image.new("RGB", (20, 10)), []
    load = image.load
    monkeypatch.setattr(image, "load", lambda: (seen.append(Image.MAX_IMAGE_PIXELS), load())[1])
    read_picture(image, max_pixels=given)
    assert seen[0] == held


def test_how_long_a_file_may_be(tmp_path):
    """16 bytes for each pixel that it may have, and 16 MiB for all else."""
    path = tmp_path / "long.png"
    for length, message in (((1 << 24) + 48, "not an image"), ((1 << 24) + 49, "more than 16,777,264 bytes")):
        with path.open("wb") as file:
            file.truncate(length)
        with pytest.raises(InvalidImage, match=message):
            read_picture(path, max_pixels=3)


def test_an_endless_file_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(picture_module, "MAX_PIXELS", 1 << 10)
    if not os.path.exists("/dev/zero"):
        pytest.skip("no /dev/zero here")
    with pytest.raises(InvalidImage, match="too large a file"):
        read_picture("/dev/zero")


def test_names_that_no_system_takes():
    with pytest.raises(InvalidImage, match="cannot be read: embedded null"):
        read_picture("a\0b.png")


@pytest.mark.parametrize(
    ("mode", "format", "note"),
    [
        ("P", "PNG", "converted from a palette to full colour"),
        ("CMYK", "TIFF", "converted from CMYK to RGB"),
        ("I;16", "PNG", "reduced from 16 to 8 bits a channel"),
    ],
)
def test_what_is_converted_is_told(mode, format, note):
    buffer = io.BytesIO()
    Image.new(mode, (4, 4)).save(buffer, format)
    assert read_picture(buffer.getvalue()).notes == [note]

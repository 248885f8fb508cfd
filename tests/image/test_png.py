"""PNG files of large pictures: the pixels and the metadata that Pillow's own would hold."""

import io

import numpy as np
import pytest
from PIL import Image

from pqmim.image import png, save
from pqmim.image.metadata import Metadata


def noisy(mode: str, width: int, height: int) -> Image.Image:
    bands = len(mode)
    values = np.random.default_rng(0).integers(0, 256, (height, width, bands), np.uint8)
    values[: height // 2] = 7  # and smooth rows
    return Image.fromarray(values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("height", [1, png.ROWS, 2 * png.ROWS + 3])
def test_pixels_come_back(mode, height):
    image = noisy(mode, 37, height)
    back = Image.open(io.BytesIO(png.encode_large(image)))
    back.load()
    assert (back.format, back.mode, back.size) == ("PNG", mode, image.size)
    assert np.array_equal(np.asarray(back), np.asarray(image))


def test_files_are_no_larger_than_the_pixels_of_noise():
    image = noisy("RGB", 300, 200)
    assert len(png.encode_large(image)) < 0.6 * 300 * 200 * 3


@pytest.mark.parametrize("least", [1, 1 << 30])
def test_metadata_is_kept_however_a_picture_is_written(monkeypatch, least):
    monkeypatch.setattr(png, "LARGE", least)
    exif = Image.Exif()
    exif[0x010F] = "maker"
    image = noisy("RGB", 20, 10)
    Metadata(exif=exif.tobytes()[6:], icc=b"", xmp=b"<x/>").attach(image)
    data, notes = save.encode(image, ".png")
    back = Image.open(io.BytesIO(data))
    assert back.getexif()[0x010F] == "maker" and b"<x/>" in data and notes == []
    assert np.array_equal(np.asarray(back), np.asarray(image))


def test_large_pictures_alone_are_written_so(monkeypatch):
    written = []
    monkeypatch.setattr(png, "LARGE", 200)
    monkeypatch.setattr(png, "encode_large", lambda image, **options: written.append(image.size) or b"png")
    for size in ((20, 9), (20, 10)):
        save.encode(Image.new("RGB", size), ".png")
    save.encode(Image.new("L", (20, 10)), ".png")
    save.encode(Image.new("RGB", (20, 10)), ".bmp")
    assert written == [(20, 10)]

"""Flat pictures come back exactly, and grey ones exactly grey, in every form of file."""

import numpy as np
import pytest
from PIL import Image

from pqmim import DamagedFile, UnsupportedFile
from pqmim.bitstream import Kind, read
from pqmim.codec import Codec
from pqmim.decoder import Decoder
from pqmim.errors import BadArgument


@pytest.fixture(scope="module")
def codec():
    return Codec()


def flat(colour, height=37, width=53):
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


@pytest.mark.parametrize(("colour", "size"), [((255, 255, 255), 15), ((3, 200, 77), 17)])
@pytest.mark.parametrize("quality", [0, 50])
def test_flat_pictures_are_their_colour(codec, colour, size, quality):
    data = codec.compress(flat(colour), quality)
    assert len(data) == size and read(data).header.kind is Kind.FLAT
    assert np.array_equal(np.asarray(codec.decompress(data)), flat(colour))
    assert codec.check(data).verified


@pytest.mark.parametrize("size", [40, 300])
def test_flat_pictures_of_a_size(codec, size):
    encoded = codec.encode(flat((3, 200, 77)), size=size)
    data = encoded.data
    assert encoded.notes == (f"{len(data)} bytes, not {size}: a picture of one colour takes no more",)
    assert len(data) <= 12 and read(data).intact is (True if size >= 100 else None)
    assert np.array_equal(np.asarray(codec.decompress(data)), flat((3, 200, 77)))
    with pytest.raises(BadArgument, match="no room"):
        codec.compress(flat((3, 200, 77)), size=7)


def test_alpha_of_a_flat_picture(codec):
    alpha = np.arange(37 * 53, dtype=np.uint8).reshape(37, 53)
    picture = np.asarray(codec.decompress(codec.compress(np.dstack([flat((1, 2, 3)), alpha]))))
    assert np.array_equal(picture[..., 3], alpha) and np.array_equal(picture[..., :3], flat((1, 2, 3)))


def test_a_cut_flat_file(codec):
    data = codec.compress(flat((3, 200, 77)))
    for end in range(len(data) - 7, len(data)):
        received = codec.receive(data[:end])
        there = end >= len(data) - 4
        pixel = codec.render(received).image.getpixel((0, 0))
        assert pixel == ((3, 200, 77) if there else (128, 128, 128)) and "cut" in received.notes[0]
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DamagedFile, UnsupportedFile)):
            codec.check(bytes(damaged))


def test_a_bare_flat_file_cut_before_its_colour_is_grey_and_says_so(codec):
    data = codec.compress(flat((3, 200, 77)), size=40)
    for missing in (1, 3):
        rendered = codec.render(received := codec.receive(data[:-missing]), invented=True)
        assert np.array_equal(np.asarray(rendered.image), flat((128, 128, 128)))
        assert not received.complete and any("colour is not there" in note for note in rendered.notes)
        assert (rendered.invented == 1).all()
    assert np.array_equal(np.asarray(codec.decompress(data[:-2])), flat((3, 3, 3)))  # as a grey picture's file
    with pytest.raises(DamagedFile, match="longer than"):
        codec.decompress(data + b"x")


def test_a_bare_flat_file_comes_byte_by_byte(codec):
    decoder, pictures = Decoder(codec), 0
    for byte in codec.compress(flat((3, 200, 77)), size=40):
        decoder.feed(bytes([byte]))
        pictures += decoder.image() is not None
    assert pictures == 4 and np.array_equal(np.asarray(decoder.image()), flat((3, 200, 77)))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"quality": 20}, {"size": 90}, {"size": 150}])
def test_grey_pictures_stay_grey(codec, options):
    y, x = np.mgrid[:40, :56]
    grey = (127 + 90 * np.sin(x / 5) * np.cos(y / 7)).astype(np.uint8)
    data = codec.compress(Image.fromarray(grey), **options)
    assert read(data).header.kind is Kind.GREY
    picture = np.asarray(codec.decompress(data)).astype(int)
    assert np.array_equal(picture[..., 0], picture[..., 1]) and np.array_equal(picture[..., 1], picture[..., 2])
    assert np.abs(picture[..., 0] - grey).mean() < 20


@pytest.mark.slow
def test_metadata_travels_with_the_file(codec, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    y, x = np.mgrid[:20, :30]
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.stack([8 * x, 9 * y, x + y], -1).astype(np.uint8)).save(path, exif=exif, xmp=b"<x/>")
    plain, kept = codec.encode(path, 20), codec.encode(path, 20, keep_metadata=True)
    assert plain.notes == ("EXIF and XMP metadata dropped",) and kept.notes == ()
    image = codec.decompress(kept.data)
    found = Image.Exif()
    found.load(image.info["exif"])
    assert found[0x010F] == "a maker" and image.info["xmp"] == b"<x/>"
    assert np.array_equal(np.asarray(image), np.asarray(codec.decompress(plain.data)))
    sized = codec.encode(path, size=60, keep_metadata=True)
    assert "dropped" in sized.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(37, 53), (17, 31)])
def test_pictures_are_cut_at_their_lower_right_corner(codec, height, width):
    """Sides that are no multiples of 16: what is added before coding goes away where it was added."""
    y, x = np.mgrid[:height, :width]
    photo = np.stack([3 * x, 255 - 4 * y, 2 * (x + y)], -1).clip(0, 255).astype(np.uint8)
    picture = np.asarray(codec.decompress(codec.compress(photo, 90))).astype(int)
    for corner in (np.s_[:6, :6], np.s_[:6, -6:], np.s_[-6:, :6], np.s_[-6:, -6:]):
        assert np.abs(picture[corner] - photo[corner]).mean() < 6

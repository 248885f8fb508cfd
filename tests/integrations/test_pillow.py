import copy
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

import pqmim
import pqmim.pillow
from pqmim.bitstream.container import Tag, write
from pqmim.bitstream.header import Header
from pqmim.errors import DamagedFile
from pqmim.image.alpha import encode_alpha
from pqmim.results import Encoded, Rendered

FILE = write(Header(24, 16, 50, 1), b"abc", {}, b"abc")


class FakeCodec:
    """Its pictures are red; a payload of zeros is damaged."""

    def __init__(self):
        self.encoded, self.decoded = [], 0

    def receive(self, data):
        if data == write(Header(24, 16, 50, 1), bytes(3), {}, b"abc"):
            raise DamagedFile("the file is damaged")
        return pqmim.bitstream.container.read(data)

    def render(self, container):
        self.decoded += 1
        size = (container.header.width, container.header.height)
        mode = "RGBA" if Tag.ALPHA in container.chunks else "RGB"
        return Rendered(Image.new(mode, size, (255, 0, 0)), None, ("a note",))

    def encode(self, image, **options):
        self.encoded.append((image.mode, options))
        return Encoded(write(Header(*image.size, options.get("quality", 50), 1), b"abc", {}, b"abc"), *image.size, 50)


@pytest.fixture
def codec(monkeypatch):
    codec = FakeCodec()
    monkeypatch.setattr(pqmim, "shared_codec", lambda: codec)
    return codec


def opened(data=FILE):
    return Image.open(io.BytesIO(data))


def test_opening_decodes_nothing(codec):
    image = opened()
    assert (image.format, image.size, image.mode) == ("PQM", (24, 16), "RGB")
    assert image.info["quality"] == 50 and codec.decoded == 0
    assert image.getpixel((3, 3)) == (255, 0, 0) and image.info["notes"] == ["a note"]
    image.load()
    assert codec.decoded == 1


def test_opening_imports_no_torch(tmp_path):
    (tmp_path / "a.pqm").write_bytes(FILE)
    code = "import sys, pqmim.pillow; from PIL import Image; print(Image.open('a.pqm').size, 'torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout == "(24, 16) False\n"


def test_alpha_is_known_before_decoding(codec):
    alpha = np.zeros((16, 24), np.uint8)
    image = opened(write(Header(24, 16, 50, 1), b"abc", {Tag.ALPHA: encode_alpha(alpha)}, b"abc"))
    assert image.mode == "RGBA"
    image.load()
    assert image.mode == "RGBA"


def test_kept_metadata_is_there_before_and_after_decoding(codec):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a maker"
    chunks = {Tag.EXIF: exif.tobytes().removeprefix(b"Exif\0\0"), Tag.ICC: b"a profile", Tag.XMP: b"<x/>"}
    image = opened(write(Header(24, 16, 50, 1), b"abc", chunks, b"abc"))
    assert image.getexif()[ExifTags.Base.Make] == "a maker" and codec.decoded == 0
    image.load()
    assert image.getexif()[ExifTags.Base.Make] == "a maker"
    assert (image.info["icc_profile"], image.info["xmp"]) == (b"a profile", b"<x/>")
    assert not {"exif", "icc_profile", "xmp"} & set(opened().info)


def test_what_applications_do_with_images(codec, tmp_path):
    (tmp_path / "photo.pqm").write_bytes(FILE)
    with Image.open(tmp_path / "photo.pqm") as image:
        assert image.resize((8, 8)).getpixel((0, 0)) == (255, 0, 0)
    with Image.open(tmp_path / "photo.pqm") as image:
        image.thumbnail((10, 10))
        assert image.size == (10, 7)
    (tmp_path / "photo.png").write_bytes(FILE)  # a wrong name
    with Image.open(tmp_path / "photo.png") as image:
        image.verify()
        assert image.format == "PQM"
    parser = ImageFile.Parser()
    parser.feed(FILE[:5])
    parser.feed(FILE[5:])
    assert parser.close().size == (24, 16)
    for twin in (copy.copy(opened()), opened().copy(), pickle.loads(pickle.dumps(opened()))):
        assert twin.getpixel((0, 0)) == (255, 0, 0)


def test_save_passes_its_options_on(codec, tmp_path):
    image = Image.new("L", (24, 16))
    image.save(tmp_path / "a.pqm", quality=30, effort=0, optimize=True)
    image.save(tmp_path / "b.pqm", size=200)
    assert codec.encoded == [("L", {"quality": 30, "effort": 0}), ("L", {"size": 200})]
    assert pqmim.info(tmp_path / "a.pqm")["quality"] == 30


def test_errors_are_those_of_pillow(codec):
    with pytest.raises(OSError, match="the file is damaged"):
        opened(write(Header(24, 16, 50, 1), bytes(3), {}, b"abc")).load()
    for other in (b"\xd1", b"\xd0\x11", b"", b"text", bytes(64)):
        with pytest.raises(Image.UnidentifiedImageError):
            opened(other)


def test_registering_twice_changes_nothing(codec):
    before = list(Image.ID)
    pqmim.pillow.register()
    assert before == Image.ID and Image.ID.count("PQM") == 1
    assert Image.registered_extensions()[".pqm"] == "PQM" and Image.MIME["PQM"] == "image/x-pqm"

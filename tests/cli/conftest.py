"""A codec without weights, and the command line in this process."""

import io
import sys
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from pqmim.bitstream.container import read, write
from pqmim.bitstream.header import Header
from pqmim.cli import main
from pqmim.image.picture import read_picture


class FakeCodec:
    """Keeps a picture's size, mean colour and quality in a real container; its payload is its codes."""

    opened: ClassVar[list[dict]] = []

    def __init__(self, weights=None, *, device="cpu", threads=None):
        self.opened.append({"weights": weights, "device": device, "threads": threads})
        self.notes = []

    def compress(self, image, quality=50, *, size=None):
        picture = read_picture(image)
        self.notes = picture.notes
        height, width = picture.rgb.shape[:2]
        if size is not None:
            header = Header(width, height, 0, weights=0x3AB, framed=False)
            return write(header, bytes(size - len(header.pack())), {}, b"")
        codes = bytes(np.rint(picture.rgb.mean((0, 1))).astype(np.uint8))
        return write(Header(width, height, quality, weights=0x3AB), codes, {}, codes)

    def decompress(self, data):
        container = read(data)
        size = (container.header.width, container.header.height)
        return Image.new("RGB", size, tuple(self.codes(data).ravel().tolist()))

    def codes(self, data):
        container = read(data)
        container.verify(container.payload)
        return np.frombuffer(container.payload, np.uint8).reshape(3, 1, 1)


@pytest.fixture(autouse=True)
def codec(monkeypatch):
    """The fake stands in for the real codec wherever a verb imports it."""
    module = types.ModuleType("pqmim.codec")
    module.Codec = FakeCodec
    monkeypatch.setitem(sys.modules, "pqmim.codec", module)
    monkeypatch.setattr(FakeCodec, "opened", [])
    return FakeCodec


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photo(here) -> Path:
    path = here / "photo.png"
    Image.new("RGB", (24, 16), (200, 100, 50)).save(path)
    return path


@pytest.fixture
def run(capsysbinary, monkeypatch):
    """Runs a command: `run("info", "a.pqm", stdin=b"")` gives its status, and its standard output and error."""

    def run(*argv, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main([str(word) for word in argv])
        out, err = capsysbinary.readouterr()
        return status, out, err.decode()

    return run

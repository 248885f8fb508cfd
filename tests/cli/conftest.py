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
    efforts: ClassVar[list[int]] = []  # of each picture compressed
    asked: ClassVar[list[dict]] = []  # options of each picture decoded or made

    def __init__(self, weights=None, *, device="cpu", threads=None):
        self.opened.append({"weights": weights, "device": device, "threads": threads})
        self.notes = []

    def compress(self, image, quality=50, *, size=None, bpp=None, effort=None):
        self.efforts.append(effort)
        picture = read_picture(image)
        self.notes = picture.notes
        height, width = picture.rgb.shape[:2]
        size = size if bpp is None else int(bpp * width * height / 8)
        if size is not None:
            header = Header(width, height, 0, weights=0x3AB, framed=False)
            if size <= len(header.pack()):
                raise ValueError(f"a file of {size} bytes has no room for more than its header")
            return write(header, bytes(size - len(header.pack())), {}, b"")
        codes = bytes(np.rint(picture.rgb.mean((0, 1))).astype(np.uint8))
        return write(Header(width, height, quality, weights=0x3AB), codes, {}, codes)

    def decompress(self, data, *, partial=False, **options):
        container = read(data)
        self.asked.append({"partial": partial, **options})
        size = (container.header.width, container.header.height)
        if partial or not container.complete:
            return Image.new("RGB", size, (options["seed"], len(data) % 256, 0))
        return Image.new("RGB", size, tuple(self.codes(data).ravel().tolist()))

    def generate(self, width, height, **options):
        self.asked.append(options)
        return Image.new("RGB", (width, height), (options["seed"], options["quality"], 0))

    def repaint(self, data, mask, **options):
        header = read(data).header
        self.asked.append({"masked": int(mask.sum()), **options})
        return Image.new("RGB", (header.width, header.height), (options["seed"], 0, 0))

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
    monkeypatch.setattr(FakeCodec, "efforts", [])
    monkeypatch.setattr(FakeCodec, "asked", [])
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

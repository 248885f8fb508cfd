"""A codec without weights, and the command line in this process."""

import io
import sys
import types
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from pqmim.bitstream.container import read, write
from pqmim.bitstream.header import Header
from pqmim.cli import main
from pqmim.image.picture import read_picture
from pqmim.results import Encoded, Received, Rendered


class FakeCodec:
    """Keeps a picture's size, mean colour and quality in a real container; its payload is its codes."""

    opened: ClassVar[list[dict]] = []
    encoded: ClassVar[list[dict]] = []  # options of each picture compressed
    asked: ClassVar[list[dict]] = []  # options of each picture received, rendered or made

    def __init__(self, weights=None, *, device="cpu", threads=None):
        self.opened.append({"weights": weights, "device": device, "threads": threads})
        self.release = SimpleNamespace(id=0x3AB, digest="0" * 64)

    def encode(self, image, quality=50, *, size=None, bpp=None, **options):
        self.encoded.append(options)
        picture = read_picture(image)
        height, width = picture.rgb.shape[:2]
        size = size if bpp is None else int(bpp * width * height / 8)
        notes = tuple(picture.notes)
        if size is None:
            codes = bytes(np.rint(picture.rgb.mean((0, 1))).astype(np.uint8))
            data = write(Header(width, height, quality, weights=0x3AB), codes, {}, codes)
            return Encoded(data, width, height, quality, notes=notes)
        header = Header(width, height, 0, weights=0x3AB, framed=False)
        if size <= len(header.pack()):
            raise ValueError(f"a file of {size} bytes has no room for more than its header")
        data = write(header, bytes(min(size, 1000) - len(header.pack())), {}, b"")
        return Encoded(data, width, height, 0, notes=notes)

    def receive(self, data, *, partial=False, **options):
        container = read(data, partial=partial)
        self.asked.append({"partial": partial, **options})
        if container.complete and not partial:
            container.verify(container.payload)
        codes = np.frombuffer(container.payload[:3].ljust(3, b"\0"), np.uint8)[:, None]
        kept = Received(container.header, codes, codes > -1, 3, {0: data}, container.complete, tuple(self.notes(data)))
        positions = kept.shape[0] * kept.shape[1]
        return replace(kept, codes=codes.repeat(positions, 1), known=kept.known.repeat(positions, 1))

    has_looks = False

    def has_look(self, received):
        return self.has_looks

    def render(self, received, *, seed=0, invented=False, **options):
        self.asked.append({"seed": seed, **options})
        size = (received.header.width, received.header.height)
        length = len(received.chunks[0])
        colour = (
            tuple(received.codes[:, 0].tolist())
            if received.verified and options.get("complete") != "sample"
            else (seed % 256, length % 256, 0)
        )
        share = np.full(size[::-1], 0.5, np.float32) if invented else None
        return Rendered(Image.new("RGB", size, colour), share, received.notes)

    def notes(self, data):
        return ()

    def compress(self, image, quality=50, **options):
        return self.encode(image, quality, **options).data

    def decompress(self, data, **options):
        return self.render(self.receive(data), **options).image

    def generate(self, width, height, **options):
        self.asked.append(options)
        return Image.new("RGB", (width, height), (options["seed"], options["quality"], 0))

    def repaint(self, data, mask, **options):
        header = read(data).header
        self.asked.append({"masked": int(mask.sum()), **options})
        return Image.new("RGB", (header.width, header.height), (options["seed"], 0, 0))


class FakeDecoder:
    """Shows what the fake codec makes of the bytes so far."""

    def __init__(self, codec, **options):
        self._codec, self._options, self._data = codec, options, b""

    @property
    def size(self):
        return len(self._data)

    def feed(self, data):
        self._data += data

    def image(self):
        return self._codec.decompress(self._data, **self._options)


@pytest.fixture(autouse=True)
def codec(monkeypatch):
    """The fake stands in for the real codec wherever a verb imports it."""
    module = types.ModuleType("pqmim.codec")
    module.Codec = FakeCodec
    monkeypatch.setitem(sys.modules, "pqmim.codec", module)
    monkeypatch.setattr("pqmim.decoder.Decoder", FakeDecoder)
    monkeypatch.setattr("pqmim.cli.compress.digests", lambda weights, look: {"weights": str(weights), "look": look})
    monkeypatch.setattr(FakeCodec, "opened", [])
    monkeypatch.setattr(FakeCodec, "encoded", [])
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

"""A decoder that takes bytes as they come, and goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pqmim.bitstream.container import Container, read
from pqmim.bitstream.header import Kind
from pqmim.errors import TooShort

if TYPE_CHECKING:
    from PIL import Image

    from pqmim.codec import Codec
    from pqmim.coding.grid import Grid
    from pqmim.coding.loop import Turn
    from pqmim.engine import Engine
    from pqmim.results import Received


class Decoder:
    """The picture of a .pqm file while it arrives.

        decoder = pqmim.Decoder()
        for packet in link:
            decoder.feed(packet)
            if (image := decoder.image()) is not None:
                image.save("so_far.png")

    Codes that were decoded are not decoded again when more bytes come.

    Args:
        codec: what decodes; that of the process by default.
        partial: go on where the check of a whole file fails, and say so in the notes.
        max_pixels: the most that the picture may have; None: see `dial.most_pixels`, of the bytes so far. A picture of
            more than 16.8 megapixels needs it to be shown from its first bytes on.
        options: of `Codec.render`, for every picture.

    Attributes:
        notes: what was still missing at the last picture, one line each.
    """

    def __init__(
        self, codec: Codec | None = None, *, partial: bool = False, max_pixels: int | None = None, **options: Any
    ) -> None:
        if codec is None:
            from pqmim import shared_codec

            codec = shared_codec()
        self.codec, self.options = codec, options
        self.notes: tuple[str, ...] = ()
        self._partial, self._max_pixels = partial, max_pixels
        self._data = bytearray()
        self._progress: _Progress | None = None
        self._shown: tuple[int, Image.Image] | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._data += data

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    @property
    def complete(self) -> bool:
        """Whether the file is whole. A bare one does not say where it ends: never.  Raises as `received` does."""
        container = self._container()
        return container is not None and container.complete

    def received(self) -> Received | None:
        """What the bytes so far determine, which later bytes do not change; None while the header is not there.

        Raises:
            DamagedFile: the file breaks the format, or it is whole and its check fails.
            UnsupportedFile: it is of another kind, or needs weights that are not here.
            InvalidImage: the picture is too large.
        """
        from pqmim.reception import admit

        container = self._container()
        if container is None:
            return None
        admit(container, len(self._data), self._max_pixels)
        if not self._partial and container.complete:
            container.require_intact()
        if self._progress is None:
            self._progress = _Progress(self.codec, container)
        try:
            grid = self._progress.decoded(container)
        except BaseException:
            self._progress = None  # it may have stopped anywhere: the next call starts anew
            raise
        found = self.codec.received(container, grid, len(self._data), self._partial)
        return replace(found, codes=found.codes.copy(), known=found.known.copy())

    def image(self) -> Image.Image | None:
        """What the bytes so far determine, completed by the model; None while the header is not there.

        The image is the caller's to change.

        Raises:
            PqmimError: as `received` and `Codec.render` do.
        """
        if self._shown is None or self._shown[0] != len(self._data):
            received = self.received()
            if received is None:
                return None
            rendered = self.codec.render(received, **self.options)
            self._shown, self.notes = (len(self._data), rendered.image), rendered.notes
        return self._shown[1].copy()

    def _container(self) -> Container | None:
        try:
            return read(bytes(self._data), partial=self._partial)
        except TooShort:
            return None


class _Progress:
    """A grid that fills as bytes come."""

    def __init__(self, codec: Codec, container: Container) -> None:
        from pqmim.coding.range_coder import RangeDecoder

        self._codec, self._grid = codec, codec.empty_grid(container.header)
        self._taken = 0
        self._decoder = RangeDecoder(b"")
        self._stops: Iterator[Turn] | None = None  # of the codes as they are decoded

    def decoded(self, container: Container) -> Grid:
        """The grid with all that the payload so far determines."""
        new = container.payload[self._taken :]
        if container.header.kind == Kind.FLAT or not new:
            return self._grid
        self._taken += len(new)
        engine = self._codec.engine_of(container)
        with engine.shielded():
            if self._stops is None:  # nothing large is made for what a header claims alone
                self._stops = self._begun(engine, container.header.quality)
            self._decoder.feed(new)
            next(self._stops, None)
        return self._grid

    def _begun(self, engine: Engine, quality: int) -> Iterator[Turn]:
        from pqmim.coding.loop import decoding, turns

        context = engine.reception.prior.context(self._grid.height, self._grid.width, quality)
        return decoding(self._grid, context, turns(engine.release.record.groups, self._grid), self._decoder)


def lengths(data: bytes, count: int) -> list[int]:
    """Bytes after which to look: all at last, and each time before about half as many from the first code on.

    Raises:
        PqmimError: the bytes are no .pqm file, or end inside its header.
    """
    start = _before_codes(data)
    return sorted({start + max(1, (len(data) - start) >> back) for back in range(count)})


def _before_codes(data: bytes) -> int:
    """Bytes before the first code of a file."""
    size = read(data).header_size
    while True:
        try:
            read(data[:size])
            return size
        except TooShort:
            size += 1


def frames(codec: Codec, data: bytes, count: int, **options: Any) -> Iterator[tuple[int, Image.Image]]:
    """Lengths, and the pictures that they give.

    Args:
        codec: what decodes.
        data: a whole file.
        count: pictures at most.
        options: of `Decoder`.

    Raises:
        PqmimError: as `Decoder.image` does.
    """
    decoder = Decoder(codec, **options)
    for length in lengths(data, count):
        decoder.feed(data[decoder.size : length])
        image = decoder.image()
        if image is not None:
            yield length, image

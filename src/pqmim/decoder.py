"""A decoder that takes bytes as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pqmim.bitstream.container import read

if TYPE_CHECKING:
    from PIL import Image

    from pqmim.codec import Codec


class Decoder:
    """The picture of a ``.pqm`` file while it arrives.

        decoder = pqmim.Decoder()
        for packet in link:
            decoder.feed(packet)
            decoder.image().save("so_far.png")

    ``codec`` is that of the process by default; further options are those of ``Codec.decompress``.  ``notes`` tells
    what was still missing at the last image.
    """

    def __init__(self, codec: Codec | None = None, **options: Any):
        if codec is None:
            from pqmim import _shared_codec

            codec = _shared_codec()
        self.codec, self.options = codec, options
        self.notes: list[str] = []
        self._data = b""
        self._shown: tuple[int, Image.Image] | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._data += data

    @property
    def complete(self) -> bool:
        """Whether the file is whole.  A bare one does not say where it ends: never.  Raises as ``image`` does."""
        return read(self._data).complete

    def image(self) -> Image.Image:
        """What the bytes so far determine, completed by the model; takes as long as decoding so much of a file.

        Raises ``DamagedFile`` until the header is there, and as ``Codec.decompress`` does.
        """
        if self._shown is None or self._shown[0] != len(self._data):
            self._shown = len(self._data), self.codec.decompress(self._data, **self.options)
            self.notes = list(self.codec.notes)
        return self._shown[1]

"""Pictures to files: at a quality, at a size, or as good as a target asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pqmim import dial
from pqmim.bitstream.container import CHECKED_FROM, Tag, overhead, write
from pqmim.bitstream.header import Header, Kind
from pqmim.coding.grid import Grid
from pqmim.engine import Engine
from pqmim.errors import BadArgument
from pqmim.image.alpha import encode_alpha
from pqmim.image.picture import Picture
from pqmim.image.plain import is_grey, pack_colour
from pqmim.image.scale import shrink
from pqmim.rendering import finished
from pqmim.results import Encoded, Received

Pixels = NDArray[np.uint8]
Measure = Callable[[Pixels, Pixels], float]

METADATA = {Tag.EXIF: "exif", Tag.ICC: "icc", Tag.XMP: "xmp"}
"""Chunks, and the fields of `image.metadata.Metadata` that they hold."""

WHOLE = 1 << 40  # bytes that a decoder has of a file that it has whole: more than any takes


@dataclass(frozen=True, eq=False)
class Coded:
    """One way to code a picture.

    Attributes:
        header: of the framed file.
        payload: of the file.
        grid: the codes.
    """

    header: Header
    payload: bytes
    grid: Grid


class Sender:
    """Codes one picture, in as many ways as it takes.

    Args:
        engine: of the release.
        picture: what is coded.
        effort: steps that refine the choice of codes; None: by the number of pixels.
    """

    def __init__(self, engine: Engine, picture: Picture, effort: int | None) -> None:
        self._engine, self._picture = engine, picture
        self._effort = None if effort is None else int(effort)
        self._height, self._width = picture.rgb.shape[:2]
        self._kind = Kind.GREY if is_grey(picture.rgb) else Kind.COLOUR
        self._tried: dict[tuple[int, int], Coded] = {}

    def size_of(self, bpp: float) -> int:
        """Bytes that a number of bits a pixel, above 0, stands for."""
        return int(bpp * self._width * self._height / 8)

    def at_quality(self, quality: int) -> Encoded:
        """The file of a quality."""
        flat = self._flat()
        if flat:
            return flat
        coded = self._best(quality)
        encoded = self._framed(coded)
        if coded.header.quality < quality:
            note = f"coded at quality {coded.header.quality}: finer steps do not reach all of its colours"
            encoded = replace(encoded, notes=(*encoded.notes, note))
        return encoded

    def at_target(self, measure: Measure, target: float) -> Encoded:
        """The file of the lowest quality whose picture `measure` finds to be `target` or more."""
        flat = self._flat()
        if flat:
            return flat
        found: dict[int, float] = {}

        def reached(quality: int) -> float:
            found[quality] = measure(self._picture.rgb, self._shown(self._best(quality)))
            return found[quality]

        quality = dial.reach(reached, target)
        encoded = self._framed(self._best(quality))
        if found[quality] < target:
            encoded = replace(encoded, notes=(*encoded.notes, f"quality 100 reaches {found[quality]:.4g}, no more"))
        return encoded

    def at_size(self, size: int) -> Encoded:
        """A bare file of `size` bytes: of the first quality whose payload is too long, cut to what fits.

        It has fewer where there is nothing to fill them with; a note says so.

        Raises:
            BadArgument: there is no room for more than a header.
        """
        size = int(size)
        colour = pack_colour(self._picture.rgb)
        kind, weights = (self._kind, self._engine.release.id) if colour is None else (Kind.FLAT, 0)
        checked = size >= CHECKED_FROM
        empty = Header(self._width, self._height, 0, weights, framed=False, kind=kind, checked=checked)
        room = size - overhead(empty)
        if room < (1 if colour is None else len(colour)):
            raise BadArgument(f"a file of {size} bytes has no room for more than its header")
        notes = list(self._picture.notes)
        if self._chunks():
            what = "what goes beside the colours" if self._picture.metadata else "the transparency"
            notes.append(f"{what} was dropped: files of an exact size hold colours alone")
        if colour is not None:
            data = write(empty, colour, {}, b"")
            return self._encoded(data, empty, [*notes, *_unfilled(data, size, "a picture of one colour")])
        scale = sum(8 * room / (self._width * self._height) < most for most in dial.SCALES)
        coded_size = replace(empty, scale=scale).coded_size
        quality, payload = dial.fit(
            lambda quality: self._coded(quality, scale).payload, room, coded_size[0] * coded_size[1]
        )
        if self._beyond(quality, scale):
            quality = self._engine.reaching
            payload = self._coded(quality, scale).payload
        header = replace(empty, quality=quality, scale=scale)
        data = write(header, payload[:room], {}, b"")
        return self._encoded(data, header, [*notes, *_unfilled(data, size, f"quality {quality}")])

    def sent(self, received: Received) -> bool:
        """Whether the codes that were received of a file of this sender are those that it coded."""
        coded = self._tried.get((received.header.quality, received.header.scale))
        if coded is None:  # a flat picture, whose file has no codes
            return received.header.kind == Kind.FLAT
        return np.array_equal(received.codes[received.known], coded.grid.codes[received.known])

    def _flat(self) -> Encoded | None:
        """The file of a picture of one colour."""
        colour = pack_colour(self._picture.rgb)
        if colour is None:
            return None
        header = Header(self._width, self._height, 0, 0, kind=Kind.FLAT)
        return self._encoded(write(header, colour, self._chunks(), b""), header, self._picture.notes)

    def _framed(self, coded: Coded) -> Encoded:
        data = write(coded.header, coded.payload, self._chunks(), coded.grid.codes.tobytes())
        return self._encoded(data, coded.header, self._picture.notes)

    def _encoded(self, data: bytes, header: Header, notes: Sequence[str]) -> Encoded:
        trials, pixels = max(1, len(self._tried)), self._width * self._height
        if pixels > dial.most_pixels(len(data)):
            notes = [*notes, f"so many pixels in so few bytes are refused, unless decoding has --max-pixels {pixels}"]
        return Encoded(data, self._width, self._height, header.quality, header.scale, tuple(notes), trials)

    def _chunks(self) -> dict[int, bytes]:
        alpha, metadata = self._picture.alpha, self._picture.metadata
        chunks: dict[int, bytes] = {} if alpha is None else {Tag.ALPHA: encode_alpha(alpha)}
        return chunks | {tag: data for tag, name in METADATA.items() if (data := getattr(metadata, name))}

    def _best(self, quality: int) -> Coded:
        """The cheapest, in squared error and bits at the price of the quality, of the settings that stand for it."""
        coded = [self._coded(*setting) for setting in dial.settings(quality)]
        if self._beyond(quality, 0):
            coded.append(self._coded(self._engine.reaching, 0))
        if len(coded) == 1:
            return coded[0]
        return min(coded, key=lambda one: self._cost(one, self._engine.release.record.prices[quality]))

    def _beyond(self, quality: int, scale: int) -> bool:
        """Whether steps are so fine that what was meant lies beyond the codewords, as at edges between full colours."""
        return quality > self._engine.reaching and self._engine.at_ends(self._coded(quality, scale).grid)

    def _cost(self, coded: Coded, price: float) -> float:
        error = self._shown(coded).astype(np.float32) - self._picture.rgb
        return float(np.square(error).sum(dtype=np.float64)) + price * 8 * len(coded.payload)

    def _coded(self, quality: int, scale: int) -> Coded:
        if (quality, scale) not in self._tried:
            rgb = shrink(self._picture.rgb, scale)
            effort = dial.default_effort(rgb.shape[0] * rgb.shape[1]) if self._effort is None else self._effort
            grid, payload = self._engine.encode(rgb, quality, effort)
            header = Header(self._width, self._height, quality, self._engine.release.id, scale, kind=self._kind)
            self._tried[quality, scale] = Coded(header, payload, grid)
        return self._tried[quality, scale]

    def _shown(self, coded: Coded) -> Pixels:
        """What a decoder will show."""
        image = self._engine.picture(coded.grid, coded.header, WHOLE)
        return np.asarray(finished(image, coded.header))


def _unfilled(data: bytes, size: int, what: str) -> list[str]:
    """The note of a file that is smaller than the size that it may have."""
    return [f"{len(data):,} bytes, not {size:,}: {what} takes no more"] if len(data) < size else []

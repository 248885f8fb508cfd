"""Bytes to codes, over any form of the prior, without torch where the form needs none."""

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pqmim.bitstream.container import Container, Tag
from pqmim.bitstream.header import Header, Kind
from pqmim.coding.grid import Grid
from pqmim.coding.loop import context_of, decode, draw, expect, information, means, surest_first, turns
from pqmim.coding.prior import Prior
from pqmim.coding.range_coder import RangeDecoder
from pqmim.coding.sampler import Sampler
from pqmim.dial import most_pixels
from pqmim.errors import BadArgument, DamagedFile, MissingPackage, PqmimError, WeightsError
from pqmim.image.alpha import decode_alpha
from pqmim.image.limits import check_size
from pqmim.release import Release
from pqmim.rendering import Codewords, Sketch
from pqmim.results import STRIDE, Received
from pqmim.threads import usable

Form = Literal["auto", "compiled", "torch", "numpy"]
FORMS: tuple[Form, ...] = ("compiled", "torch")  # in the order in which they are tried

LEAST_BITS = 0.005
"""Bits: less than a symbol takes whose frequency is the largest possible, 65281 of 65536: 0.0056 bits."""

FREE_POSITIONS, POSITIONS_PER_BYTE = 4096, 4
"""How many positions of 16 x 16 pixels are completed by their neighbours: 1 megapixel, and 1024 pixels a byte."""

WHOLE_POSITIONS, WHOLE_PER_BYTE = 1536, 3
"""How many positions, or how many a byte, are rendered at their own size, though most of them have no code."""

FEW = 1 / 16
"""Share of the codes under which a large picture is sketched at a quarter of its size."""


ALONE = 16
"""Positions on each side of an empty grid, in whose middle the prior is asked what it expects where nothing is known.

The grid is two attention windows wide, so that the middle lies away from the picture's edges.
"""


def prior_of(release: Release, form: Form = "auto", device: str = "cpu", threads: int | None = None) -> Prior:
    """The release's prior in one of its forms, which all give the same integers.

    Args:
        release: whose prior it is.
        form: `compiled` (C), `torch` or `numpy`. `auto` is compiled where the library is there, or else torch where the
            process has loaded it already, or else NumPy: loading torch takes longer than it saves on a photo.
        device: where the torch form runs; another one than the CPU means that form.
        threads: the most that the compiled form uses for one picture; None: as many as `threads.usable` says.

    Raises:
        BadArgument: there is no such form.
        PqmimError: the tensors leave the bounds of the arithmetic, or the form that was asked for is not installed.
    """
    if form not in get_args(Form):
        raise BadArgument(f"prior: {form!r} is none of {', '.join(get_args(Form))}")
    if form == "auto":
        loaded = FORMS if "torch" in sys.modules else ("compiled",)
        for tried in loaded if device == "cpu" else ("torch",):
            try:
                return prior_of(release, tried, device, threads)
            except (ImportError, PqmimError):  # a prior that is wrong is so in the last form, too
                continue
        form = "numpy" if device == "cpu" else "torch"
    tensors = release.part("prior")
    try:
        if form == "compiled":
            from pqmim.models.prior.compiled import CompiledPrior

            return CompiledPrior(tensors, usable(threads))
        if form == "numpy":
            from pqmim.models.prior.numpy import NumpyPrior

            return NumpyPrior(tensors)
        try:
            from pqmim.models.prior.integer import IntegerPrior
        except ImportError as error:
            raise MissingPackage("the form torch needs PyTorch: pip install torch") from error
        return IntegerPrior(tensors, device)
    except (ValueError, KeyError) as error:
        raise WeightsError(f"the prior leaves its arithmetic: {error}", release.name) from error


class Reception:
    """Codes of files that one release's prior describes.

    Args:
        release: whose record says what is coded, and in which order.
        prior: one form of its prior.
    """

    def __init__(self, release: Release, prior: Prior) -> None:
        self.release, self.prior = release, prior

    def grid(self, header: Header) -> Grid:
        """An empty grid for a file's codes."""
        width, height = header.coded_size
        record = self.release.record
        return Grid(len(record.dimensions), -(-height // STRIDE), -(-width // STRIDE), record.active[header.quality])

    def known(self, header: Header, codes: NDArray[np.uint8], known: NDArray[np.bool_]) -> Grid:
        """A grid that knows `codes` (M, h * w) where they are `known`."""
        grid = self.grid(header)
        grid.codes[:], grid.known[:] = codes, known
        return grid

    def decode(self, container: Container) -> Grid:
        """What the bytes of a file determine.

        Raises:
            DamagedFile: a whole file whose header claims more codes than its bytes can hold.
        """
        grid = self.grid(container.header)
        symbols = grid.active * grid.height * grid.width
        if container.complete and 8 * len(container.payload) + 16 < LEAST_BITS * symbols:
            raise DamagedFile("the file is damaged: its header claims more pixels than its bytes can hold")
        if not container.payload:  # no byte, no code: nothing is made for what the header claims
            return grid
        context = self.prior.context(grid.height, grid.width, container.header.quality)
        decode(grid, context, turns(self.release.record.groups, grid), RangeDecoder(container.payload))
        return grid

    def draw(self, grid: Grid, quality: int, sampler: Sampler, steps: int | None = None) -> None:
        """Draw all codes that are not known: in an order made for it, or the surest first in `steps` a group."""
        context, groups = context_of(self.prior, grid, quality), self.release.record.groups
        if steps is None:
            draw(grid, context, sampler)
        else:
            surest_first(grid, context, groups, sampler, steps)

    def codewords(
        self, grid: Grid, quality: int, spent: int, completed: bool = True, uniform: bool = True
    ) -> Codewords | Sketch:
        """Codewords of a grid.

        Args:
            grid: codes, of which some may be unknown.
            quality: of the file.
            spent: bytes at hand, which bound what is spent on unknown codes. Many positions without a code make a sketch
                at half the size. Beyond a further bound few codes make one at a quarter, and where they are not few,
                unknown ones are what the prior expects where nothing is known.
            completed: an unknown code is what the prior expects; otherwise codeword 0.
            uniform: equal codes are rendered once; where they are not, a picture without any is a sketch, too.
        """
        if grid.complete or not completed:
            return Codewords(grid, self._words)
        positions = grid.height * grid.width
        nothing = self._nothing(grid.active, quality)
        if positions > FREE_POSITIONS + POSITIONS_PER_BYTE * spent:
            if grid.share < FEW and (grid.share > 0 or not uniform):
                return Sketch.of(grid, self._words, nothing)
            return Codewords(grid, self._words, nothing[None])
        context = context_of(self.prior, grid, quality)
        vectors = expect(grid, self._words, context, self._telling(grid), nothing)
        sparse = 2 * np.count_nonzero(grid.known[0]) <= positions  # codes at every other position, or at fewer
        if sparse and positions > max(WHOLE_POSITIONS, WHOLE_PER_BYTE * spent):
            return Sketch.halved(vectors.reshape(grid.height, grid.width, -1))
        return Codewords(grid, self._words, vectors)

    def _telling(self, grid: Grid) -> int:
        """The sub-quantizer up to which the prior has something to say of unknown codes.

        What is known tells of the group that is not whole, and of the next. Of finer ones the prior knows no more than
        where nothing is known: the pictures are as good or better, and most of the frequencies are spared.
        """
        missing = int(np.flatnonzero(~grid.known[: grid.active].all(1))[0])
        return [group.stop for group in self.release.record.groups if group.stop > missing][:2][-1]

    def _nothing(self, active: int, quality: int) -> NDArray[np.float32]:
        """The codewords (C,) that the prior expects where nothing is known."""
        middle = np.array([ALONE // 2 * (ALONE + 1)])
        found = [word[0] for word in self._words]
        for m, _, mean in means(self._words, self.prior.context(ALONE, ALONE, quality), range(active), middle):
            found[m] = mean[0]
        return np.concatenate(found)

    def information(self, header: Header, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Ideal bits (M,) of codes (M, h * w), by sub-quantizer."""
        grid = self.grid(header)
        context = self.prior.context(grid.height, grid.width, header.quality)
        return information(grid, context, turns(self.release.record.groups, grid), codes)

    @cached_property
    def _words(self) -> Sequence[NDArray[np.float32]]:
        """Codewords (K, d) of each sub-quantizer."""
        codebook = np.asarray(self.release.tensors["quantizer.codebook"], np.float32)
        return [np.ascontiguousarray(codebook[m, :, :d]) for m, d in enumerate(self.release.record.dimensions)]


def admit(container: Container, size: int, max_pixels: int | None = None) -> None:
    """Raise `InvalidImage` where a file, of which `size` bytes are here, has more pixels than it may."""
    header, most = container.header, most_pixels(size) if max_pixels is None else max_pixels
    begun = max_pixels is None and header.framed and not container.complete  # a forged frame claims any length
    part = f" for the first {size:,} bytes of its file" if begun else ""
    check_size(header.width, header.height, None, most, part)


def found_in(container: Container, grid: Grid, size: int, partial: bool) -> Received:
    """What was found in a file, with notes of what was not.

    Args:
        container: the file as far as it is there.
        grid: the codes that it determines.
        size: bytes at hand.
        partial: take what there is of a whole file whose check fails.

    Raises:
        DamagedFile: the check of a whole file fails, or its bytes end before its codes.
    """
    header, codes = container.header, grid.codes.tobytes()
    whole = container.complete or container.intact is True
    verified = whole and container.verifies(codes)
    if container.complete and not partial:
        if not grid.complete:
            raise DamagedFile("the file is damaged: its bytes end before its codes do")
        container.verify(codes)
    colour = container.payload if header.kind == Kind.FLAT and _has_colour(container) else b""
    chunks, lost = _legible(container, partial)
    notes = (*_missing(container, grid, verified), *lost)
    return Received(header, grid.codes, grid.known, grid.active, chunks, verified, notes, size, colour)


def _has_colour(container: Container) -> bool:
    """Whether the colour of a flat picture is there. A bare file of 0 or 2 bytes of colour was cut."""
    size = container.payload_size
    return size == len(container.payload) if size is not None else len(container.payload) not in (0, 2)


def _legible(container: Container, partial: bool) -> tuple[dict[int, bytes], list[str]]:
    """Chunks that can be used, and what damage took of them; a damaged file is no error where this is asked."""
    chunks, lost, header = dict(container.chunks), [], container.header
    suspect = container.intact is False or (partial and container.intact is None)
    if suspect and Tag.ALPHA in chunks:
        try:
            decode_alpha(chunks[Tag.ALPHA], (header.height, header.width))
        except DamagedFile as error:
            del chunks[Tag.ALPHA]
            lost.append(error.message)
    if container.surplus:
        lost.append("there are bytes after the file's end, which are passed over")
    if container.broken:
        lost.append("the file is damaged among its chunks: alpha or metadata may be missing")
    return chunks, lost


def _missing(container: Container, grid: Grid, verified: bool) -> list[str]:
    """What was not found in a file."""
    framed = container.header.framed
    if container.header.kind == Kind.FLAT and not _has_colour(container):
        return ["the file is cut: its colour is not there"]
    if not framed and container.intact is False:
        return [f"the file is cut or damaged: its check fails; {grid.share:.1%} of its codes are there"]
    if not grid.complete:
        cause = "was made to a size" if not framed else "is damaged" if container.complete else "is cut"
        return [f"the file {cause}: {grid.share:.1%} of its codes are there"]
    if framed and not container.complete:
        return ["the file is cut after its codes: they are all there, but nothing verifies them"]
    if framed and not verified:
        return ["the file is damaged: its check fails, and the picture may be wrong from anywhere on"]
    return []

"""Codes to pixels.  Only codes must be exact; the forms of the synthesis agree within 1 of 255.

`NumpySynthesis` needs no torch. It pushes rows through the network as they come: each block keeps the two rows that
its 3x3 kernel still needs, so nothing is computed twice, and memory and cache hold a strip of a few rows only.
`TorchSynthesis` serves other devices.

Where many rows or columns of codes are equal, as in the part of a picture that never arrived, the rows and columns in
their middle are computed once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, tee
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pqmim.bitstream.header import Header, Kind
from pqmim.blocks import Floats, Noise, as_float, blend, blocks_of, prolonged, through
from pqmim.coding.grid import Grid
from pqmim.results import STRIDE

if TYPE_CHECKING:
    from torch import Tensor

    from pqmim.models.looks import VividSynthesis
    from pqmim.models.modules import Modules

Pixels = NDArray[np.uint8]

PATCH = 8  # pixels of a position at 1/8 resolution, on each side
HALO = 8  # positions beyond which nothing has an influence on a pixel, see `models.transforms`
SQUARE = 4  # positions of a sketch's square, on each side: the first codes of a file are two in each
POSITIONS = 512  # latent positions in a strip, at least one row: a strip's hidden layer takes 5 MB


class Synthesis(Protocol):
    """A form of the synthesis, with the scales of the quantizer."""

    @property
    def uniform(self) -> bool:
        """Whether equal codes give equal pixels everywhere; what draws noise by position does not."""
        ...

    def __call__(self, vectors: Iterator[Floats], rate: float) -> Iterator[Pixels]:
        """Strips of codewords (k, w, C) at a fractional rate to strips of pixels (16 j, 16 w, 3)."""
        ...


@dataclass(frozen=True, eq=False)
class Codewords:
    """The codewords of a grid, a few rows at a time.

    Attributes:
        grid: codes, of which some may be unknown.
        words: the codewords (K, d) of each sub-quantizer.
        expected: what stands for unknown codes: (h * w, C), or (1, C) for all positions, or None: codeword 0.
    """

    grid: Grid
    words: Sequence[Floats]
    expected: Floats | None = None

    def picture(self, synthesis: Synthesis, rate: float, size: tuple[int, int]) -> Image.Image:
        """The picture of a (width, height) that a synthesis makes at a fractional rate."""
        everywhere = synthesis.uniform and (self.expected is None or len(self.expected) == 1)
        rows, columns = (self._runs(axis) if everywhere else None for axis in (1, 2))
        strips = synthesis(self._strips(rows and rows[0], columns and columns[0]), rate)
        if columns:
            strips = (_widened(strip, columns[1]) for strip in strips)
        return _assembled(strips, rows and rows[1], size)

    def _strips(self, rows: NDArray[np.intp] | None, columns: NDArray[np.intp] | None) -> Iterator[Floats]:
        """Codewords (k, w, C) of the rows and columns that are computed."""
        places = np.arange(self.grid.height * self.grid.width).reshape(self.grid.height, -1)
        places = places if rows is None else places[rows]
        places = places if columns is None else places[:, columns]
        count = max(1, POSITIONS // places.shape[1])
        for top in range(0, len(places), count):
            part = places[top : top + count]
            yield self._at(part.ravel()).reshape(*part.shape, -1)

    def _at(self, positions: NDArray[np.intp]) -> Floats:
        vectors = np.concatenate([word[self.grid.codes[m, positions]] for m, word in enumerate(self.words)], 1)
        known = self.grid.known[:, positions]
        if self.expected is None or known[: self.grid.active].all():
            return vectors
        owner = np.repeat(np.arange(len(self.words)), [word.shape[1] for word in self.words])
        sent = known | (np.arange(len(known)) >= self.grid.active)[:, None]
        instead = self.expected if len(self.expected) == 1 else self.expected[positions]
        found: Floats = np.where(sent[owner].T, vectors, instead)
        return found

    def _runs(self, axis: int) -> tuple[NDArray[np.intp], NDArray[np.int64]] | None:
        """Rows (axis 1) or columns (axis 2) that are computed, and how often each is shown; None: all, once."""
        shape = -1, self.grid.height, self.grid.width
        length = shape[axis]
        if length <= 4 * HALO:
            return None
        changes = np.zeros(length - 1, bool)
        for plane in (self.grid.codes, self.grid.known):
            lines = np.moveaxis(plane.reshape(shape)[: self.grid.active], axis, 0)
            for start in range(0, length - 1, 64):  # some lines at a time, to bound memory
                part = lines[start : start + 65]
                changes[start : start + 64] |= (part[1:] != part[:-1]).any((1, 2))
        return _runs_of(changes)


@dataclass(frozen=True, eq=False)
class Sketch:
    """What few codes say of a large picture: its codewords at a fraction of its size.

    Attributes:
        vectors: (h / square, w / square, C) codewords, sides rounded up.
        square: positions on each side that share a codeword.
    """

    vectors: Floats
    square: int = SQUARE

    @classmethod
    def halved(cls, vectors: Floats) -> "Sketch":
        """The mean of codewords (h, w, C) in squares of two by two; those at odd edges are repeated."""
        even = np.pad(vectors, [(0, len(vectors) % 2), (0, vectors.shape[1] % 2), (0, 0)], "edge")
        mean = even[::2, ::2] + even[1::2, ::2]
        mean += even[::2, 1::2]
        mean += even[1::2, 1::2]
        return cls(mean / np.float32(4), 2)

    @classmethod
    def of(cls, grid: Grid, words: Sequence[Floats], nothing: Floats) -> "Sketch":
        """The mean of what is known in each square of positions; where nothing is, what (C,) is expected of nothing."""
        height, width = -(-grid.height // SQUARE), -(-grid.width // SQUARE)
        vectors, first = np.tile(nothing, (height * width, 1)), 0
        for m, word in enumerate(words):
            at = np.flatnonzero(grid.known[m])
            square = at // grid.width // SQUARE * width + at % grid.width // SQUARE
            count = np.bincount(square, minlength=height * width)
            for k, values in enumerate(word[grid.codes[m, at]].T):
                total = np.bincount(square, values, minlength=height * width)
                vectors[:, first + k] = np.where(count > 0, total / count.clip(1), vectors[:, first + k])
            first += word.shape[1]
        return cls(vectors.reshape(height, width, -1))

    def picture(self, synthesis: Synthesis, rate: float, size: tuple[int, int]) -> Image.Image:
        """See `Codewords.picture`."""
        runs = _runs_of((self.vectors[1:] != self.vectors[:-1]).any((1, 2))) if synthesis.uniform else None
        vectors = self.vectors[runs[0]] if runs else self.vectors
        rows = max(1, POSITIONS // vectors.shape[1])
        strips = synthesis((vectors[i : i + rows] for i in range(0, len(vectors), rows)), rate)
        image = _assembled(strips, runs and runs[1], (-(-size[0] // self.square), -(-size[1] // self.square)))
        return image.resize(size, Image.Resampling.BICUBIC)


def _runs_of(changes: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.int64]] | None:
    """Lines that are computed, and how often each is shown; None: all, once.

    Args:
        changes: (n - 1,) whether a line differs from the one before.
    """
    length = len(changes) + 1
    edges = np.array([0, *(np.flatnonzero(changes) + 1), length])
    kept: list[int] = []
    shown: list[int] = []
    for first, last in pairwise(edges.tolist()):
        middle = last - first - 2 * HALO
        if middle <= 1:
            kept += range(first, last)
            shown += [1] * (last - first)
        else:  # the runs of equal lines are framed by other lines, or by the picture's edges
            kept += [*range(first, first + HALO + 1), *range(last - HALO, last)]
            shown += [1] * HALO + [middle] + [1] * HALO
    return (np.array(kept), np.array(shown)) if len(kept) < length else None


def _widened(strip: Pixels, shown: NDArray[np.int64]) -> Pixels:
    """A strip of which columns of positions are `shown` so often."""
    blocks = strip.reshape(len(strip), -1, STRIDE, 3)
    return blocks.repeat(shown, 1).reshape(len(strip), -1, 3)


def _assembled(strips: Iterator[Pixels], shown: NDArray[np.int64] | None, size: tuple[int, int]) -> Image.Image:
    """A picture of strips, of which rows of positions are `shown` so often."""
    image, top = Image.new("RGB", size), 0
    repeats = None if shown is None else iter(shown.tolist())
    for strip in strips:
        for part in np.split(strip, len(strip) // STRIDE) if repeats else (strip,):
            band = Image.fromarray(part)
            for _ in range(next(repeats) if repeats else 1):
                image.paste(band, (0, top))
                top += band.height
    return image


class NumpySynthesis:
    """The synthesis in NumPy.

    Args:
        synthesis: tensors of the part of that name, see `release`; or those of a look, see `looks`.
        quantizer: tensors of that part, of which the order of channels and their steps are used.
        seed: of the noise of a look's fine blocks; None: no noise.
    """

    def __init__(
        self,
        synthesis: Mapping[str, NDArray[Any]],
        quantizer: Mapping[str, NDArray[Any]],
        seed: int | None = None,
    ) -> None:
        self.uniform = seed is None
        self._seed = seed
        self._noise_gain = None if seed is None else as_float(synthesis["noise_gain"])
        self._order = quantizer["order"]
        self._log_step = as_float(quantizer["log_step"])
        self._coarse, self._fine = (blocks_of(synthesis, name) for name in ("coarse", "fine"))
        split, head = as_float(synthesis["split"]), as_float(synthesis["head"])
        stem = len(split) // 4
        # A row of positions becomes two rows of twice as many: for each, a matrix (C, 2 * stem), channels last.
        merged = split.reshape(stem, 2, 2, -1).transpose(1, 3, 2, 0)  # (row, C, column, stem)
        self._split = [np.ascontiguousarray(matrix.reshape(matrix.shape[0], -1)) for matrix in merged]
        patch = head.reshape(3, PATCH, PATCH, -1).transpose(3, 1, 2, 0)  # (stem, row, column, colour)
        self._head = np.ascontiguousarray(patch.reshape(stem, -1))

    def __call__(self, vectors: Iterator[Floats], rate: float) -> Iterator[Pixels]:
        """See `Synthesis`."""
        for colours in self.colours(vectors, rate):
            yield pixels_of(colours)

    def colours(self, vectors: Iterator[Floats], rate: float) -> Iterator[Floats]:
        """Strips of codewords (k, w, C) to patches of 8 x 8 pixels (2 j, 2 w, 192) in 0..255, neither rounded nor cut."""
        level = level_of(rate)
        noise = None
        if self._seed is not None and self._noise_gain is not None:
            noise = Noise(self._seed, blend(self._noise_gain, level))
        waiting: Floats | None = None  # a first row at 1/8 resolution, whose second has not come
        for part in through(self._fine, level, self._doubled(vectors, level), noise):
            rows = part if waiting is None else np.concatenate([waiting, part])
            whole, waiting = rows[: len(rows) & ~1], rows[len(rows) & ~1 :]
            if len(whole):
                colours: Floats = whole @ self._head  # in the order of rows, columns, colours
                yield np.add(colours, np.float32(127.5), out=colours)

    def _doubled(self, vectors: Iterator[Floats], level: float) -> Iterator[Floats]:
        """Strips (2 k, 2 w, stem) at 1/8 resolution, after the coarse blocks."""
        for part in through(self._coarse, level, self._latents(vectors, level)):
            doubled = np.empty((len(part), 2, part.shape[1], self._split[0].shape[1]), np.float32)
            for row, matrix in enumerate(self._split):
                doubled[:, row] = part @ matrix
            yield doubled.reshape(2 * len(part), 2 * part.shape[1], -1)

    def _latents(self, vectors: Iterator[Floats], level: float) -> Iterator[Floats]:
        step = np.exp(prolonged(self._log_step, level))
        for part in vectors:
            z = np.empty_like(part)
            z[..., self._order] = part
            yield np.multiply(z, step, out=z)


class NumpyMixture:
    """A mixture of two syntheses in NumPy: a straight line in pixels.

    Args:
        first: what a share of 0 would be.
        second: what a share of 1 would be.
        share: of the second, between 0 and 1.
    """

    uniform = False

    def __init__(self, first: NumpySynthesis, second: NumpySynthesis, share: float) -> None:
        self._first, self._second, self._share = first, second, np.float32(share)

    def __call__(self, vectors: Iterator[Floats], rate: float) -> Iterator[Pixels]:
        """See `Synthesis`."""
        one, other = tee(vectors)
        for a, b in zip(self._first.colours(one, rate), self._second.colours(other, rate), strict=True):
            b -= a
            b *= self._share
            yield pixels_of(np.add(a, b, out=b))


def pixels_of(colours: Floats) -> Pixels:
    """Patches (k, w, 192) in the order of rows, columns, colours to pixels (8 k, 8 w, 3).  Overwrites the patches."""
    np.rint(colours, out=colours)
    np.clip(colours, 0, 255, out=colours)
    height, width = colours.shape[:2]
    patches: Pixels = colours.reshape(height, width, PATCH, -1).transpose(0, 2, 1, 3).astype(np.uint8)
    return patches.reshape(PATCH * height, PATCH * width, 3)


class TorchSynthesis:
    """The synthesis in torch, on any device.

    Args:
        modules: of the release.
        device: where they are.
        mixed: a look's synthesis, the share of it and the seed of its noise; None: the faithful picture.
    """

    def __init__(
        self, modules: "Modules", device: str, mixed: "tuple[VividSynthesis, float, int] | None" = None
    ) -> None:
        self._modules, self._device, self._mixed = modules, device, mixed
        self.uniform = mixed is None

    def __call__(self, vectors: Iterator[Floats], rate: float) -> Iterator[Pixels]:
        """See `Synthesis`."""
        import torch

        from pqmim.models.quantizer import level_of_rate

        whole = np.concatenate(list(vectors))
        level = level_of_rate(torch.tensor([rate], dtype=torch.float32, device=self._device))
        y = torch.from_numpy(whole.reshape(1, -1, whole.shape[-1])).to(self._device)
        z = self._modules.quantizer.restored(y, level, len(whole))
        for part in self._parts(z, level):
            yield part[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    def _parts(self, z: "Tensor", level: "Tensor") -> "Iterator[Tensor]":
        from pqmim.models.transforms import strips

        faithful = strips(self._modules.synthesis, z, level, 1, STRIDE)
        if self._mixed is None:
            yield from faithful
            return
        synthesis, share, seed = self._mixed
        for plain, drawn in zip(faithful, synthesis.drawn(z, level, seed), strict=True):
            yield plain.lerp(drawn, share)


def finished(image: Image.Image, header: Header) -> Image.Image:
    """The picture of a file, of its picture at the scale of coding: of full size, and grey where the file says so."""
    size = header.width, header.height
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    return image.convert("L").convert("RGB") if header.kind == Kind.GREY else image


def level_of(rate: float) -> float:
    """Fractional level at a fractional rate: see `models.quantizer.level_of_rate`."""
    return rate - 1

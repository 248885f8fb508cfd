"""The integer prior in C: the same frequencies as every other form, in a fraction of the time.

The library (`pqmim.native`) holds the packed weights and what is known of each picture. Which of its levels of
instructions is used is found out once: the fastest that this processor has and that reproduces a known digest.
"""

import ctypes
import os
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pqmim import native
from pqmim.coding.prior import UNIT, Codes, Integers, Positions
from pqmim.coding.range_coder import RangeDecoder
from pqmim.errors import PqmimError
from pqmim.models.prior import selftest, spec
from pqmim.native.loader import SIZES, VARIABLE, Library, Sizes, View

LINEAR = {"weight": np.int8, "bias": np.int32, "shift": np.int8}
MOST = Sizes(
    size=4096,
    codewords=256,
    widest=16,
    channels=8192,
    width=1024,
    heads=64,
    hidden=1024,
    rank=64,
    blocks=64,
    inputs=16384,
)  # sizes that the library has room for
LARGEST_PLANE = 1 << 26  # positions of a picture


class Unavailable(PqmimError, ImportError):
    """Raised where there is no library, or a prior does not fit it; says why."""


class CompiledPrior:
    """A `coding.prior.Prior` in C.

    Args:
        tensors: those of a release, as `export` makes them, in NumPy.
        threads: that share the work on one picture. They sleep while there is nothing to do.
        level: of instructions, by name; None: the fastest that passes its test.

    Raises:
        Unavailable: there is no library, no such level, or no room in it for tensors of these sizes.
        ValueError: a number could leave what carries it.
    """

    def __init__(self, tensors: spec.Tensors, threads: int = 1, level: str | None = None) -> None:
        self._library = found = _library()
        self.level = level or chosen_level()
        if self.level not in found.levels:
            raise Unavailable(f"the library has no level {self.level} for this processor")
        spec.check(tensors)
        self._sizes = sizes_of(tensors)
        self._tensors = _in_order(tensors, self._sizes.blocks)
        addresses = (ctypes.c_void_p * len(self._tensors))(*(array.ctypes.data for array in self._tensors))
        index = found.known.index(self.level)
        self._handle = found.functions.pq_prior_new(ctypes.byref(self._sizes), addresses, index, max(1, threads))
        if not self._handle:
            raise MemoryError("no memory for the prior")
        del self._tensors  # the library has its own
        self._first = np.concatenate([[0], np.cumsum(tensors["dimensions"], dtype=np.int64)])
        self.stride: int = found.functions.pq_stride(self._handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.functions.pq_prior_free(self._handle)

    @property
    def size(self) -> int:
        """See `coding.prior.Prior`."""
        return int(self._sizes.size)

    @property
    def codewords(self) -> int:
        """See `coding.prior.Prior`."""
        return int(self._sizes.codewords)

    @property
    def blocks(self) -> int:
        """See `coding.prior.Prior`."""
        return int(self._sizes.blocks)

    def context(self, height: int, width: int, quality: int) -> "CompiledContext":
        """See `coding.prior.Prior`."""
        return CompiledContext(self, height, width, quality)


class CompiledContext:
    """A `coding.prior.Context` whose embedding is kept from pass to pass; one thread at a time may use it."""

    def __init__(self, prior: CompiledPrior, height: int, width: int, quality: int) -> None:
        if min(height, width) < 1 or height * width > LARGEST_PLANE or not 0 <= quality <= 100:
            raise ValueError(f"no picture of {width} x {height} positions at quality {quality}")
        self.prior, self._count = prior, height * width
        self._functions = prior._library.functions
        self._handle = self._functions.pq_context_new(prior._handle, height, width, quality)
        if not self._handle:
            raise MemoryError(f"no memory for {width} x {height} positions")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._functions.pq_context_free(self._handle)

    def reveal(self, m: int, positions: Positions, codes: Codes) -> None:
        """See `coding.prior.Context`."""
        positions, codes = self._places(positions), np.ascontiguousarray(codes, np.uint8)
        if not 0 <= m < self.prior.size or codes.shape != positions.shape:
            raise ValueError(f"no codes {codes.shape} of sub-quantizer {m} at positions {positions.shape}")
        if codes.size and int(codes.max()) >= self.prior.codewords:
            raise ValueError(f"codes are below {self.prior.codewords}")
        self._functions.pq_reveal(self._handle, m, len(positions), positions.ctypes.data, codes.ctypes.data)

    def frequencies(
        self, coded: range, positions: Positions, blocks: int | None = None, temperature: int = UNIT
    ) -> Iterator[tuple[int, slice, "CompiledFrequencies"]]:
        """See `coding.prior.Context`; each sub-quantizer comes in one slice."""
        prior, positions = self.prior, self._places(positions)
        blocks = prior.blocks if blocks is None else blocks
        if not 0 <= blocks <= prior.blocks or temperature < 1:
            raise ValueError(f"no pass of {blocks} blocks at temperature {temperature}")
        if not len(coded) or not len(positions):
            return
        heads = _Heads(prior, coded, len(positions))
        self._functions.pq_heads(
            self._handle, blocks, len(positions), positions.ctypes.data, coded.start, coded.stop, *heads.addresses
        )
        for m in coded:
            yield m, slice(0, len(positions)), CompiledFrequencies(heads, m, temperature)

    def _places(self, positions: Positions) -> Positions:
        found: Positions = np.ascontiguousarray(positions, np.int64)
        if found.ndim != 1 or (found.size and not 0 <= int(found.min()) <= int(found.max()) < self._count):
            raise ValueError(f"positions are 0 to {self._count - 1}")
        return found


class _Heads:
    """What the heads say of sub-quantizers `coded` at `count` positions."""

    def __init__(self, prior: CompiledPrior, coded: range, count: int) -> None:
        if coded.step != 1 or not 0 <= coded.start < coded.stop <= prior.size:
            raise ValueError(f"no sub-quantizers {coded}")
        self.prior, self.coded, self.count = prior, coded, count
        self.rank = int(prior._sizes.rank)
        channels = int(prior._first[coded.stop] - prior._first[coded.start])
        self._mean = np.empty((count, channels), np.int32)
        self._beta = np.empty((count, channels), np.int32)
        self._free = np.empty((count, self.rank * len(coded)), np.int8)
        self.addresses = tuple(array.ctypes.data for array in (self._mean, self._beta, self._free))

    def view(self, m: int, temperature: int, start: int = 0) -> View:
        """Those of sub-quantizer `m`, from row `start` on."""
        channel = int(self.prior._first[m] - self.prior._first[self.coded.start])
        moments, frees = self._mean.shape[1], self._free.shape[1]
        mean, beta, free = self.addresses
        place = 4 * (start * moments + channel)
        return View(
            m=m,
            temperature=temperature,
            count=self.count - start,
            mean=mean + place,
            beta=beta + place,
            free=free + start * frees + (m - self.coded.start) * self.rank,
            moments=moments,
            frees=frees,
        )


class CompiledFrequencies:
    """`coding.prior.Frequencies` that are made when they are asked for, and straight into the decoder."""

    def __init__(self, heads: _Heads, m: int, temperature: int) -> None:
        self._heads, self._m, self._temperature = heads, m, temperature
        self._functions = heads.prior._library.functions
        self._made: tuple[NDArray[np.uint16], NDArray[np.uint32]] | None = None

    def __len__(self) -> int:
        return self._heads.count

    def intervals(self, codes: Codes) -> tuple[Integers, Integers]:
        """See `coding.prior.Frequencies`."""
        starts = np.empty(len(self), np.int32)
        return starts, self._sizes(codes, (len(self),), starts.ctypes.data)

    def sizes(self, codes: Codes) -> Integers:
        """See `coding.prior.Frequencies`."""
        return self._sizes(codes, (len(self), codes.shape[1]), None)

    def _sizes(self, codes: Codes, shape: tuple[int, ...], starts: int | None) -> Integers:
        codes = np.ascontiguousarray(codes, np.uint8)
        if codes.shape != shape or (codes.size and int(codes.max()) >= self._heads.prior.codewords):
            raise ValueError(f"codes {codes.shape} of {len(self)} positions, below {self._heads.prior.codewords}")
        masses, totals = self._masses()
        sizes = np.empty(shape, np.int32)
        self._functions.pq_intervals(
            self._heads.prior._handle,
            len(self),
            codes.size // max(1, len(self)),
            masses.ctypes.data,
            totals.ctypes.data,
            codes.ctypes.data,
            starts,
            sizes.ctypes.data,
        )
        return sizes

    def decode(self, decoder: RangeDecoder, start: int = 0) -> Codes:
        """See `coding.prior.Frequencies`."""
        codes = np.empty(len(self) - start, np.uint8)
        view = self._heads.view(self._m, self._temperature, start)
        count = self._functions.pq_decode(
            self._heads.prior._handle,
            ctypes.byref(view),
            decoder.state.ctypes.data,
            decoder.data,
            len(decoder.data),
            codes.ctypes.data,
        )
        return codes[:count]

    def cumulative(self) -> Integers:
        """See `coding.prior.Frequencies`."""
        masses, totals = self._masses()
        table = np.empty((len(self), self._heads.prior.codewords + 1), np.int32)
        self._functions.pq_cumulative(
            self._heads.prior._handle, len(self), masses.ctypes.data, totals.ctypes.data, table.ctypes.data
        )
        return table

    def _masses(self) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
        if self._made is None:
            masses = np.empty((len(self), self._heads.prior.stride), np.uint16)
            totals = np.empty(len(self), np.uint32)
            view = self._heads.view(self._m, self._temperature)
            self._functions.pq_masses(
                self._heads.prior._handle, ctypes.byref(view), masses.ctypes.data, totals.ctypes.data
            )
            self._made = masses, totals
        return self._made


def chosen_level() -> str:
    """The level of instructions in use: the fastest that passes its test, or that of `PQMIM_NATIVE` if it does.

    Raises:
        Unavailable: there is none.
    """
    found, wanted = _library(), os.environ.get(VARIABLE, "")
    if wanted and wanted not in found.levels:
        raise Unavailable(f"{VARIABLE} is {wanted}, which is none of {', '.join(found.levels)}")
    for level in [wanted] if wanted else reversed(found.levels):
        if passes(level):
            return level
    raise Unavailable("the compiled prior fails its test on this processor")


@cache
def passes(level: str) -> bool:
    """Whether a level of instructions gives the digest that every form of the prior gives; found out once."""
    plain, extreme = (CompiledPrior(selftest.tensors(extreme), 1, level) for extreme in (False, True))
    return selftest.digest((plain, extreme)) == selftest.EXPECTED


def sizes_of(tensors: spec.Tensors) -> Sizes:
    """The sizes of a release's prior.

    Raises:
        Unavailable: the library has no room for them.
    """
    size, codewords, widest = tensors["codebook"].shape
    hidden, width = tensors["0.expand.weight"].shape[0] // 2, tensors["level"].shape[1]
    sizes = Sizes(
        size=size,
        codewords=codewords,
        widest=widest,
        channels=int(tensors["dimensions"].sum(dtype=np.int64)),
        width=width,
        heads=tensors["0.bias"].shape[0],
        hidden=hidden,
        rank=tensors["term"].shape[1],
        blocks=sum(name.endswith(".qkv.weight") for name in tensors),
        inputs=tensors["embed.weight"].shape[1],
    )
    for name in SIZES:
        if not 1 <= getattr(sizes, name) <= getattr(MOST, name):
            raise Unavailable(f"the library has no room for a prior of {name} {getattr(sizes, name)}")
    if codewords < 2 or width % (2 * sizes.heads):
        raise Unavailable(f"the library has no room for heads of {width} / {sizes.heads} dimensions")
    return sizes


def _in_order(tensors: spec.Tensors, blocks: int) -> list[NDArray[np.generic]]:
    """The tensors, contiguous, in the order in which level.c takes them."""
    found: list[NDArray[np.generic]] = [
        np.ascontiguousarray(tensors[name], kind)
        for name, kind in (
            ("dimensions", np.int16),
            ("codebook", np.int16),
            ("feature", np.int8),
            ("level", np.int32),
            ("term", np.int8),
            ("static", np.int16),
        )
    ]
    found.append(spec.inverse_squares().astype(np.float64))
    for name in ("embed", "mean", "precision", "free"):
        found += _layer(tensors, name)
    for index in range(blocks):
        found.append(np.ascontiguousarray(tensors[f"{index}.depthwise.weight"], np.int8))
        found.append(np.ascontiguousarray(tensors[f"{index}.depthwise.shift"], np.int8))
        found.append(np.ascontiguousarray(tensors[f"{index}.bias"], np.int32))
        for name in ("qkv", "attended", "expand", "reduce"):
            found += _layer(tensors, f"{index}.{name}")
    return found


def _layer(tensors: spec.Tensors, name: str) -> list[NDArray[np.generic]]:
    return [np.ascontiguousarray(tensors[f"{name}.{part}"], kind) for part, kind in LINEAR.items()]


def serving() -> tuple[Library, str]:
    """The library, and the level of instructions in use.

    Raises:
        Unavailable: there is none.
    """
    return _library(), chosen_level()


def _library() -> Library:
    found = native.library()
    if found is None:
        raise Unavailable(f"there is no library: {native.reason()}")
    return found

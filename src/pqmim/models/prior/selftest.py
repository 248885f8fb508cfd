"""A small pass with fixed weights, whose digest every form of the prior must give.

It is run once for each level of instructions that is to be used: a compiler or a processor that gets one integer wrong
is found out before a file is. The weights come from a hash, at their extremes and in their middle, so that the digest
depends on nothing but arithmetic.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.prior import Prior
from pqmim.coding.range_coder import RangeDecoder

EXPECTED = "78eba7d58d1d1eafc8b1543fa906a52a"
"""The digest."""

DIMENSIONS = (1, 2, 1, 5, 16)
CODEWORDS, WIDTH, HEADS, HIDDEN, BLOCKS, RANK = 70, 72, 2, 56, 2, 8
HEIGHT, ACROSS = 9, 13

DATA = hashlib.shake_256(b"data").digest(50)
"""Bytes that some codes of each sub-quantizer are decoded from."""

Tensors = dict[str, NDArray[np.integer]]


class _Source:
    """Integers from a hash."""

    def __init__(self, name: str, extreme: bool) -> None:
        self._name, self._extreme, self._count = name, extreme, 0

    def integers(self, low: int, high: int, *shape: int) -> NDArray[np.int64]:
        """Uniform in low..high, both included."""
        self._count += 1
        size = int(np.prod(shape))
        data = hashlib.shake_256(f"{self._name} {self._count}".encode()).digest(4 * size)
        return (np.frombuffer(data, "<u4").astype(np.int64) % (high - low + 1) + low).reshape(shape)

    def weights(self, *shape: int) -> NDArray[np.int8]:
        """At +-127, or the sum of two uniform numbers."""
        if self._extreme:
            return (self.integers(0, 1, *shape) * 254 - 127).astype(np.int8)
        return (self.integers(-63, 63, *shape) + self.integers(-64, 64, *shape)).astype(np.int8)

    def layer(self, name: str, outputs: int, inputs: int, shift: int, pad: int = 0) -> Tensors:
        """A linear layer."""
        return {
            f"{name}.weight": np.pad(self.weights(outputs, inputs), ((0, 0), (0, pad))),
            f"{name}.bias": self.integers(-3000, 3000, outputs).astype(np.int32),
            f"{name}.shift": self.integers(shift, shift + 3, outputs).astype(np.int8),
        }


def tensors(extreme: bool) -> Tensors:
    """Tensors of a prior as `export` makes them, with every weight at +-127 or not."""
    source = _Source("extreme" if extreme else "middle", extreme)
    size, channels, widest = len(DIMENSIONS), sum(DIMENSIONS), max(DIMENSIONS)
    used = (np.arange(widest) < np.array(DIMENSIONS)[:, None])[:, None]
    reach = 4080 if extreme else 160
    found: Tensors = {
        "dimensions": np.array(DIMENSIONS, np.int16),
        "codebook": (source.integers(-reach, reach, size, CODEWORDS, widest) * used).astype(np.int16),
        "feature": (source.weights(size, CODEWORDS, widest) * used).astype(np.int8),
        "level": source.integers(-500, 500, 101, WIDTH).astype(np.int32),
        "term": source.weights(size, RANK, CODEWORDS),
        "static": source.integers(-900, 900, size, CODEWORDS).astype(np.int16),
    }
    found |= source.layer("embed", WIDTH, 2 * channels + size, 2, pad=-(2 * channels + size) % 8)
    found |= source.layer("mean", channels, WIDTH, 5) | source.layer("precision", channels, WIDTH, 7)
    if not extreme:  # distributions that many codes share
        found["term"] //= 16
        found["precision.bias"] = source.integers(-60_000, -20_000, channels).astype(np.int32)
        found["precision.shift"] += 2
    found |= source.layer("free", size * RANK, WIDTH, 7)
    for index in range(BLOCKS):
        found[f"{index}.depthwise.weight"] = source.weights(WIDTH, 9)
        found[f"{index}.depthwise.shift"] = source.integers(0, 5, WIDTH).astype(np.int8)
        found[f"{index}.bias"] = source.integers(-4000, 4000, HEADS, 225).astype(np.int32)
        found |= source.layer(f"{index}.qkv", 3 * WIDTH, WIDTH, 4)
        found |= source.layer(f"{index}.attended", WIDTH, WIDTH, 2)
        found |= source.layer(f"{index}.expand", 2 * HIDDEN, WIDTH, 4)
        found |= source.layer(f"{index}.reduce", WIDTH, HIDDEN, 2)
    return found


def known() -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint8]]]:
    """What the pass knows: sub-quantizers, positions, codes."""
    source = _Source("codes", False)
    for m in range(len(DIMENSIONS)):
        positions = np.flatnonzero(source.integers(0, 2, HEIGHT * ACROSS) > 0)
        yield m, positions, source.integers(0, CODEWORDS - 1, len(positions)).astype(np.uint8)


def digest(priors: tuple[Prior, Prior]) -> str:
    """The digest of priors of `tensors(False)` and `tensors(True)`."""
    found = hashlib.sha256()
    for prior in priors:
        context = prior.context(HEIGHT, ACROSS, 37)
        for m, positions, codes in known():
            context.reveal(m, positions, codes)
        some = np.arange(0, HEIGHT * ACROSS, 3)
        for coded, positions, temperature in (
            (range(len(DIMENSIONS)), np.arange(HEIGHT * ACROSS), 16),
            (range(1, 4), some, 11),
        ):
            for _, _, frequencies in context.frequencies(coded, positions, None, temperature):
                found.update(frequencies.cumulative().astype("<i4").tobytes())
                found.update(frequencies.decode(RangeDecoder(DATA)).tobytes())
    return found.hexdigest()[:32]

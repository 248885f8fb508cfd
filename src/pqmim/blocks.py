"""Residual blocks of the synthesis in NumPy, row by row as strips come.  See `models.transforms.Block`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pqmim.models.noise import gaussian

Floats = NDArray[np.float32]

REACH = 10.0  # standard deviations that the input of a block's branch is clipped to, see `models.transforms`
ROWS = 256  # of noise at 1/8 resolution that are kept for the blocks that come to them a little later


class Noise:
    """The noise that fine blocks add, row by row."""

    def __init__(self, seed: int, gain: Floats) -> None:
        self._seed, self._gain = seed, gain
        self._row = lru_cache(ROWS)(self._made)

    def rows(self, top: int, count: int, width: int) -> Floats:
        """Noise (count, width, 16) of the rows from `top` on."""
        return np.stack([self._row(row, width) for row in range(top, top + count)])

    def _made(self, row: int, width: int) -> Floats:
        found: Floats = gaussian(self._seed, row, 0, 1, width)[:, 0].T * self._gain
        return found


@dataclass(frozen=True, eq=False)
class Block:
    """Weights of one residual block, see `models.transforms.Block`."""

    scale: Floats  # (C,)
    gain: Floats  # (L, C)
    depthwise: Floats  # (3, 3, C)
    expand: Floats  # (C, 2 hidden)
    bias: Floats  # (2 hidden,)
    reduce: Floats  # (hidden, C)
    noise: Floats | None  # (16, 2 hidden), of looks

    def branch_input(self, x: Floats, level: float) -> Floats:
        """The input of the branch, from rows (k, w, C): scaled by the gain of a level and clipped to `REACH`."""
        h = x * (blend(self.gain, level) / self.scale)
        return np.clip(h, np.float32(-REACH), np.float32(REACH), out=h)

    def branch(self, h: Floats, noise: Floats | None = None) -> Floats:
        """What is added to rows 1 to k of the k + 2 rows (k + 2, w, C) of its input, given noise (k, w, 16)."""
        count, width = len(h) - 2, h.shape[1]
        mixed, product = np.zeros((count, width, h.shape[2]), np.float32), np.empty_like(h[:count])
        for row, taps in enumerate(self.depthwise):
            part = h[row : row + count]
            for column, tap in enumerate(taps):
                to = slice(max(0, 1 - column), width - max(0, column - 1))
                of = slice(max(0, column - 1), width - max(0, 1 - column))
                mixed[:, to] += np.multiply(part[:, of], tap, out=product[:, of])
        hidden = mixed.reshape(-1, h.shape[2]) @ self.expand
        hidden += self.bias
        if noise is not None and self.noise is not None:
            hidden += noise.reshape(-1, len(self.noise)) @ self.noise
        a, b = np.split(hidden, 2, 1)
        with np.errstate(over="ignore", under="ignore"):  # gates that are shut, or wide open
            gate = np.exp(-a)
        gate += 1
        np.divide(a, gate, out=gate)
        gate *= b
        branch: Floats = (gate @ self.reduce).reshape(mixed.shape)
        return branch


def through(
    blocks: list[Block], level: float, strips: Iterator[Floats], noise: Noise | None = None
) -> Iterator[Floats]:
    """Strips (k, w, C) through blocks one after the other; `noise` goes to all of them."""
    for block in blocks:
        strips = _one_through(block, level, strips, noise)
    return strips


def _one_through(block: Block, level: float, strips: Iterator[Floats], noise: Noise | None) -> Iterator[Floats]:
    """A block's output, a row later than its input."""
    first, top = next(strips), 0
    edge = np.zeros_like(first[:1])  # what lies beyond the picture
    above, waiting = np.concatenate([edge, block.branch_input(first, level)]), first
    for strip in strips:
        rows = np.concatenate([above, block.branch_input(strip, level)])
        whole, count = np.concatenate([waiting, strip]), len(rows) - 2
        drawn = None if noise is None else noise.rows(top, count, whole.shape[1])
        yield block.branch(rows, drawn) + whole[:count]
        above, waiting, top = rows[-2:], whole[-1:], top + count
    drawn = None if noise is None else noise.rows(top, len(waiting), waiting.shape[1])
    yield block.branch(np.concatenate([above, edge]), drawn) + waiting


def blend(table: Floats, level: float) -> Floats:
    """The rows of `table` (L, C), interpolated at a fractional level: (C,)."""
    level = min(max(level, 0.0), len(table) - 1.0)
    low = min(int(level), max(len(table) - 2, 0))
    high = min(low + 1, len(table) - 1)
    row: Floats = table[low] + np.float32(level - low) * (table[high] - table[low])
    return row


def prolonged(table: Floats, level: float) -> Floats:
    """The same, which goes on below level 0 on the line of the first two rows."""
    beyond: Floats = np.float32(min(level, 0.0)) * (table[min(1, len(table) - 1)] - table[0])
    return blend(table, level) + beyond


def blocks_of(tensors: Mapping[str, NDArray[Any]], name: str) -> list[Block]:
    """The blocks in tensors whose names begin with `name`, in order."""
    count = sum(key.startswith(f"{name}.") and key.endswith(".scale") for key in tensors)
    found = []
    for index in range(count):
        prefix = f"{name}.{index}."
        own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        noise = np.ascontiguousarray(as_float(own["noise"]).T) if "noise" in own else None
        found.append(_block({key: as_float(tensor) for key, tensor in own.items()}.__getitem__, noise))
    return found


def _block(tensor: Callable[[str], Floats], noise: Floats | None) -> Block:
    scale = tensor("scale")
    return Block(
        scale,
        tensor("gain"),
        np.ascontiguousarray(tensor("depthwise")[:, 0].transpose(1, 2, 0)),
        np.ascontiguousarray(tensor("expand").T),
        tensor("bias"),
        np.ascontiguousarray((np.sqrt(scale)[:, None] * tensor("reduce")).T),
        noise,
    )


def as_float(tensor: NDArray[Any]) -> Floats:
    """A tensor as float32."""
    return np.asarray(tensor, np.float32)

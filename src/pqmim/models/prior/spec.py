"""What is normative of the prior: constants, tables, geometry and bounds that all its forms share, in NumPy alone.

Everything that decides a probability is an integer, so the same codes give the same frequencies on any machine, thread
count, instruction set and library version. Where a form carries integers in a float type, that type holds them and every
partial sum of theirs exactly, so the order of summation, fused multiply-adds and reduced-precision modes cannot matter:

========================  ======================================  ============================
what                      bound                                   carried by
========================  ======================================  ============================
linear layers             1,040 x 127 x 127 < 2^24                int32 or float32
depthwise 3x3             9 x 127 x 127 < 2^18                    int32 or float32
attention scores          64 x 127 x 127 + 2^20 < 2^22            int32 or float32
weights times values      2 x 64 x 256 x 127 + 2^14 < 2^23        int32 or float32
biases, residual stream   < 2^30, checked at load                 int32
squared distances         16 x (2^46 + 2^47 + 2^46) < 2^53        int64 or float64
logits                    64 x 127 x 127 + 2^14 + 2^23 < 2^24     int32 or float32
masses                    256 x 2^15 = 2^23                       int32
frequencies               2^23 x 2^16 = 2^39                      int64 or float64
========================  ======================================  ============================

The factors of the first four rows fit eight bits and a sign, so even a product that rounds its factors to bfloat16 or
TF32 is exact. `docs/FORMAT.md` states the same arithmetic. `a >> n` rounds toward minus infinity.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]
"""A prior's tensors by name, int8, int16 and int32, as `export` makes them and `docs/FORMAT.md` names them."""

QUALITIES = 101

# Fractional bits of fixed-point numbers.
ACTIVATION = 4  # activations: int8 holds +-7.94
RESIDUAL = 8  # the residual stream, energies and logits
SCORE = 2 * ACTIVATION + 3  # attention scores: those of products, which are divided by 8
MEAN = 4  # predicted means and codewords

LIMIT = 127  # of activations and weights: int8 less -128, whose negative it does not hold
KNOWN = 64  # the input that says that a code is known: 4.0

WINDOW = 8  # positions a side of an attention window
SHIFT = WINDOW // 2  # by which the windows of odd blocks begin above and left of the grid's corner

LARGEST_MEAN = 255 << MEAN
LEAST_PRECISION, LARGEST_PRECISION = -256, 96  # log2 of an inverse squared scale, in sixteenths: -16 to 6
MOST_DIMENSIONS = 16  # of a sub-quantizer
MOST_RANK = 64  # of the free term
MOST_CODEWORDS = 256
EXACT_TERMS = 1040  # most products of int8 that are summed: 1040 x 127 x 127 < 2^24
LARGEST_BIAS = 1 << 20  # of an attention score
LARGEST_STATIC = 1 << 14
LARGEST_SUM = 1 << 30
LARGEST_DEFICIT = 4095  # of a logit: its mass, 2^15 x 2^-16, is 0, as that of any larger one is
CAPPED = 1 << 16  # a deficit before the temperature divides it: 4096 x 16 and more give mass 0 at any temperature

OUTSIDE = -(1 << 24)  # attention score of a key beyond the picture: its deficit exceeds `NOTHING`
NOTHING = (10 << SCORE) - 1  # deficit of an attention score whose weight is 0, as that of any larger one is

CURVATURE = 5250  # of 2^15, in `exp2`


def exp2(t: NDArray[np.int32]) -> NDArray[np.int32]:
    """2^15 x 2^(-t / 256) for t in 0..4095, rounded down.

    Between two powers of two it is a parabola. With u in 0..1 the fraction and b = CURVATURE / 2^15 it is
    1 - (1/2 + b) u + b u^2: 1 at u = 0 and 1/2 at u = 1 for any b, so that powers of two join and it falls everywhere.
    It is at most 0.51 % above or below 2^-u. By their variance such errors
    cost less than 10^-5 bits a symbol; the best b, 5570, would reach 0.27 %.

    In integers: f = 256 u has 8 bits. f x 5250 >> 6 is b u with 2^17 as the unit; so 1/2 + b, which is
    16384 + 5250 = 21634 of 2^15, is 4 x 21634 there. Their difference times f has 2^25 as the unit, and >> 10 makes it
    2^15.
    """
    fraction = t & 255
    slope = 4 * ((1 << 14) + CURVATURE) - (fraction * CURVATURE >> 6)
    mass: NDArray[np.int32] = (1 << 15) - (slope * fraction >> 10) >> (t >> 8)
    return mass


def masses() -> NDArray[np.int32]:
    """`exp2` of all deficits of logits: (4096,)."""
    return exp2(np.arange(LARGEST_DEFICIT + 1, dtype=np.int32))


def attention_weights() -> NDArray[np.int32]:
    """Weights, 0 to 256, of all deficits of attention scores, 0 to `NOTHING`: (20480,).

    256 x 2^(-deficit / 2^11), straight between powers of two: with t the deficit in 8 fractional bits, (512 - its
    fraction) falls from 512 to 257 where 2^-u falls from 1 to 1/2.
    """
    t = np.arange(NOTHING + 1, dtype=np.int32) >> SCORE - 8
    weight: NDArray[np.int32] = 512 - (t & 255) >> (t >> 8) + 1
    return weight


def inverse_squares() -> NDArray[np.int64]:
    """round(2^(16 + s / 16)) for s from `LEAST_PRECISION` to `LARGEST_PRECISION`: inverse squared scales (353,).

    None lies near a half, so any arithmetic rounds them alike.
    """
    return np.array([round(2 ** (16 + s / 16)) for s in range(LEAST_PRECISION, LARGEST_PRECISION + 1)], np.int64)


def relative_positions() -> NDArray[np.int64]:
    """Index of each (query, key) pair of a window into a table of 15 x 15 offsets: (64, 64)."""
    row, column = np.divmod(np.arange(WINDOW**2), WINDOW)
    pair: NDArray[np.int64] = (
        (row[:, None] - row + WINDOW - 1) * (2 * WINDOW - 1) + column[:, None] - column + WINDOW - 1
    )
    return pair


def windows(height: int, width: int, block: int) -> NDArray[np.int64]:
    """Positions in each attention window of a block: (W, 64), height * width where a place is beyond the picture."""
    shift = block % 2 * SHIFT
    rows, columns = -(-(height + shift) // WINDOW), -(-(width + shift) // WINDOW)
    grid = np.full((rows * WINDOW, columns * WINDOW), height * width)
    grid[shift : shift + height, shift : shift + width] = np.arange(height * width).reshape(height, width)
    found: NDArray[np.int64] = grid.reshape(rows, WINDOW, columns, WINDOW).swapaxes(1, 2)
    return found.reshape(rows * columns, WINDOW**2)


@dataclass(frozen=True, eq=False)
class Queries:
    """The queries of some positions, by window; each window has as many places as the fullest needs.

    Attributes:
        windows: (V, 64) positions of the windows that hold queries, as `windows` gives them.
        places: (V, Q) places 0..63 of the queries in their window; 0 in places that are over.
        index: (V, Q) of each query in the positions asked for; their number in places that are over.
    """

    windows: NDArray[np.int64]
    places: NDArray[np.int64]
    index: NDArray[np.int64]


def queries(found: NDArray[np.int64], positions: NDArray[np.int64], cells: int) -> Queries:
    """The queries of `positions` (n,) in `found`, the windows of a grid of that many `cells`."""
    wanted = np.full(cells + 1, len(positions))
    wanted[positions] = np.arange(len(positions))
    wanted = wanted[found]  # (W, 64)
    asked = wanted < len(positions)
    held = asked.any(1)
    asked, wanted = asked[held], wanted[held]
    places = np.argsort(~asked, axis=1, kind="stable")[:, : asked.sum(1).max(initial=0)]
    index = np.take_along_axis(wanted, places, 1)
    return Queries(found[held], np.where(index < len(positions), places, 0), index)


class Layout:
    """Where sub-quantizers have their rows and columns, and how large a prior is.

    Args:
        tensors: of the prior.

    Attributes:
        dimensions: of each sub-quantizer's codewords.
        size: M, the number of sub-quantizers.
        codewords: K.
        width: d, the channels of a token.
        blocks: the number of transformer blocks.
        rank: of the free term.
        first: (M + 1) channels before each sub-quantizer; the last is their number C.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.dimensions: list[int] = tensors["dimensions"].tolist()
        self.size, self.codewords = (int(side) for side in tensors["codebook"].shape[:2])
        self.width = len(tensors["embed.weight"])
        self.blocks = sum(name.endswith(".qkv.weight") for name in tensors)
        self.rank = int(tensors["term"].shape[1])
        self.first = [sum(self.dimensions[:m]) for m in range(self.size + 1)]

    def channels(self, coded: range) -> slice:
        """Rows of `mean` and `precision` for sub-quantizers."""
        return slice(self.first[coded.start], self.first[coded.stop])

    def factors(self, coded: range) -> slice:
        """Rows of `free` for sub-quantizers."""
        return slice(coded.start * self.rank, coded.stop * self.rank)

    def inputs(self, coded: range) -> slice:
        """Entries of `order` for sub-quantizers: 2 d + 1 each."""
        return slice(2 * self.first[coded.start] + coded.start, 2 * self.first[coded.stop] + coded.stop)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Columns of the embedding's weights, sub-quantizer by sub-quantizer: values, absolute values, known."""
        channels, columns = self.first[-1], []
        for m, d in enumerate(self.dimensions):
            values = np.arange(self.first[m], self.first[m] + d)
            columns += [values, channels + values, np.array([2 * channels + m])]
        return np.concatenate(columns)


def code_inputs(tensors: Tensors) -> list[NDArray[np.int8]]:
    """What the embedding is given for each code of each sub-quantizer: M times (K, 2 d + 1), in `Layout.order`."""
    found = []
    for values, d in zip(tensors["feature"], tensors["dimensions"].tolist()):
        known = np.full((len(values), 1), KNOWN, np.int8)
        found.append(np.concatenate([values[:, :d], np.abs(values[:, :d]), known], 1))
    return found


def check(tensors: Tensors) -> None:
    """Check that tensors fit each other and the arithmetic.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor has another shape than the sizes of the prior give it, or a number could leave what carries it.
    """
    _check_shapes(tensors)
    layout = Layout(tensors)
    if max(layout.dimensions) > MOST_DIMENSIONS:
        raise ValueError(f"a sub-quantizer has more than {MOST_DIMENSIONS} dimensions")
    if layout.rank > MOST_RANK or layout.codewords > MOST_CODEWORDS:
        raise ValueError(f"a prior has at most {MOST_CODEWORDS} codewords and a free term of rank {MOST_RANK}")
    for name, most in (("codebook", LARGEST_MEAN), ("static", LARGEST_STATIC), ("feature", LIMIT), ("term", LIMIT)):
        if _largest(tensors[name]) > most:
            raise ValueError(f"the tensor {name} holds numbers beyond {most}")
    stream = _largest(tensors["level"])
    for name in (key.removesuffix(".weight") for key in tensors if key.endswith(".weight")):
        reach = _reach(tensors, name)
        if name == "embed" or name.endswith(("depthwise", "attended", "reduce")):
            stream += int((reach >> tensors[f"{name}.shift"].astype(np.int64)).max()) + 1
    if stream >= LARGEST_SUM:
        raise ValueError("the residual stream could leave 32 bits")
    for index in range(layout.blocks):
        if _largest(tensors[f"{index}.bias"]) > LARGEST_BIAS:
            raise ValueError(f"the attention scores of block {index} could leave 24 bits")


def _check_shapes(tensors: Tensors) -> None:
    """Raise `ValueError` where shapes disagree: the form in C copies as many numbers as the sizes say."""
    size, codewords, widest = _shape(tensors, "codebook", 3)
    _, rank, _ = _shape(tensors, "term", 3)
    width, _ = _shape(tensors, "embed.weight", 2)
    expected: dict[str, tuple[int, ...]] = {
        "dimensions": (size,),
        "feature": (size, codewords, widest),
        "level": (QUALITIES, width),
        "term": (size, rank, codewords),
        "static": (size, codewords),
    }
    _compare(tensors, expected)
    dimensions: list[int] = tensors["dimensions"].tolist()
    if not 1 <= min(dimensions, default=0) <= max(dimensions) <= widest:
        raise ValueError(f"a sub-quantizer has 1 to {widest} dimensions, as the codebook has")
    channels = sum(dimensions)
    inputs = 2 * channels + size
    layers = {
        "embed": (width, inputs + -inputs % 8),
        "mean": (channels, width),
        "precision": (channels, width),
        "free": (size * rank, width),
    }
    for index in range(Layout(tensors).blocks):
        heads, hidden = _shape(tensors, "0.bias", 2)[0], _shape(tensors, "0.reduce.weight", 2)[1]  # in all blocks
        expected[f"{index}.bias"] = heads, (2 * WINDOW - 1) ** 2
        expected[f"{index}.depthwise.weight"], expected[f"{index}.depthwise.shift"] = (width, 9), (width,)
        layers[f"{index}.qkv"], layers[f"{index}.attended"] = (3 * width, width), (width, width)
        layers[f"{index}.expand"], layers[f"{index}.reduce"] = (2 * hidden, width), (width, hidden)
    for name, (rows, columns) in layers.items():
        expected[f"{name}.weight"] = rows, columns
        expected[f"{name}.bias"] = expected[f"{name}.shift"] = (rows,)
    _compare(tensors, expected)


def _shape(tensors: Tensors, name: str, sides: int) -> tuple[int, ...]:
    """The shape of a tensor.  Raises `ValueError` where it has another number of sides."""
    shape = tensors[name].shape
    if len(shape) != sides:
        raise ValueError(f"the tensor {name} has the shape {shape}, which are not {sides} sides")
    return shape


def _compare(tensors: Tensors, expected: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ValueError(f"the tensor {name} has the shape {tensors[name].shape}, not {shape}")


def _largest(tensor: NDArray[Any]) -> int:
    return int(np.abs(tensor.astype(np.int64)).max(initial=0))


def _reach(tensors: Tensors, name: str) -> NDArray[np.int64]:
    """The largest sum of each row of a layer.  Raises `ValueError` where it is too large."""
    weight, shift = tensors[f"{name}.weight"].astype(np.int64), tensors[f"{name}.shift"]
    if weight.shape[1] > EXACT_TERMS or _largest(weight) > LIMIT:
        raise ValueError(f"the products of layer {name} could leave 24 bits")
    if shift.min() < 0 or shift.max() > 30:
        raise ValueError(f"layer {name} shifts by less than 0 or more than 30 bits")
    reach: NDArray[np.int64] = LIMIT * np.abs(weight).sum(1)
    if f"{name}.bias" in tensors:
        reach = reach + np.abs(tensors[f"{name}.bias"].astype(np.int64))
    if int(reach.max()) >= LARGEST_SUM:
        raise ValueError(f"the sums of layer {name} could leave 32 bits")
    return reach

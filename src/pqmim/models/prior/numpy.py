"""The prior in NumPy: the form of a decoder without torch.

Products are made by BLAS in float32, which holds them exactly (see `spec`).
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.prior import UNIT, Codes, Positions
from pqmim.models.prior import spec
from pqmim.models.prior.context import Revealed, Sized, one_token
from pqmim.models.prior.frequencies import MassFrequencies

Floats = NDArray[np.float32]  # of whole numbers
Integers = NDArray[np.int32]

ROWS = 512  # frequency tables made at a time: half a megabyte, which stays in the cache
TOKENS = 1024  # tokens worked on at a time, for the same reason
WINDOWS = 8  # attention windows, likewise


@cache
def exact() -> bool:
    """Whether the BLAS at hand sums products of int8 exactly, at their bound and in odd shapes."""
    for rows, terms, columns in ((1, spec.EXACT_TERMS, 1), (7, spec.EXACT_TERMS, 5), (33, 257, 65)):
        signs = np.where(np.arange(rows * terms).reshape(rows, terms) % 3 < 2, 1, -1)
        for x, y in ((np.ones((rows, terms)), np.ones((terms, columns))), (signs, signs[:1].T.repeat(columns, 1))):
            x, y = spec.LIMIT * x, spec.LIMIT * y
            if not np.array_equal(x.astype(np.float32) @ y.astype(np.float32), x.astype(np.int64) @ y.astype(np.int64)):
                return False
    return True


class NumpyPrior(Sized):
    """A `coding.prior.Prior` in NumPy.

    Args:
        tensors: as `export` makes them.

    Raises:
        ValueError: a number could leave what carries it.
        RuntimeError: the BLAS that NumPy uses is not exact.
    """

    def __init__(self, tensors: spec.Tensors) -> None:
        spec.check(tensors)
        if not exact():
            raise RuntimeError("NumPy's matrix product of float32 is not exact here")
        self.layout = spec.Layout(tensors)
        self.tensors = tensors
        self.level = tensors["level"].astype(np.int32)
        weight = tensors["embed.weight"][:, self.layout.order]
        self.embed = np.ascontiguousarray(weight.T, np.float32)  # (2 C + M, d)
        self.embed_bias = tensors["embed.bias"].astype(np.int32)
        self.embed_shift = tensors["embed.shift"].astype(np.int32)
        self.code_inputs = spec.code_inputs(tensors)
        self.layers = [Block(tensors, index) for index in range(self.layout.blocks)]
        self.heads = Heads(tensors, self.layout)

    def context(self, height: int, width: int, quality: int) -> "NumpyContext":
        """See `coding.prior.Prior.context`."""
        return NumpyContext(self, height, width, quality)


class NumpyContext:
    """A `coding.prior.Context` of a `NumpyPrior`."""

    def __init__(self, prior: NumpyPrior, height: int, width: int, quality: int) -> None:
        self._prior, self._shape, self._level = prior, (height, width), prior.level[quality]
        self._revealed = Revealed(prior.layout, prior.code_inputs)
        self._sums = np.repeat(prior.embed_bias[None], height * width, 0)  # of the embedding, before its shift

    def reveal(self, m: int, positions: Positions, codes: Codes) -> None:
        """See `coding.prior.Context.reveal`."""
        self._revealed.add(m, positions, codes)

    def frequencies(
        self, coded: range, positions: Positions, blocks: int | None = None, temperature: int = UNIT
    ) -> Iterator[tuple[int, slice, MassFrequencies]]:
        """See `coding.prior.Context.frequencies`."""
        if one_token(self._revealed.nothing, blocks, positions):
            for m, _, found in self.frequencies(coded, positions[:1], blocks, temperature):
                yield m, slice(0, len(positions)), found.repeated(len(positions))
            return
        self._embed()
        yield from self._prior.heads.frequencies(self._tokens(positions, blocks), coded, temperature)

    def _embed(self) -> None:
        """Add the codes revealed since to the embedding."""
        for rows, positions, inputs in self._revealed.take():
            weight = self._prior.embed[rows]
            for at in range(0, len(positions), TOKENS):
                part = slice(at, at + TOKENS)
                self._sums[positions[part]] += (inputs[part].astype(np.float32) @ weight).astype(np.int32)

    def _tokens(self, positions: Positions, blocks: int | None) -> Floats:
        """Hidden states (n, d) of positions (n,)."""
        layers = self._prior.layers[:blocks]
        sums = self._sums if layers else self._sums[positions]
        x = sums >> self._prior.embed_shift
        x += self._level
        for layer in layers[:-1]:
            x = layer(x, self._shape, None)
        if layers:
            x = layers[-1](x, self._shape, positions)
        return act(x)


def act(x: Integers) -> Floats:
    """Activations of the residual stream, or of a product of two activations."""
    x = x + 8
    x >>= 4
    np.clip(x, -spec.LIMIT, spec.LIMIT, out=x)
    return x.astype(np.float32)


class Layer:
    """A linear layer, and the shift that brings it to its fractional bits."""

    def __init__(self, tensors: spec.Tensors, name: str) -> None:
        self.weight = np.ascontiguousarray(tensors[f"{name}.weight"].T, np.float32)  # (k, n)
        self.bias = tensors[f"{name}.bias"].astype(np.int32)
        self.shift = tensors[f"{name}.shift"].astype(np.int32)

    def __call__(self, x: Floats, rows: slice = slice(None)) -> Integers:
        """Outputs (N, n) of activations (N, k)."""
        total = (x @ self.weight[:, rows]).astype(np.int32)
        total += self.bias[rows]
        total >>= self.shift[rows]
        return total

    def clipped(self, x: Floats, rows: slice = slice(None)) -> Floats:
        """Outputs (N, n) that are activations again."""
        total = self(x, rows)
        np.clip(total, -spec.LIMIT, spec.LIMIT, out=total)
        return total.astype(np.float32)


class Block:
    """One block: residual stream in, residual stream out, (h * w, d)."""

    def __init__(self, tensors: spec.Tensors, index: int) -> None:
        self.index = index
        self.kernel = np.ascontiguousarray(tensors[f"{index}.depthwise.weight"].T, np.float32)  # (9, d)
        self.shift = tensors[f"{index}.depthwise.shift"].astype(np.int32)
        self.half = np.left_shift(1, self.shift) >> 1
        self.bias = tensors[f"{index}.bias"][:, spec.relative_positions()].astype(np.float32)  # (heads, 64, 64)
        self.qkv, self.attended, self.expand, self.reduce = (
            Layer(tensors, f"{index}.{name}") for name in ("qkv", "attended", "expand", "reduce")
        )
        self.weights = spec.attention_weights().astype(np.float32)

    def __call__(self, x: Integers, shape: tuple[int, int], positions: Positions | None) -> Integers:
        """The stream after the block, of all positions, or of `positions` (n,) alone."""
        x = self._convolved(x, shape)
        windows = spec.windows(*shape, self.index)
        if positions is None:
            mixed = self._attend(act(x), spec.queries(windows, np.arange(len(x)), len(x)), None)
        else:
            mixed = self._attend(act(x), spec.queries(windows, positions, len(x)), positions)
            x = x[positions]
        for at in range(0, len(x), TOKENS):
            rows = x[at : at + TOKENS]
            rows += self.attended(mixed[at : at + TOKENS])
            a, b = np.split(self.expand.clipped(act(rows)), 2, 1)
            np.maximum(a, 0, out=a)
            a *= b
            rows += self.reduce(act(a.astype(np.int32)))
        return x

    def _convolved(self, x: Integers, shape: tuple[int, int]) -> Integers:
        """The stream with its depthwise convolution added."""
        height, width = shape
        found: Integers = x.reshape(height, width, -1).copy()
        count = max(1, TOKENS // width)
        for top in range(0, height, count):
            stream = found[top : top + count]
            first, last = max(0, top - 1), min(height, top + count + 1)
            padded = np.zeros((len(stream) + 2, width + 2, x.shape[1]), np.float32)
            inner = slice(first - top + 1, last - top + 1)
            padded[inner, 1:-1] = act(x.reshape(height, width, -1)[first:last])
            total = np.zeros(stream.shape, np.float32)
            for tap, weight in enumerate(self.kernel):
                row, column = divmod(tap, 3)
                total += padded[row : row + len(stream), column : column + width] * weight
            gain = total.astype(np.int32)
            gain += self.half
            gain >>= self.shift
            stream += gain
        return found.reshape(x.shape)

    def _attend(self, h: Floats, asked: spec.Queries, positions: Positions | None) -> Floats:
        """What the queries find (n, d), of activations (h * w, d)."""
        cells, depth = h.shape
        keys = np.zeros((cells + 1, 2 * depth), np.float32)  # the last row: beyond the picture
        queries = np.zeros((1 + (cells if positions is None else len(positions)), depth), np.float32)
        for at in range(0, cells, TOKENS):
            part = slice(at, min(cells, at + TOKENS))
            keys[part] = self.qkv.clipped(h[part], slice(depth, None))
        wanted = h if positions is None else h[positions]
        queries[:-1] = self.qkv.clipped(wanted, slice(depth))
        mixed = np.empty_like(queries)
        for at in range(0, len(asked.windows), WINDOWS):
            part = slice(at, at + WINDOWS)
            self._mix(mixed, queries, keys, spec.Queries(asked.windows[part], asked.places[part], asked.index[part]))
        return mixed[:-1]

    def _mix(self, mixed: Floats, queries: Floats, keys: Floats, asked: spec.Queries) -> None:
        """Write attention of some windows: queries (n + 1, d) over keys and values (h * w + 1, 2 d)."""
        heads, depth = len(self.bias), queries.shape[1]
        q = queries[asked.index].reshape(*asked.index.shape, heads, -1).transpose(0, 2, 1, 3)  # (V, heads, Q, d')
        kv = keys[asked.windows].reshape(*asked.windows.shape, 2, heads, -1).transpose(2, 0, 3, 1, 4)
        scores = q @ kv[0].swapaxes(-1, -2)  # (V, heads, Q, 64), 11 fractional bits
        scores += self.bias[:, asked.places].swapaxes(0, 1)
        outside = asked.windows == len(keys) - 1
        if outside.any():
            np.copyto(scores, np.float32(spec.OUTSIDE), where=outside[:, None, None])
        np.subtract(scores.max(-1, keepdims=True), scores, out=scores)
        np.minimum(scores, spec.NOTHING, out=scores)
        weights = self.weights[scores.astype(np.int32)]
        total = weights.sum(-1, keepdims=True)  # 256 to 16384
        found = weights @ kv[1]  # (V, heads, Q, d')
        # A quotient is no nearer below a whole number than 2^-15, which float32 tells apart up to 128.
        found *= 2
        found += total
        found /= 2 * total
        np.floor(found, out=found)
        mixed[asked.index] = found.swapaxes(1, 2).reshape(*asked.index.shape, depth)


class Heads:
    """From hidden states to frequencies."""

    def __init__(self, tensors: spec.Tensors, layout: spec.Layout) -> None:
        self.layout = layout
        self.mean, self.precision, self.free = (Layer(tensors, name) for name in ("mean", "precision", "free"))
        self.term = tensors["term"].astype(np.float32)  # (M, R, K)
        self.static = tensors["static"].astype(np.float32)  # (M, K)
        self.codebook = tensors["codebook"]
        self.inverse_squares = spec.inverse_squares().astype(np.float64)
        self.masses = spec.masses()

    def frequencies(
        self, tokens: Floats, coded: range, temperature: int
    ) -> Iterator[tuple[int, slice, MassFrequencies]]:
        """Frequencies at hidden states (n, d): see `coding.prior.Context.frequencies`."""
        rows = self.layout.channels(coded)
        mean = self.mean(tokens, rows)
        np.clip(mean, -spec.LARGEST_MEAN, spec.LARGEST_MEAN, out=mean)
        precision = self.precision(tokens, rows)
        np.clip(precision, spec.LEAST_PRECISION, spec.LARGEST_PRECISION, out=precision)
        free = self.free.clipped(tokens, self.layout.factors(coded))
        first = self.layout.first[coded.start]
        for m in coded:
            own = slice(self.layout.first[m] - first, self.layout.first[m + 1] - first)
            factors = free[:, (m - coded.start) * self.layout.rank : (m - coded.start + 1) * self.layout.rank]
            words = self._words(m)
            for at in range(0, len(tokens), ROWS):
                part = slice(at, at + ROWS)
                beta = self.inverse_squares[precision[part, own] - spec.LEAST_PRECISION]
                energy = self._energy(words, beta, mean[part, own].astype(np.float64))
                logits = factors[part] @ self.term[m]
                logits += self.static[m]
                logits -= energy
                yield m, part, MassFrequencies(self._masses(logits, temperature))

    def _words(self, m: int) -> NDArray[np.float64]:
        """What moments are multiplied by for squared distances: (2 d + 1, K)."""
        words: NDArray[np.float64] = self.codebook[m, :, : self.layout.dimensions[m]].astype(np.float64)
        factors: NDArray[np.float64] = np.concatenate([words**2, -2 * words, np.ones_like(words[:, :1])], 1).T
        return factors

    def _energy(self, words: NDArray[np.float64], beta: NDArray[np.float64], mean: NDArray[np.float64]) -> Floats:
        """sqrt(1 + 2 u) of the squared distances u of every codeword, (n, K), 8 fractional bits."""
        moment = beta * mean
        sums = np.concatenate([beta, moment, (moment * mean).sum(1, keepdims=True)], 1)  # 24 fractional bits
        sums *= 2.0**-8
        u = sums @ words
        np.floor(u, out=u)  # 16 of them
        u *= 2
        u += 65536
        np.sqrt(u, out=u)
        np.floor(u, out=u)
        return u.astype(np.float32)

    def _masses(self, logits: Floats, temperature: int) -> Integers:
        """Running sums of masses (n, K)."""
        np.subtract(logits.max(1, keepdims=True), logits, out=logits)
        np.minimum(logits, spec.CAPPED, out=logits)
        deficit = logits.astype(np.int32)
        if temperature != UNIT:
            deficit *= UNIT
            deficit //= temperature
        np.minimum(deficit, spec.LARGEST_DEFICIT, out=deficit)
        sums: Integers = self.masses[deficit].cumsum(1, dtype=np.int32)
        return sums

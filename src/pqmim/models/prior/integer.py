"""The prior in torch, in integers: on processors and GPUs.

`spec` says what it computes and why every step is exact. Entry points shield themselves from autocast, gradients, and
default types and devices of their caller.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pqmim.coding.prior import UNIT, Codes, Positions
from pqmim.models.prior import spec
from pqmim.models.prior.context import Revealed, Sized, one_token
from pqmim.models.prior.frequencies import MassFrequencies
from pqmim.models.prior.products import Product, choose, multiply

TOKENS = 2048  # worked on at a time: what lies between two layers stays in the cache
WINDOWS = TOKENS // spec.WINDOW**2
ROWS = 1024  # frequency tables made at a time

P = ParamSpec("P")
R = TypeVar("R")


def plain_mode(function: Callable[P, R]) -> Callable[P, R]:
    """Run without autocast and gradients, whatever the caller has set.

    Not for generators, which would leave the shield up between two values.
    """

    @wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> R:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **options)

    return run


class IntegerPrior(Sized):
    """A `coding.prior.Prior` in torch.

    Args:
        tensors: as `export` makes them.
        device: where it runs.
        product: the form of integer products; None for the faster one that is exact.

    Raises:
        ValueError: a number could leave what carries it.
    """

    @plain_mode
    def __init__(
        self, tensors: spec.Tensors, device: str | torch.device = "cpu", product: Product | None = None
    ) -> None:
        spec.check(tensors)
        self.layout = spec.Layout(tensors)
        self.device = torch.device(device)
        self.product: Product = product or choose(self.device)
        load = Loader(tensors, self.device, self.product)
        self.level = load("level", torch.int32)
        self.embed = torch.from_numpy(tensors["embed.weight"][:, self.layout.order]).to(self.device).float()  # (d, F)
        self.embed_bias, self.embed_shift = load("embed.bias", torch.int32), load("embed.shift", torch.int32)
        self.code_inputs = spec.code_inputs(tensors)
        self.layers = [Block(load, index) for index in range(self.layout.blocks)]
        self.heads = Heads(load, self.layout)

    def context(self, height: int, width: int, quality: int) -> "IntegerContext":
        """See `coding.prior.Prior.context`."""
        return IntegerContext(self, height, width, quality)


class Loader:
    """Tensors of a prior on a device, by name."""

    def __init__(self, tensors: spec.Tensors, device: torch.device, product: Product) -> None:
        self.tensors, self.device = tensors, device
        self.weight_type = torch.int8 if product == "int8" else torch.float32

    def __call__(self, name: str, dtype: torch.dtype) -> Tensor:
        """A tensor in a type."""
        return self.move(self.tensors[name], dtype)

    def move(self, array: NDArray[Any], dtype: torch.dtype) -> Tensor:
        """An array on the device, in a type."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, dtype)


class IntegerContext:
    """A `coding.prior.Context` of an `IntegerPrior`."""

    @plain_mode
    def __init__(self, prior: IntegerPrior, height: int, width: int, quality: int) -> None:
        self._prior, self._shape, self._level = prior, (height, width), prior.level[quality]
        self._revealed = Revealed(prior.layout, prior.code_inputs)
        self._sums = prior.embed_bias.repeat(height * width, 1)  # of the embedding, before its shift

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
        parameters = self._prior.heads.parameters(self._tokens(positions, blocks), coded)
        for m, own in zip(coded, parameters):
            for at in range(0, len(positions), ROWS):
                part = slice(at, at + ROWS)
                yield m, part, self._prior.heads.frequencies(own, m, part, temperature)

    @plain_mode
    def _tokens(self, positions: Positions, blocks: int | None) -> Tensor:
        """Hidden states int8 (n, d) of positions (n,)."""
        self._embed()
        layers = self._prior.layers[:blocks]
        sums = self._sums if layers else self._sums[self._at(positions)]
        x = sums.bitwise_right_shift(self._prior.embed_shift).add_(self._level)
        for layer in layers[:-1]:
            x = layer(x, self._shape, None)
        if layers:
            x = layers[-1](x, self._shape, positions)
        return activations(x)

    def _embed(self) -> None:
        """Add the codes revealed since to the embedding."""
        for rows, positions, inputs in self._revealed.take():
            found = F.linear(torch.from_numpy(inputs).to(self._sums.device).float(), self._prior.embed[:, rows])
            self._sums.index_add_(0, self._at(positions), found.to(torch.int32))

    def _at(self, positions: Positions) -> Tensor:
        return torch.from_numpy(positions).to(self._prior.device)


def act(x: Tensor) -> Tensor:
    """Activations int8 of the residual stream, or of a product of two activations."""
    return (x + 8).bitwise_right_shift_(4).clamp_(-spec.LIMIT, spec.LIMIT).to(torch.int8)


def activations(x: Tensor) -> Tensor:
    """The same of a whole residual stream (n, d), some tokens at a time."""
    h = torch.empty_like(x, dtype=torch.int8)
    for rows, found in zip(torch.split(x, TOKENS), torch.split(h, TOKENS)):
        found.copy_(act(rows))
    return h


class Linear:
    """A linear layer, and the shift that brings it to its fractional bits."""

    def __init__(self, load: Loader, name: str) -> None:
        self.weight = load(f"{name}.weight", load.weight_type)  # (n, k)
        self.bias, self.shift = load(f"{name}.bias", torch.int32), load(f"{name}.shift", torch.int32)

    def __call__(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """Outputs int32 (N, n) of activations int8 (N, k)."""
        return multiply(x, self.weight[rows]).add_(self.bias[rows]).bitwise_right_shift_(self.shift[rows])

    def clipped(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """Outputs int32 (N, n), clipped to what activations are."""
        return self(x, rows).clamp_(-spec.LIMIT, spec.LIMIT)


class Block:
    """One block: residual stream in, residual stream out, int32 (h * w, d)."""

    def __init__(self, load: Loader, index: int) -> None:
        self.index = index
        self.kernel = load(f"{index}.depthwise.weight", torch.float32).T.contiguous()  # (9, d)
        self.shift = load(f"{index}.depthwise.shift", torch.int32)
        self.half = torch.bitwise_left_shift(torch.ones_like(self.shift), self.shift).bitwise_right_shift_(1)
        self.bias = load.move(load.tensors[f"{index}.bias"][:, spec.relative_positions()], torch.float32)
        self.qkv, self.attended, self.expand, self.reduce = (
            Linear(load, f"{index}.{name}") for name in ("qkv", "attended", "expand", "reduce")
        )

    def __call__(self, x: Tensor, shape: tuple[int, int], positions: Positions | None) -> Tensor:
        """The stream after the block, of all positions, or of `positions` (n,) alone; changes `x`."""
        self._convolve(x, shape)
        windows, cells = spec.windows(*shape, self.index), len(x)
        asked = spec.queries(windows, np.arange(cells) if positions is None else positions, cells)
        at = None if positions is None else torch.from_numpy(positions).to(x.device)
        mixed = self._attend(activations(x), asked, at)
        if at is not None:
            x = x[at]
        for rows, more in zip(torch.split(x, TOKENS), torch.split(mixed, TOKENS)):
            rows += self.attended(more)
            a, b = self.expand.clipped(act(rows)).chunk(2, 1)
            rows += self.reduce(act(a.clamp(min=0).mul_(b)))
        return x

    def _convolve(self, x: Tensor, shape: tuple[int, int]) -> None:
        """Add the depthwise convolution of the residual stream to it."""
        height, width = shape
        padded = F.pad(activations(x).view(height, width, -1), (0, 0, 1, 1, 1, 1))
        stream = x.view(height, width, -1)
        for top in range(0, height, count := max(1, TOKENS // width)):
            part = padded[top : top + count + 2].float()
            total = torch.zeros_like(stream[top : top + count], dtype=torch.float32)
            for tap, weight in enumerate(self.kernel):
                row, column = divmod(tap, 3)
                total.addcmul_(part[row : row + len(total), column : column + width], weight)
            stream[top : top + count] += total.to(torch.int32).add_(self.half).bitwise_right_shift_(self.shift)

    def _attend(self, h: Tensor, asked: spec.Queries, at: Tensor | None) -> Tensor:
        """What the queries find, int8 (n, d), of activations int8 (h * w, d)."""
        depth = h.shape[1]
        keys = self._projected(h, slice(depth, None))
        queries = self._projected(h if at is None else h[at], slice(depth))
        mixed = torch.empty_like(queries)
        index, found, places = (
            torch.split(torch.from_numpy(array).to(h.device), WINDOWS)
            for array in (asked.index, asked.windows, asked.places)
        )
        for own, window, place in zip(index, found, places):
            mixed[own] = self._mix(queries[own], keys[window], place, window == len(h))
        return mixed[:-1]

    def _projected(self, h: Tensor, rows: slice) -> Tensor:
        """Queries, or keys and values, int8 (n + 1, c); the last row stands for places that are over."""
        found = [self.qkv.clipped(part, rows).to(torch.int8) for part in torch.split(h, TOKENS)]
        return F.pad(torch.cat(found), (0, 0, 0, 1))

    def _mix(self, queries: Tensor, keys: Tensor, places: Tensor, outside: Tensor) -> Tensor:
        """Attention of windows: queries (V, Q, d) over keys and values (V, 64, 2 d): int8 (V, Q, d)."""
        heads = len(self.bias)
        q = queries.view(*places.shape, heads, -1).transpose(1, 2).float()  # (V, heads, Q, d')
        k, v = keys.view(*outside.shape, 2, heads, -1).permute(2, 0, 3, 1, 4).float()
        scores = (q @ k.transpose(-1, -2)).add_(self.bias[:, places].transpose(0, 1))  # 11 fractional bits
        if outside.any():
            scores.masked_fill_(outside[:, None, None], spec.OUTSIDE)
        t = (scores.amax(-1, keepdim=True) - scores).clamp_(max=spec.NOTHING).to(torch.int16).bitwise_right_shift_(3)
        weights = 512 - (t & 255)
        weights = weights.bitwise_right_shift_(t.bitwise_right_shift_(8).add_(1)).float()
        total = weights.sum(-1, keepdim=True)  # 256 to 16384
        # A quotient is no nearer below a whole number than 2^-15, which float32 tells apart up to 128.
        mixed: Tensor = (weights @ v).mul_(2).add_(total).div_(2 * total).floor_()  # (V, heads, Q, d')
        return mixed.to(torch.int8).transpose(1, 2).flatten(2)  # (V, Q, d)


class Heads:
    """From hidden states to frequencies."""

    def __init__(self, load: Loader, layout: spec.Layout) -> None:
        self.layout = layout
        self.mean, self.precision, self.free = (Linear(load, name) for name in ("mean", "precision", "free"))
        self.term, self.static = load("term", torch.float32), load("static", torch.float32)
        self.codebook = load("codebook", torch.float64)  # (M, K, D)
        self.inverse_squares = load.move(spec.inverse_squares(), torch.float64)
        self.one = load.move(np.array(65536), torch.float64)  # in 16 fractional bits

    @plain_mode
    def parameters(self, tokens: Tensor, coded: range) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of each sub-quantizer: factors of the free term (n, R), inverse squared scales and means (n, d)."""
        rows = self.layout.channels(coded)
        dims = self.layout.dimensions[coded.start : coded.stop]
        mean = self.mean(tokens, rows).clamp_(-spec.LARGEST_MEAN, spec.LARGEST_MEAN).double()
        precision = self.precision(tokens, rows).clamp_(spec.LEAST_PRECISION, spec.LARGEST_PRECISION)
        beta = self.inverse_squares[precision.sub_(spec.LEAST_PRECISION).long()]
        free = self.free.clipped(tokens, self.layout.factors(coded)).float()
        factors = torch.split(free, self.layout.rank, 1)
        return list(zip(factors, torch.split(beta, dims, 1), torch.split(mean, dims, 1)))

    @plain_mode
    def frequencies(
        self, parameters: tuple[Tensor, Tensor, Tensor], m: int, part: slice, temperature: int
    ) -> MassFrequencies:
        """Frequencies of sub-quantizer `m` at a part of the positions."""
        free, beta, mean = (values[part] for values in parameters)
        logits = torch.addmm(self.static[m], free, self.term[m]).sub_(self._energy(m, beta, mean))
        deficit = (logits.amax(1, keepdim=True) - logits).clamp_(max=spec.CAPPED).to(torch.int32)
        if temperature != UNIT:
            deficit = deficit.mul_(UNIT).floor_divide_(temperature)
        masses = exp2(deficit.clamp_(max=spec.LARGEST_DEFICIT)).cumsum(1, dtype=torch.int32)
        return MassFrequencies(masses.cpu().numpy())

    def _energy(self, m: int, beta: Tensor, mean: Tensor) -> Tensor:
        """sqrt(1 + 2 u) of the squared distances u of every codeword: whole float32 (n, K), 8 fractional bits."""
        words = self.codebook[m, :, : beta.shape[1]]
        words = torch.cat([words.square(), -2 * words, torch.ones_like(words[:, :1])], 1)  # (K, 2 d + 1)
        moment = beta * mean
        sums = torch.cat([beta, moment, (moment * mean).sum(1, keepdim=True)], 1)  # 24 fractional bits
        u = (sums.mul_(2.0**-8) @ words.T).floor_()  # 16 of them
        return torch.add(self.one, u, alpha=2, out=u).sqrt_().floor_().float()


def exp2(t: Tensor) -> Tensor:
    """`spec.exp2` of int32, in place of a table: the time goes into memory."""
    fraction = t & 255
    slope = (fraction * spec.CURVATURE).bitwise_right_shift_(6).sub_(4 * ((1 << 14) + spec.CURVATURE))
    # 1023 makes the shift of a negative number what that of its absolute value is.
    parabola = slope.mul_(fraction).add_((1 << 25) + 1023).bitwise_right_shift_(10)
    return parabola.bitwise_right_shift_(t >> 8)

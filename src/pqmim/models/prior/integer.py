"""Integer form of the masked prior: the only one that a file ever sees.

Everything that decides a probability is an integer here, so the same codes give the same frequencies
on any machine, thread count, instruction set, batch and library version.  Where a float type appears
it carries integers that it holds exactly, in sums whose every partial sum it holds exactly, so the
order of summation, fused multiply-adds and reduced-precision modes cannot matter:

========================  ======================================  ============================
what                      bound                                   carried by
========================  ======================================  ============================
linear layers             1,040 x 127 x 127 < 2^24                int32 (``_int_mm``) or float32
depthwise 3x3             9 x 127 x 127 < 2^18                    float32
attention scores          64 x 127 x 127 + 2^20 < 2^22            float32
weights times values      2 x 64 x 256 x 127 + 2^14 < 2^23        float32
sums, residual stream     < 2^31, checked at load                 int32
squared distances         16 x (2^46 + 2^47 + 2^46) < 2^53        float64
logits                    64 x 127 x 127 + 2^14 + 2^23 < 2^24     float32
cumulative frequencies    256 x 2^15 x 2^16 < 2^40                float64
========================  ======================================  ============================

Formats: weights int8 with e fractional bits a row, activations int8 with 4, residual stream int32
with 8, means and codewords 4, precisions 16, energies and logits 8 (in bits, base 2).  ``a >> n`` rounds
toward minus infinity; rescaling adds half a unit first.  ``docs/FORMAT.md`` states the same arithmetic.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pqmim.coding.prior import CumulativeFrequencies
from pqmim.coding.range_coder import PRECISION
from pqmim.models.prior.masked import (
    ACTIVATION,
    LIMIT,
    MEAN,
    RESIDUAL,
    WINDOW,
    Linear,
    MaskedPrior,
    exponents,
    from_windows,
    relative_positions,
    to_windows,
)
from pqmim.models.transforms import blend

QUALITIES = 101
OUTSIDE = -(1 << 24)  # attention score of a key beyond the picture
NOTHING = (10 << 11) - 1  # deficit of an attention score whose weight is 0, as that of any larger one is
MOST_DIMENSIONS = 16  # of a sub-quantizer, for the bound on squared distances
CHUNK = 2048  # tokens worked on at a time
ROWS = 1024  # frequency tables made at a time
EXACT_TERMS = 1040  # products of int8 that float32 sums exactly
LARGEST_MEAN = 255 << MEAN
LARGEST_BIAS = 1 << 20  # of an attention score

Tensors = dict[str, Tensor]


# -- export -------------------------------------------------------------------------------------


@torch.no_grad()
def export(prior: MaskedPrior, rates: Tensor) -> Tensors:
    """Round a trained prior to its integer form: named int8, int16 and int32 tensors.

    ``rates`` (101,) are the fractional rates of all qualities.

    Raises ``ValueError`` if a sub-quantizer is too large for the bounds above.
    """
    if max(prior.dimensions) > MOST_DIMENSIONS:
        raise ValueError(f"a sub-quantizer has more than {MOST_DIMENSIONS} dimensions")
    found: Tensors = {
        "dimensions": torch.tensor(prior.dimensions, dtype=torch.int16),
        "codebook": _fixed(prior.codebook, MEAN, LARGEST_MEAN).to(torch.int16),
        "feature": _fixed(prior.feature, ACTIVATION, LIMIT).to(torch.int8),
        "level": _fixed(blend(prior.level, rates.to(prior.level)).flatten(1), RESIDUAL, 1 << 20),
        "term": _fixed(prior.term, ACTIVATION, LIMIT).to(torch.int8),
        "static": _fixed(prior.static, RESIDUAL, 1 << 14).to(torch.int16),
    }
    found |= _linear("embed", prior.embed, RESIDUAL, pad=True)
    for name in ("mean", "precision", "free"):
        found |= _linear(name, getattr(prior, name), ACTIVATION)
    for index, block in enumerate(prior.blocks):
        kernel, places = block.depthwise, exponents(block.depthwise)
        found[f"{index}.depthwise.weight"] = _rows(kernel, places).view(-1, 9).to(torch.int8)
        found[f"{index}.depthwise.shift"] = (places + ACTIVATION - RESIDUAL).to(torch.int8)
        found[f"{index}.bias"] = _fixed(block.bias, 2 * ACTIVATION + 3, LARGEST_BIAS).T.contiguous()  # (heads, 225)
        found |= _linear(f"{index}.qkv", block.qkv, ACTIVATION)
        found |= _linear(f"{index}.attended", block.attended, RESIDUAL)
        found |= _linear(f"{index}.expand", block.expand, ACTIVATION)
        found |= _linear(f"{index}.reduce", block.reduce, RESIDUAL)
    return {name: tensor.cpu().contiguous() for name, tensor in found.items()}


def _fixed(x: Tensor, bits: int, most: int) -> Tensor:
    return (x.float() * 2.0**bits).round().clamp(-most, most).to(torch.int32)


def _rows(weight: Tensor, places: Tensor) -> Tensor:
    return (weight.flatten(1) * torch.exp2(places)[:, None]).round().clamp(-LIMIT, LIMIT)


def _linear(name: str, layer: Linear, bits: int, pad: bool = False) -> Tensors:
    """Weights, bias and shift that bring int8 activations to ``bits`` fractional bits; half a unit is in the bias."""
    places = exponents(layer.weight)
    shift = (places + ACTIVATION - bits).long()
    weight = _rows(layer.weight, places).to(torch.int8)
    if pad:
        weight = F.pad(weight, (0, -weight.shape[1] % 8))
    bias = (layer.bias * torch.exp2(places + ACTIVATION)).round().clamp(-(2**28), 2**28).long()
    bias = bias + torch.bitwise_right_shift(torch.bitwise_left_shift(torch.ones_like(shift), shift), 1)
    return {f"{name}.weight": weight, f"{name}.bias": bias.to(torch.int32), f"{name}.shift": shift.to(torch.int8)}


# -- arithmetic ---------------------------------------------------------------------------------


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Exact product of int8 matrices (N, k) and (k, n): int32 (N, n).

    ``weight`` is given transposed and contiguous along k.  Uses an int8 product where one exists and
    float32, which is exact up to ``EXACT_TERMS`` terms, elsewhere.
    """
    if x.shape[1] > EXACT_TERMS:
        raise ValueError(f"a product of {x.shape[1]} terms does not fit the exact range")
    fits_cuda = len(x) > 16 and x.shape[1] % 8 == 0 and weight.shape[1] % 8 == 0
    if x.device.type == "cpu" or (x.device.type == "cuda" and fits_cuda):
        return torch._int_mm(x, weight)
    return (x.float() @ weight.float()).to(torch.int32)


def exp2(t: Tensor) -> Tensor:
    """2**15 * 2**(-t / 256) for int32 t in 0..4095, to 0.5 %: a parabola between powers of two."""
    fraction = t & 255
    slope = (fraction * 5250).bitwise_right_shift_(6).sub_(21634 * 4)  # in place: the time goes into memory
    parabola = slope.mul_(fraction).add_((32768 << 10) + 1023).bitwise_right_shift_(10)
    return parabola.bitwise_right_shift_(t >> 8)


class Exact:
    """A linear layer in integers."""

    def __init__(self, tensors: Tensors, name: str):
        self.weight = tensors[f"{name}.weight"].contiguous()  # (n, k)
        self.bias = tensors[f"{name}.bias"]
        self.shift = tensors[f"{name}.shift"].to(torch.int32)

    def __call__(self, x: Tensor, rows: slice = slice(None)) -> Tensor:  # (N, k) int8
        total = product(x, self.weight[rows].T)
        return total.add_(self.bias[rows]).bitwise_right_shift_(self.shift[rows])  # (N, n) int32


def to_activation(x: Tensor) -> Tensor:
    """Residual stream, or a product of two activations, to int8 activations."""
    return (x + 8).bitwise_right_shift_(4).clamp_(-LIMIT, LIMIT).to(torch.int8)


def activations(x: Tensor) -> Tensor:
    """The same of a whole residual stream (..., d), some tokens at a time."""
    h = torch.empty_like(x, dtype=torch.int8)
    for rows, found in zip(x.view(-1, x.shape[-1]).split(CHUNK), h.view(-1, x.shape[-1]).split(CHUNK)):
        found.copy_(to_activation(rows))
    return h


def narrow(x: Tensor) -> Tensor:
    return x.clamp_(-LIMIT, LIMIT).to(torch.int8)


def _check_bounds(tensors: Tensors) -> None:
    """Raise ``ValueError`` where a sum, or the residual stream that all branches add to, could leave what carries it."""
    stream = int(tensors["level"].long().abs().max())
    for name in (key.removesuffix(".weight") for key in tensors if key.endswith(".weight")):
        reach = 127 * tensors[f"{name}.weight"].long().abs().sum(1)
        if f"{name}.bias" in tensors:
            reach += tensors[f"{name}.bias"].long().abs()
        if int(reach.max()) >= 1 << 30:
            raise ValueError(f"the sums of layer {name} could leave 32 bits")
        if name == "embed" or name.endswith(("depthwise", "attended", "reduce")):
            stream += int((reach >> tensors[f"{name}.shift"].long()).max()) + 1
    if stream >= 1 << 30:
        raise ValueError("the residual stream could leave 32 bits")
    for index in range(_blocks(tensors)):
        if int(tensors[f"{index}.bias"].long().abs().max()) > LARGEST_BIAS:
            raise ValueError(f"the attention scores of block {index} could leave 24 bits")


def _blocks(tensors: Tensors) -> int:
    return sum(name.endswith(".qkv.weight") for name in tensors)


class IntegerPrior:
    """Frequencies of masked codes, exactly.  ``tensors`` as ``export`` makes them."""

    def __init__(self, tensors: Tensors, device: str | torch.device = "cpu"):
        _check_bounds(tensors)
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        self.device = torch.device(device)
        self.dimensions = tensors["dimensions"].tolist()
        self.size, self.codewords, _ = tensors["codebook"].shape
        self.embed, self.mean, self.precision, self.free = (
            Exact(tensors, n) for n in ("embed", "mean", "precision", "free")
        )
        self._blocks = [IntegerBlock(tensors, index) for index in range(_blocks(tensors))]
        self.feature = tensors["feature"]  # (M, K, D)
        self.first = [sum(self.dimensions[:m]) for m in range(self.size + 1)]
        self.level = tensors["level"]
        self.features = [  # (2 d + 1, K) each
            torch.cat([words.square(), -2 * words, torch.ones_like(words[:, :1])], 1).T.contiguous()
            for words in (words[:, :d].double() for words, d in zip(tensors["codebook"], self.dimensions))
        ]
        self.one = torch.tensor(65536.0, dtype=torch.float64, device=device)  # in 16 fractional bits
        self.term = tensors["term"].float()
        self.static = tensors["static"].float()
        self.beta = torch.tensor(
            [round(2 ** (16 + s / 16)) for s in range(-256, 97)], dtype=torch.float64, device=device
        )

    @property
    def blocks(self) -> int:
        return len(self._blocks)

    def context(self, height: int, width: int, quality: int) -> "IntegerContext":
        return IntegerContext(self, height, width, quality)

    def blank(self, batch: int, height: int, width: int) -> Tensor:
        """Input of ``tokens`` with every code masked: int8 (B, h, w, F)."""
        return torch.zeros((batch, height, width, self.embed.weight.shape[1]), dtype=torch.int8, device=self.device)

    def reveal(self, inputs: Tensor, index: int, positions: Tensor | np.ndarray, codes: Tensor) -> None:
        """Make the codes (N,) of sub-quantizer ``index`` known at flat ``positions`` (N,) of ``inputs``, in place."""
        rows, channels = inputs.view(-1, inputs.shape[-1]), self.first[-1]
        first, last = self.first[index], self.first[index + 1]
        values = self.feature[index, :, : last - first][codes.long()]  # (N, d)
        rows[positions, first:last] = values
        rows[positions, channels + first : channels + last] = values.abs()
        rows[positions, 2 * channels + index] = 64

    def masked(self, codes: Tensor, known: Tensor) -> Tensor:
        """Input of ``tokens`` for codes (B, h, w, M) of which ``known`` (same shape, bool) are known."""
        inputs = self.blank(*codes.shape[:3])
        for index in range(self.size):
            positions = known[..., index].flatten().nonzero()[:, 0]
            self.reveal(inputs, index, positions, codes[..., index].flatten()[positions])
        return inputs

    def tokens(self, inputs: Tensor, quality: int, blocks: int | None = None) -> Tensor:
        """Hidden states int8 (B, h, w, d) of what is known, after the first `blocks` blocks (None: all)."""
        x = self.embed(inputs.flatten(0, 2)) + self.level[quality]
        x = x.view(*inputs.shape[:3], -1)
        for block in self._blocks[:blocks]:
            x = block(x)
        return activations(x)

    def tables(self, tokens: Tensor, coded: range, temperature: int = 16) -> Iterator[tuple[int, slice, Tensor]]:
        """Each sub-quantizer of ``coded`` with its cumulative frequencies at tokens (N, d), a slice n of them at a time.

        They are int32 (n, K + 1): as many as stay in the cache until whoever asked has used them.  ``temperature``,
        in sixteenths, is what logits are divided by; files are coded at 16.
        """
        dims = self.dimensions[coded.start : coded.stop]
        rows = slice(self.first[coded.start], self.first[coded.stop])
        rank = self.term.shape[1]
        mean = self.mean(tokens, rows).clamp_(-LARGEST_MEAN, LARGEST_MEAN).double()
        beta = self.beta[self.precision(tokens, rows).clamp_(-256, 96).long() + 256]
        free = narrow(self.free(tokens, slice(coded.start * rank, coded.stop * rank))).float().split(rank, 1)
        for index, f, b, m in zip(coded, free, beta.split(dims, 1), mean.split(dims, 1)):
            for start in range(0, len(tokens), ROWS):
                part = slice(start, start + ROWS)
                logits = torch.addmm(self.static[index], f[part], self.term[index])
                yield index, part, frequencies(logits.sub_(self._energy(index, b[part], m[part])), temperature)

    def _energy(self, index: int, beta: Tensor, mean: Tensor) -> Tensor:
        """sqrt(1 + 2 u) of the squared distances u of every codeword: whole float32 (N, K), 8 fractional bits."""
        moment = beta * mean
        sums = torch.cat([beta, moment, (moment * mean).sum(1, keepdim=True)], 1)  # 24 fractional bits
        u = (sums.mul_(2.0**-8) @ self.features[index]).floor_()  # 16 of them
        return torch.add(self.one, u, alpha=2, out=u).sqrt_().floor_().float()


def frequencies(logits: Tensor, temperature: int = 16) -> Tensor:
    """Cumulative frequencies int32 (N, K + 1) of whole logits (N, K) in bits with 8 fractional bits; none is zero."""
    deficit = (logits.amax(1, keepdim=True) - logits).clamp_(max=1 << 16).to(torch.int32)
    if temperature != 16:
        deficit = deficit.mul_(16).floor_divide_(temperature)
    mass = exp2(deficit.clamp_(max=4095)).cumsum(1, dtype=torch.float64)  # (N, K)
    codewords = logits.shape[1]
    total = mass[:, -1:].clone()
    table = torch.zeros(len(logits), codewords + 1, dtype=torch.int32, device=logits.device)
    table[:, 1:] = mass.mul_((1 << PRECISION) - codewords).div_(total).floor_()
    return table.add_(torch.arange(codewords + 1, device=logits.device, dtype=torch.int32))


class IntegerContext:
    """What an integer prior knows of one picture: a `coding.prior.Context`."""

    def __init__(self, prior: IntegerPrior, height: int, width: int, quality: int) -> None:
        self._prior, self._quality = prior, quality
        self._inputs = prior.blank(1, height, width)

    def reveal(self, m: int, positions: np.ndarray, codes: np.ndarray) -> None:
        self._prior.reveal(self._inputs, m, torch.from_numpy(positions), torch.from_numpy(codes).to(self._prior.device))

    def forget(self, positions: np.ndarray) -> None:
        self._inputs.view(-1, self._inputs.shape[-1])[torch.from_numpy(positions)] = 0

    def frequencies(
        self, coded: range, positions: np.ndarray, blocks: int | None = None, temperature: int = 16
    ) -> Iterator[tuple[int, slice, CumulativeFrequencies]]:
        tokens = self._prior.tokens(self._inputs, self._quality, blocks).flatten(0, 2)[torch.from_numpy(positions)]
        for m, part, table in self._prior.tables(tokens, coded, temperature):
            yield m, part, CumulativeFrequencies(table.cpu().numpy())


class IntegerBlock:
    """One block of the prior in integers: residual stream in, residual stream out, int32 (B, h, w, d)."""

    def __init__(self, tensors: Tensors, index: int):
        self.kernel = tensors[f"{index}.depthwise.weight"].float().T.contiguous()  # (9, d)
        self.shift = tensors[f"{index}.depthwise.shift"].to(torch.int32)
        self.half = torch.bitwise_left_shift(torch.ones_like(self.shift), self.shift) >> 1
        self.offset = index % 2 * (WINDOW // 2)
        self.qkv, self.attended, self.expand, self.reduce = (
            Exact(tensors, f"{index}.{n}") for n in ("qkv", "attended", "expand", "reduce")
        )
        pairs = relative_positions().to(self.kernel.device)
        self.bias = tensors[f"{index}.bias"][:, pairs].float()  # (heads, 64, 64)

    def __call__(self, x: Tensor) -> Tensor:
        """In place, some ``CHUNK`` tokens at a time: what lies between the layers stays in the cache."""
        depth = x.shape[-1]
        self.depthwise(x)
        mixed = self.attend(x).reshape(-1, depth)
        for rows, more in zip(x.view(-1, depth).split(CHUNK), mixed.split(CHUNK)):
            rows += self.attended(more)
            a, b = self.expand(to_activation(rows)).clamp_(-LIMIT, LIMIT).chunk(2, 1)
            rows += self.reduce(to_activation(a.clamp(min=0).mul_(b)))
        return x

    def depthwise(self, x: Tensor) -> None:
        """Add the convolution of the residual stream to it."""
        height, width = x.shape[1:3]
        padded = F.pad(activations(x), (0, 0, 1, 1, 1, 1))
        for top in range(0, height, count := max(1, CHUNK // width)):
            stream = x[:, top : top + count]
            part, total = padded[:, top : top + count + 2].float(), torch.zeros_like(stream, dtype=torch.float32)
            for tap, weight in enumerate(self.kernel):
                row, column = divmod(tap, 3)
                total.addcmul_(part[:, row : row + stream.shape[1], column : column + width], weight)
            stream += total.to(torch.int32).add_(self.half).bitwise_right_shift_(self.shift)

    def attend(self, x: Tensor) -> Tensor:
        """Attention inside windows of the residual stream: int8 (B, h, w, d)."""
        windows = to_windows(activations(x), self.offset)  # (W, 64, d)
        inside = to_windows(torch.ones_like(x[..., :1]), self.offset)[:, None, None, :, 0]  # (W, 1, 1, 64)
        parts = CHUNK // WINDOW**2
        mixed = [self._mix(*part) for part in zip(windows.split(parts), inside.split(parts))]
        return from_windows(torch.cat(mixed), *x.shape[1:3], self.offset)

    def _mix(self, windows: Tensor, inside: Tensor) -> Tensor:
        """Attention of windows (W, 64, d) over keys that are ``inside`` the grid: int8 (W, 64, d)."""
        heads = len(self.bias)
        qkv = narrow(self.qkv(windows.flatten(0, 1)))
        q, k, v = qkv.view(*windows.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4).float()
        scores = (q @ k.transpose(-1, -2)).add_(self.bias)  # (W, heads, 64, 64), 11 fractional bits
        if not inside.all():
            scores.masked_fill_(inside == 0, OUTSIDE)
        t = (scores.amax(-1, keepdim=True) - scores).clamp_(max=NOTHING).to(torch.int16).bitwise_right_shift_(3)
        weights = 512 - (t & 255)  # 256 x 2^-t, straight between powers of two
        weights = weights.bitwise_right_shift_(t.bitwise_right_shift_(8).add_(1)).float()
        total = weights.sum(-1, keepdim=True)  # 256..16384
        # a quotient is no nearer below a whole number than 2^-15, which float32 tells apart up to 128
        mixed = (weights @ v).mul_(2).add_(total).div_(2 * total).floor_()  # (W, heads, 64, d')
        return mixed.to(torch.int8).transpose(1, 2).flatten(2)

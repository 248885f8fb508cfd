"""Masked prior: a window transformer that predicts masked codes from known ones, in floats, for training.

Every layer is one that integers can reproduce (`spec`): no normalisation, activations clamped to what eight bits hold,
rectified gates, weights on a power-of-two grid a row. With `rounding` on, the forward pass rounds as the integers do and
gradients pass straight through (quantization-aware training).

::

    codes, known ── features of codewords ── linear ──► tokens (B, h, w, d) ── blocks ── linear ──►
    for each sub-quantizer: mean and precision in codeword space, and a free low-rank term
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pqmim.models.prior import spec
from pqmim.models.prior.spec import ACTIVATION, KNOWN, LIMIT, MEAN, SHIFT, WINDOW
from pqmim.models.quantizer import channels_of
from pqmim.models.transforms import blend

LN2 = math.log(2)  # attention weights are powers of two


@dataclass(frozen=True)
class PriorConfig:
    """Sizes of a prior.

    Attributes:
        width: d, the channels of a token.
        blocks: how many there are.
        heads: of the attention.
        hidden: units of the gated layer.
        rank: of the free term.
    """

    width: int = 256
    blocks: int = 5
    heads: int = 4
    hidden: int = 512
    rank: int = 8


class _Rounded(torch.autograd.Function):
    """A function of its own, since `x + (rounded - x).detach()` reads and writes large tensors twice as often."""

    @staticmethod
    def forward(context: Any, x: Tensor, bits: int) -> Tensor:
        return (x * 2.0**bits).round_().mul_(2.0**-bits)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def straight_through(x: Tensor, bits: int) -> Tensor:
    """Round to multiples of 2**-bits; the gradient passes as if nothing happened."""
    rounded: Tensor = _Rounded.apply(x, bits)  # type: ignore[no-untyped-call]
    return rounded


def activation(x: Tensor, rounding: bool) -> Tensor:
    """What int8 holds at `ACTIVATION` fractional bits."""
    reach = LIMIT * 2.0**-ACTIVATION
    x = F.hardtanh(x, -reach, reach)  # a clamp whose gradient is one pass over the tensor
    return straight_through(x, ACTIVATION) if rounding else x


def exponents(weight: Tensor) -> Tensor:
    """Fractional bits e of each row (out,): the most with which |w| 2**e fits int8, between 4 and 14."""
    return (LIMIT / weight.detach().abs().flatten(1).amax(1).clamp(min=1e-9)).log2().floor().clamp(4, 14)


def on_grid(weight: Tensor) -> Tensor:
    """Weights rounded to int8 times a power of two a row, straight-through."""
    scale = torch.exp2(exponents(weight)).view(-1, *[1] * (weight.ndim - 1))
    return weight + ((weight * scale).round().clamp(-LIMIT, LIMIT) / scale - weight).detach()


class Linear(nn.Module):
    """Linear layer whose weights can be held to their integer grid."""

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, rounding: bool) -> Tensor:
        """Outputs (..., n) of inputs (..., k); `rounding` holds the weights to their grid."""
        return F.linear(x, on_grid(self.weight) if rounding else self.weight, self.bias)


def to_windows(x: Tensor, shift: int) -> Tensor:
    """(B, h, w, d) to (B * windows, WINDOW**2, d), zero padded; `shift` moves the grid up and left."""
    batch, height, width, depth = x.shape
    down, right = -(height + shift) % WINDOW, -(width + shift) % WINDOW
    x = F.pad(x, (0, 0, shift, right, shift, down))
    rows, columns = x.shape[1] // WINDOW, x.shape[2] // WINDOW
    x = x.view(batch, rows, WINDOW, columns, WINDOW, depth).transpose(2, 3)
    return x.reshape(batch * rows * columns, WINDOW * WINDOW, depth)


def from_windows(x: Tensor, height: int, width: int, shift: int) -> Tensor:
    """Inverse of `to_windows`: (B, h, w, d)."""
    rows, columns = -(-(height + shift) // WINDOW), -(-(width + shift) // WINDOW)
    x = x.view(-1, rows, columns, WINDOW, WINDOW, x.shape[-1]).transpose(2, 3)
    x = x.reshape(len(x), rows * WINDOW, columns * WINDOW, x.shape[-1])
    return x[:, shift : shift + height, shift : shift + width]


class Block(nn.Module):
    """Depthwise 3x3, window attention, gated feed-forward: three residual branches that start near zero."""

    compiles = True  # see training.loop
    pairs: Tensor

    def __init__(self, config: PriorConfig, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = config.heads, shift
        self.depthwise = nn.Parameter(torch.randn(config.width, 1, 3, 3) * 0.02)
        self.qkv = Linear(config.width, 3 * config.width)
        self.bias = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, config.heads))
        self.attended = Linear(config.width, config.width, gain=0.1)
        self.expand = Linear(config.width, 2 * config.hidden)
        self.reduce = Linear(config.hidden, config.width, gain=0.1)
        self.register_buffer("pairs", torch.from_numpy(spec.relative_positions()), persistent=False)

    def forward(self, x: Tensor, rounding: bool) -> Tensor:
        """The residual stream (B, h, w, d) after the block."""
        kernel = on_grid(self.depthwise) if rounding else self.depthwise
        h = activation(x, rounding).permute(0, 3, 1, 2)
        x = x + F.conv2d(h, kernel, padding=1, groups=len(kernel)).permute(0, 2, 3, 1)
        x = x + self.attended(self.attend(activation(x, rounding), rounding), rounding)
        a, b = activation(self.expand(activation(x, rounding), rounding), rounding).chunk(2, -1)
        gain: Tensor = self.reduce(activation(F.relu(a) * b, rounding), rounding)
        return x + gain

    def attend(self, h: Tensor, rounding: bool) -> Tensor:
        """Attention inside windows of activations (B, h, w, d)."""
        height, width = h.shape[1:3]
        qkv = activation(self.qkv(h, rounding), rounding)
        inside = to_windows(torch.ones_like(h[..., :1]), self.shift)  # (W, 64, 1), 0 where padded
        windows = to_windows(qkv, self.shift)  # (W, 64, 3 d)
        qkv = windows.view(*windows.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, W, heads, 64, d')
        bias = self.bias[self.pairs].permute(2, 0, 1)  # (heads, 64, 64)
        bias = bias + (inside.transpose(1, 2)[:, None] - 1) * 64.0  # (W, heads, 64, 64)
        out = F.scaled_dot_product_attention(
            qkv[0], qkv[1], qkv[2], attn_mask=(bias * LN2).to(qkv.dtype), scale=LN2 * 2.0**-3
        )
        return activation(from_windows(out.transpose(1, 2).flatten(2), height, width, self.shift), rounding)


class MaskedPrior(nn.Module):
    """Conditional entropy model of codes (B, h * w, M), for a product quantizer's codebooks.

    Means are predicted in codebook units, clamped to +-255; precisions as log2 of the inverse squared scale, in
    [-16, 6].

    Args:
        config: sizes.
        codebook: (M, K, D) of the quantizer, zero padded.
        dimensions: (M,) of its sub-quantizers.
        rates: the number of rates between which the dial interpolates.

    Attributes:
        rounding: the forward pass rounds as the integers do.
    """

    codebook: Tensor
    used: Tensor
    feature: Tensor

    def __init__(self, config: PriorConfig, codebook: Tensor, dimensions: list[int], rates: int) -> None:
        super().__init__()
        self.config, self.dimensions = config, list(dimensions)
        size, codewords, width = codebook.shape
        self.rounding = False
        self.register_buffer("codebook", (codebook.detach() * 2**MEAN).round() / 2**MEAN)
        used = (torch.arange(width) < torch.tensor(dimensions)[:, None]).flatten()
        self.register_buffer("used", used.nonzero()[:, 0], persistent=False)  # (C,) slots of the padded (M * D)
        self.register_buffer("feature", codeword_features(self.codebook), persistent=False)  # (M, K, D) of float
        self.embed = Linear(2 * sum(dimensions) + size, config.width, gain=0.5)
        self.level = nn.Parameter(torch.randn(rates, config.width) * 0.1)
        self.blocks = nn.ModuleList(Block(config, shift=i % 2 * SHIFT) for i in range(config.blocks))
        self.mean = Linear(config.width, sum(dimensions), gain=0.1)
        self.precision = Linear(config.width, sum(dimensions), gain=0.1)
        self.free = Linear(config.width, size * config.rank, gain=0.5)
        self.term = nn.Parameter(torch.randn(size, config.rank, codewords) * 0.05)
        self.static = nn.Parameter(torch.zeros(size, codewords))

    @torch.no_grad()
    def start(self, log2_probability: Tensor) -> None:
        """Start at static frequencies: their logarithms (R, M, K) to base 2, averaged over the rates."""
        p = log2_probability.exp2().mean(0)  # (M, K)
        variance = (p[..., None] * self.codebook.square()).sum(1).flatten()[self.used].clamp(min=2.0**-6)  # (C,)
        self.precision.bias.copy_((-2 - variance.log2()).clamp(-15, 5))
        beta = torch.zeros(self.codebook[:, 0].numel(), device=p.device)
        beta[self.used] = self.precision.bias.exp2()
        distance = torch.einsum("md,mkd->mk", beta.view(len(p), -1), self.codebook.square())
        self.static.copy_((p.clamp(min=2.0**-16).log2() + (1 + 2 * distance).sqrt() - 1).clamp(-60, 60))

    def tokens(
        self, codes: Tensor, known: Tensor, rate: Tensor, height: int, blocks: Tensor | int | None = None
    ) -> Tensor:
        """Hidden states of pictures.

        Args:
            codes: (B, h * w, M).
            known: which of them are known, of the same shape, bool.
            rate: fractional rates (B,).
            height: h.
            blocks: how many blocks run, the first ones, for all pictures or for each (B,); None: all.

        Returns:
            (B, h, w, d).
        """
        owner = self.used // self.feature.shape[2]
        values = channels_of(self.feature, codes, self.used) * known[..., owner]  # (B, h * w, C)
        inputs = torch.cat([values, values.abs(), known.to(values.dtype) * (KNOWN / 2**ACTIVATION)], -1)
        x: Tensor = self.embed(inputs, self.rounding) + blend(self.level, rate).flatten(1)[:, None]
        x = x.view(len(x), height, -1, x.shape[-1])
        if isinstance(blocks, Tensor):
            x = self._through_each(x, blocks.tolist())
        else:
            for block in self.blocks[:blocks]:
                x = block(x, self.rounding)
        return activation(x, self.rounding)

    def _through_each(self, x: Tensor, depths: list[int]) -> Tensor:
        """Pictures (B, h, w, d) through as many blocks each: deepest first, so that those that go on are together."""
        order = sorted(range(len(depths)), key=lambda row: -depths[row])
        x, done = x[order], []
        for index, block in enumerate(self.blocks):
            going = sum(depth > index for depth in depths)
            x, ended = x.tensor_split([going])
            done.append(ended)
            if going:
                x = block(x, self.rounding)
        place = torch.tensor(order, device=x.device).argsort()
        return torch.cat([x, *reversed(done)])[place]

    def logits(self, tokens: Tensor, coded: range) -> Tensor:
        """Log2-probabilities, up to a constant, of sub-quantizers `coded` at tokens (N, d): (N, len(coded), K)."""
        with torch.autocast(tokens.device.type, enabled=False):  # means need more than bfloat16 holds
            return self._logits(tokens.float(), coded)

    def _moments(self, tokens: Tensor, coded: range) -> tuple[Tensor, Tensor]:
        """Means and inverse squared scales of the channels of `coded`: (N, c) each."""
        rows = slice(sum(self.dimensions[: coded.start]), sum(self.dimensions[: coded.stop]))
        mean = self._rows(self.mean, tokens, rows).clamp(-255, 255)
        precision = self._rows(self.precision, tokens, rows).clamp(-16, 6)
        if self.rounding:
            mean, precision = straight_through(mean, MEAN), straight_through(precision, 4)
        return mean, torch.exp2(precision)

    def logits_of(self, tokens: Tensor, coded: range, codes: Tensor) -> Tensor:
        """Those of `logits` that `codes` (F, N, len(coded)) choose, and no others worked out: of that shape."""
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.float()
            mean, beta = self._moments(tokens, coded)
            words, slot, owner = self._words(coded)
            energy = ((channels_of(words, codes, slot) - mean).square_() * beta) @ owner  # (F, N, m)
            free, term = self._free(tokens, coded)
            which = torch.arange(len(coded), device=codes.device)
            extra = (term.transpose(1, 2)[which, codes] * free).sum(-1)  # (F, N, m)
            extra = extra + self.static[coded.start : coded.stop][which, codes]
            return extra - ((1 + 2 * energy).sqrt() - 1)

    def _logits(self, tokens: Tensor, coded: range) -> Tensor:
        mean, beta = self._moments(tokens, coded)
        words, slot, owner = self._words(coded)
        padded = tokens.new_zeros((2, len(tokens), words[:, 0].numel()), dtype=torch.float32)
        padded = padded.index_copy(2, slot, torch.stack([beta, beta * mean])).view(2, len(tokens), *words[:, 0].shape)
        squares = torch.einsum("nmd,mkd->nmk", padded[0], words.square())
        centre = (beta * mean.square()) @ owner
        energy = (squares - 2 * torch.einsum("nmd,mkd->nmk", padded[1], words) + centre[..., None]).clamp(min=0)
        free, term = self._free(tokens, coded)
        extra = torch.einsum("nmr,mrk->nmk", free, term) + self.static[coded.start : coded.stop]
        return extra - ((1 + 2 * energy).sqrt() - 1)

    def _words(self, coded: range) -> tuple[Tensor, Tensor, Tensor]:
        """Codewords (m, K, D) of `coded`, as wide as they are; slots (c,) in (m * D) of channels; whose these are, (c, m)."""
        dims, device = self.dimensions[coded.start : coded.stop], self.codebook.device
        width = max(dims)
        used = torch.arange(width, device=device) < torch.tensor(dims, device=device)[:, None]
        slot = used.flatten().nonzero()[:, 0]
        return self.codebook[coded.start : coded.stop, :, :width], slot, F.one_hot(slot // width, len(dims)).float()

    def _free(self, tokens: Tensor, coded: range) -> tuple[Tensor, Tensor]:
        """Factors (N, m, rank) and (m, rank, K) of the free term."""
        rank = self.config.rank
        free = self._rows(self.free, tokens, slice(coded.start * rank, coded.stop * rank))
        free = activation(free, self.rounding).view(len(tokens), len(coded), rank)
        term = self.term[coded.start : coded.stop]
        return free, straight_through(term.clamp(-7.9, 7.9), ACTIVATION) if self.rounding else term

    def _rows(self, layer: Linear, x: Tensor, rows: slice) -> Tensor:
        weight = layer.weight[rows]
        return F.linear(x, on_grid(weight) if self.rounding else weight, layer.bias[rows])


def codeword_features(codebook: Tensor) -> Tensor:
    """Codewords (M, K, D) scaled by a power of two a dimension to fill int8, at `ACTIVATION` fractional bits."""
    return (codebook * feature_scale(codebook)).round() * 2.0**-ACTIVATION


def feature_scale(codebook: Tensor) -> Tensor:
    """The power of two of each dimension (M, 1, D) with which codewords (M, K, D) fill int8."""
    reach = codebook.abs().amax(1, keepdim=True).clamp(min=2.0**-MEAN)
    return torch.exp2((LIMIT / reach).log2().floor())

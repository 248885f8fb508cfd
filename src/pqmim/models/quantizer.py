"""Product quantizer: M sub-quantizers of K codewords, with dimensions from the spectrum.

A position's latent is split into M sub-vectors of unequal size and each is replaced by one of K
codewords.  Codebooks start on the scalar grid, so the product
quantizer contains the scalar one: leading channels stand alone, and trailing channels, whose
integers are mostly zero, share a sub-quantizer as long as their joint alphabet fits in K.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pqmim.models.transforms import blend

FEW = 4  # sub-quantizers assigned at a time: neighbours are of about one width, and (B, n, 4, K) stays small


class ProductQuantizer(nn.Module):
    """Codebooks of `dimensions` (M sizes), over latent channels in `order`, for L rate levels.

    `log_gain` and `log_step` (L, C) scale the latent into and out of codebook units, in which
    neighbouring codewords are about 1 apart; below level 0 they are prolonged.  `codebook` (M, K, D) is zero padded to the largest D;
    `log2_probability` (L + 1, M, K) are the static frequencies of each rate (see `level_of_rate`).
    """

    order: Tensor
    slot: Tensor
    log2_probability: Tensor

    def __init__(self, order: Tensor, dimensions: list[int], codewords: int, levels: int):
        super().__init__()
        self.dimensions = list(dimensions)
        self.codewords = codewords
        channels, size, width = len(order), len(dimensions), max(dimensions)
        self.register_buffer("order", order.long())
        self.register_buffer("slot", _slots(self.dimensions, width))  # (C,) place of each ordered channel in (M * D)
        self.log_gain = nn.Parameter(torch.zeros(levels, channels))
        self.log_step = nn.Parameter(torch.zeros(levels, channels))
        self.codebook = nn.Parameter(torch.zeros(size, codewords, width))
        self.register_buffer("log2_probability", torch.zeros(levels + 1, size, codewords))

    def scaled(self, z: Tensor, level: Tensor) -> Tensor:
        """Latent (B, C, h, w) in codebook units, channels in order: (B, h*w, C)."""
        return (z.float() * gain_of(self.log_gain, level))[:, self.order].flatten(2).transpose(1, 2)

    def restored(self, y: Tensor, level: Tensor, height: int) -> Tensor:
        """Inverse of `scaled`, up to what `log_step` learned: a latent (B, C, h, w)."""
        z = torch.empty_like(y.transpose(1, 2))
        z[:, self.order] = y.transpose(1, 2)
        return z.view(*z.shape[:2], height, -1) * gain_of(self.log_step, level)

    def slope(self, gradient: Tensor, level: Tensor) -> Tensor:
        """What a gradient by latents (B, C, h, w) is by the codewords (B, h*w, C) that `restored` takes."""
        return (gradient * gain_of(self.log_step, level))[:, self.order].flatten(2).transpose(1, 2)

    def split(self, z: Tensor, level: Tensor) -> Tensor:
        """Latent (B, C, h, w) to sub-vectors in codebook units (B, h*w, M, D), zero padded."""
        return self.padded(self.scaled(z, level))

    def weights(self, level: Tensor) -> Tensor:
        """What a unit of squared error in codebook units is worth in squared pixel error: (B, M, D)."""
        return self.padded(self.worth(level))

    def worth(self, level: Tensor) -> Tensor:
        """The same for each channel, in order: (B, C)."""
        return gain_of(self.log_step, level)[:, self.order, 0, 0].square()

    def lookup(self, codes: Tensor) -> Tensor:
        """Codewords of codes (B, h*w, M), channels in order as `restored` takes them: (B, h*w, C)."""
        return channels_of(self.codebook, codes, self.slot)

    def distances(self, vectors: Tensor, weights: Tensor, which: slice = slice(None)) -> Tensor:
        """Squared error, in pixel units, of every codeword of the sub-quantizers `which`, less that of the zero vector.

        `vectors` (B, n, m, D) and `weights` (B, m, D) are those of `split` and `weights`; (B, n, m, K).
        """
        width = max(self.dimensions[which])
        words, weights = self.codebook[which, :, :width], weights[..., :width]
        energy = torch.einsum("bmd,mkd->bmk", weights, words.square())
        pulled = vectors[..., :width] * (-2 * weights[:, None])
        return torch.einsum("bnmd,mkd->bnmk", pulled, words).add_(energy[:, None])

    @torch.no_grad()
    def assign(self, z: Tensor, rate: Tensor, price: Tensor, active: Tensor | None = None) -> Tensor:
        """Entropy-constrained codes (B, h*w, M): least squared error + `price` (B,) x bits.

        The bits are those of the static frequencies at each `rate` (B,); `price` 0 is nearest-codeword.
        Sub-quantizers from `active` (B,) on get codeword 0, which stands for "not sent".
        """
        codes = torch.zeros(len(z), z.shape[2] * z.shape[3], len(self.dimensions), dtype=torch.long, device=z.device)
        for which, sent, cost, _ in self._costs(z, rate, price, active):
            codes[sent, :, which] = cost.argmin(-1)
        return codes if active is None else codes * self.sent(active)

    @torch.no_grad()
    def candidates(
        self, z: Tensor, rate: Tensor, price: Tensor, count: int, active: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The `count` codes (count, B, h*w, M) that cost least, the best first, as in `assign`; and their bits."""
        shape = count, len(z), z.shape[2] * z.shape[3], len(self.dimensions)
        codes = torch.zeros(shape, dtype=torch.long, device=z.device)
        bits = torch.zeros(shape, dtype=torch.float32, device=z.device)
        for which, sent, cost, static in self._costs(z, rate, price, active):
            best = cost.topk(count, -1, largest=False).indices  # (b, n, m, count)
            codes[:, sent, :, which] = best.permute(3, 0, 1, 2)
            bits[:, sent, :, which] = static.expand_as(cost).gather(-1, best).permute(3, 0, 1, 2)
        return (codes, bits) if active is None else (codes * self.sent(active), bits * self.sent(active))

    def _costs(
        self, z: Tensor, rate: Tensor, price: Tensor, active: Tensor | None
    ) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """Some sub-quantizers, images (B,) that send them, and for those what codewords cost (b, n, m, K), and their bits."""
        level = level_of_rate(rate)
        vectors, weights = self.split(z, level), self.weights(level)
        bits = -blend(self.log2_probability.flatten(1), rate).view(len(z), 1, *self.codebook.shape[:2])
        priced = price[:, None, None, None] * bits  # (B, 1, M, K)
        size = len(self.dimensions)
        active = torch.full_like(price, size) if active is None else active
        for start in range(0, size, FEW):
            which, sent = slice(start, start + FEW), active > start  # images of lower rates are done sooner
            if sent.any():
                cost = self.distances(vectors[:, :, which][sent], weights[:, which][sent], which)
                yield which, sent, cost.add_(priced[:, :, which][sent]), bits[:, :, which][sent]

    def sent(self, active: Tensor) -> Tensor:
        """Which sub-quantizers are sent, where `active` (B,) of them are: (B, 1, M) of bool."""
        return torch.arange(len(self.dimensions), device=active.device) < active[:, None, None]

    def padded(self, channels: Tensor) -> Tensor:
        """(..., C) in order to (..., M, D)."""
        size, width = len(self.dimensions), max(self.dimensions)
        padded = channels.new_zeros(*channels.shape[:-1], size * width)
        padded[..., self.slot] = channels
        return padded.view(*channels.shape[:-1], size, width)


def channels_of(table: Tensor, codes: Tensor, slot: Tensor) -> Tensor:
    """Entries of a padded `table` (M, K, D) that codes (B, n, M) choose, less the padding: (B, n, C).

    `slot` (C,) are the places in (M * D) that are used.  To gather rows of D first would move many times as much.
    """
    _, codewords, width = table.shape
    rows = table.transpose(1, 2).flatten(0, 1)[slot]  # (C, K)
    return rows.take(codes[..., slot // width].long() + torch.arange(len(slot), device=codes.device) * codewords)


def prolonged(table: Tensor, level: Tensor) -> Tensor:
    """The rows of `table` (L, C) at fractional levels (B,), which go on below 0 on the line of the first two: (B, C, 1, 1)."""
    beyond = level.clamp(max=0)[:, None, None, None].to(table.dtype)
    return blend(table, level) + beyond * (table[min(1, len(table) - 1)] - table[0])[:, None, None]


def gain_of(table: Tensor, level: Tensor) -> Tensor:
    """Gains (B, C, 1, 1) of logarithms `table` (L, C) at fractional levels (B,).

    On a processor in float64 on the way: exponentials in float32 have other last digits on other processors.
    """
    if table.device.type != "cpu":
        return prolonged(table, level).exp()
    return prolonged(table.double(), level.double()).exp().to(table.dtype)


def level_of_rate(rate: Tensor) -> Tensor:
    """Fractional level at fractional rates, 0 the highest.

    Rates below 1 have levels below 0: there transforms stay at level 0, and the quantizer's gains go on (see `prolonged`).
    """
    return rate - 1


def _slots(dimensions: list[int], width: int) -> Tensor:
    return torch.tensor([m * width + d for m, count in enumerate(dimensions) for d in range(count)])


def allocate(entropies: Tensor, bits: float, most: int) -> list[int]:
    """Dimensions of each sub-quantizer: consecutive channels whose entropies (C,) add up to about `bits`.

    A channel that alone carries more stands alone; no sub-quantizer holds more than `most` channels.
    """
    dimensions, total = [0], 0.0
    for entropy in entropies.tolist():
        if dimensions[-1] and (total + entropy > bits or dimensions[-1] >= most):
            dimensions.append(0)
            total = 0.0
        dimensions[-1] += 1
        total += entropy
    return dimensions

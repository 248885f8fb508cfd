"""Product quantizer: M sub-quantizers of K codewords, with dimensions from the spectrum.

A position's latent is split into M sub-vectors of unequal size and each is replaced by one of K
codewords (El-Nouby et al. 2023, section 3.1).  Codebooks start on the scalar grid, so the product
quantizer contains the scalar one: leading channels stand alone, and trailing channels, whose
integers are mostly zero, share a sub-quantizer as long as their joint alphabet fits in K.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pqmim.models.transforms import blend

FEW = 4  # sub-quantizers assigned at a time: neighbours are of about one width, and (B, n, 4, K) stays small


class ProductQuantizer(nn.Module):
    """Codebooks of ``dimensions`` (M sizes), over latent channels in ``order``, for L rate levels.

    ``log_gain`` and ``log_step`` (L, C) scale the latent into and out of codebook units, in which
    neighbouring codewords are about 1 apart.  ``codebook`` (M, K, D) is zero padded to the largest D;
    ``log2_probability`` (L + 1, M, K) are the static frequencies of each rate (see ``level_of_rate``).
    """

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
        return (z.float() * blend(self.log_gain, level).exp())[:, self.order].flatten(2).transpose(1, 2)

    def restored(self, y: Tensor, level: Tensor, height: int) -> Tensor:
        """Inverse of ``scaled``, up to what ``log_step`` learned: a latent (B, C, h, w)."""
        z = torch.empty_like(y.transpose(1, 2))
        z[:, self.order] = y.transpose(1, 2)
        return z.unflatten(2, (height, -1)) * blend(self.log_step, level).exp()

    def split(self, z: Tensor, level: Tensor) -> Tensor:
        """Latent (B, C, h, w) to sub-vectors in codebook units (B, h*w, M, D), zero padded."""
        return self._padded(self.scaled(z, level))

    def weights(self, level: Tensor) -> Tensor:
        """What a unit of squared error in codebook units is worth in squared pixel error: (B, M, D)."""
        step = blend(self.log_step, level).exp()[:, self.order, 0, 0]
        return self._padded(step.square())

    def merge(self, vectors: Tensor, level: Tensor, height: int) -> Tensor:
        """Inverse of ``split``: (B, h*w, M, D) to a latent (B, C, h, w)."""
        return self.restored(vectors.flatten(2)[..., self.slot], level, height)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codewords (B, h*w, M, D) of codes (B, h*w, M)."""
        size = len(self.dimensions)
        flat = codes.long() + torch.arange(size, device=codes.device) * self.codewords
        return F.embedding(flat, self.codebook.flatten(0, 1))

    def distances(self, vectors: Tensor, weights: Tensor, which: slice = slice(None)) -> Tensor:
        """Squared error, in pixel units, of every codeword of the sub-quantizers ``which``, less that of the zero vector.

        ``vectors`` (B, n, M, D) and ``weights`` (B, M, D) as ``split`` and ``weights`` give them; (B, n, m, K).
        """
        width = max(self.dimensions[which])
        words, weights = self.codebook[which, :, :width], weights[:, which, :width]
        energy = torch.einsum("bmd,mkd->bmk", weights, words.square())
        return energy[:, None] - 2 * torch.einsum(
            "bnmd,mkd->bnmk", vectors[:, :, which, :width] * weights[:, None], words
        )

    @torch.no_grad()
    def assign(self, z: Tensor, rate: Tensor, price: Tensor, active: Tensor | None = None) -> Tensor:
        """Entropy-constrained codes (B, h*w, M): least squared error + ``price`` (B,) x bits.

        The bits are those of the static frequencies at each ``rate`` (B,); ``price`` 0 is nearest-codeword.
        Sub-quantizers from ``active`` (B,) on get codeword 0, which stands for "not sent".
        """
        level = level_of_rate(rate)
        vectors, weights = self.split(z, level), self.weights(level)
        bits = -blend(self.log2_probability.flatten(1), rate).view(len(z), 1, *self.codebook.shape[:2])
        cost = price[:, None, None, None] * bits  # (B, 1, M, K)
        codes = []
        for start in range(0, len(self.dimensions), FEW):
            which = slice(start, start + FEW)
            codes.append((self.distances(vectors, weights, which) + cost[:, :, which]).argmin(-1))
        found = torch.cat(codes, 2)
        if active is not None:
            found = found * (torch.arange(found.shape[-1], device=found.device) < active[:, None, None])
        return found

    def _padded(self, channels: Tensor) -> Tensor:
        """(..., C) in order to (..., M, D)."""
        size, width = len(self.dimensions), max(self.dimensions)
        padded = channels.new_zeros(*channels.shape[:-1], size * width)
        padded[..., self.slot] = channels
        return padded.unflatten(-1, (size, width))


def level_of_rate(rate: Tensor) -> Tensor:
    """Fractional level of gains at fractional rates, 0 the highest: rates 0 to 1 share level 0 and differ in price alone."""
    return (rate - 1).clamp(min=0)


def _slots(dimensions: list[int], width: int) -> Tensor:
    return torch.tensor([m * width + d for m, count in enumerate(dimensions) for d in range(count)])


def allocate(entropies: Tensor, bits: float, most: int) -> list[int]:
    """Dimensions of each sub-quantizer: consecutive channels whose entropies (C,) add up to about ``bits``.

    A channel that alone carries more stands alone; no sub-quantizer holds more than ``most`` channels.
    """
    dimensions, total = [0], 0.0
    for entropy in entropies.tolist():
        if dimensions[-1] and (total + entropy > bits or dimensions[-1] >= most):
            dimensions.append(0)
            total = 0.0
        dimensions[-1] += 1
        total += entropy
    return dimensions

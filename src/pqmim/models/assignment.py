"""Which codes the encoder sends: the cheapest for the latent, then refined against the pixels.

Entropy-constrained choice (Chou, Lookabaugh and Gray 1989) takes each codeword by its distance to the
latent and its bits, as if errors of the latent were errors of pixels that never meet.  They do meet:
the synthesis is no orthonormal basis, and what one code leaves wrong its neighbours can mend.  So the
encoder may refine its choice, as Yang, Bamler and Mandt (2020) refine latents.  Each code is a soft
choice among the few codewords that were cheapest, with probabilities 2^-(error / price + bits); the
picture's squared error, linearised about the mean of these, says where the latent should aim; and the
aim moves there by small steps, since what neighbours mend together they would overdo alone.  In the
end each code is the likeliest.  Nothing of this concerns the decoder.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pqmim.coding.range_coder import PRECISION
from pqmim.models.product_quantizer import ProductQuantizer, level_of_rate
from pqmim.models.transforms import STRIDE, in_strips
from pqmim.models.weights import Weights

LN2 = 0.6931471805599453
FEW = 4  # cheapest codewords, among which refinement chooses: more gain nothing (docs/lab-notes.md)
STEP = 0.07  # of the way to where the pixels pull: neighbours that mend one error together would overdo it
PRICE = 1.5  # of a bit while refining, relative to its price before: files stay about as long, and are better
TILE, MARGIN = 48, 4  # latent positions refined at once, to bound memory, and those around them that are looked at


class Assignment:
    """The choice of codes (M, h * w) for a picture (1, 3, H, W) of uint8 at a quality.

    ``refinable`` keeps what ``refined`` needs of every choice that ``cheapest`` makes.
    """

    def __init__(self, weights: Weights, image: Tensor, quality: int, refinable: bool = False):
        self.weights, self.refinable = weights, refinable
        self.price = weights.prices[quality]
        self.level = level_of_rate(torch.tensor([weights.rates[quality]], device=image.device))
        z = in_strips(weights.analysis, _padded(image.float()), self.level, STRIDE, 1)
        self.height, self.width = z.shape[2:]
        quantizer = weights.quantizer
        self.latent = quantizer.scaled(z, self.level)[0]  # (h * w, C)
        self.worth = quantizer.worth(self.level)  # (1, C)
        self._latents = self.latent.split(quantizer.dimensions, 1)
        self._worths = self.worth[0].split(quantizer.dimensions)
        shape = FEW, len(self.latent), len(quantizer.dimensions)
        if refinable:
            self.candidates = torch.zeros(shape, dtype=torch.uint8, device=image.device)
            self.bits = torch.zeros(shape, dtype=torch.half, device=image.device)
            self.image = image

    def cheapest(self, m: int, positions: np.ndarray, table: Tensor) -> Tensor:
        """Codes (n,) of sub-quantizer ``m``, by the frequencies (n, K + 1) that the decoder will have."""
        bits = PRECISION - table.diff().float().log2()  # (n, K)
        words, worth = self.weights.quantizer.codebook[m, :, : len(self._worths[m])], self._worths[m]
        error = words.square() @ worth - 2 * (self._latents[m][positions] * worth) @ words.T  # less what all share
        cost = error + self.price * bits  # (n, K)
        if not self.refinable:
            return cost.argmin(1)
        few = cost.topk(FEW, 1, largest=False).indices  # (n, FEW)
        self.candidates[:, positions, m] = few.T.to(torch.uint8)
        self.bits[:, positions, m] = bits.gather(1, few).T.half()
        return few[:, 0]

    def refined(self, steps: int) -> Tensor:
        """Codes (M, h * w), after ``cheapest`` chose all that are sent."""
        codes = torch.empty_like(self.candidates[0])  # (h * w, M)
        index = torch.arange(len(self.latent), device=codes.device).view(self.height, self.width)
        aim = self.latent.clone()  # (h * w, C)
        for rows, columns in _tiles(self.height, self.width):
            top, left = max(0, rows.start - MARGIN), max(0, columns.start - MARGIN)
            seen = index[top : rows.stop + MARGIN, left : columns.stop + MARGIN]
            inside = torch.zeros_like(seen, dtype=torch.bool)
            inside[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = True
            inside, at = inside.flatten(), seen.flatten()
            image = self.image[..., top * STRIDE :, left * STRIDE :][
                ..., : len(seen) * STRIDE, : seen.shape[1] * STRIDE
            ]
            choice = SoftChoice(
                self.weights.quantizer,
                self.candidates[:, None, at],
                self.bits[:, None, at].float(),
                torch.tensor([PRICE * self.price], device=at.device),
                self.worth,
            )
            near = aim[None, at]
            for _ in range(steps):
                mean = choice.mean(near)
                pulled = moved(near, mean, self._slope(mean, image, len(seen)), self.worth)
                near = torch.where(inside[:, None], pulled, near)
            aim[at] = near[0]
            codes[at[inside]] = choice.likeliest(near)[0, inside]
        return codes.T

    def _slope(self, y: Tensor, image: Tensor, rows: int) -> Tensor:
        """Of the squared error of ``image`` (1, 3, H, W), with respect to codewords (1, n, C) in so many rows."""
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            z = self.weights.quantizer.restored(y, self.level, rows)
            decoded = self.weights.synthesis(z, self.level)
            error = (decoded[..., : image.shape[2], : image.shape[3]] - image).square().sum()
            return torch.autograd.grad(error, y)[0]


class SoftChoice:
    """A soft choice of codes of B pictures among ``candidates`` (F, B, n, M) that take ``bits`` of the same shape.

    Squared errors are weighed by ``worth`` (B, C), in pixel units, and ``price`` (B,) of them is one bit.
    """

    def __init__(self, quantizer: ProductQuantizer, candidates: Tensor, bits: Tensor, price: Tensor, worth: Tensor):
        self.candidates, self.bits = candidates, bits
        self.words = quantizer.lookup(candidates)  # (F, B, n, C)
        self.worth = worth[:, None] / price[:, None, None]  # (B, 1, C), in bits
        owner = quantizer.slot // quantizer.codebook.shape[2]
        self.sums = torch.eye(len(quantizer.dimensions), device=bits.device)[owner]  # (C, M)

    def cost(self, aim: Tensor) -> Tensor:
        """Bits and error in bits (F, B, n, M) of every candidate, where the latent aims at (B, n, C)."""
        return (self.words - aim).square().mul_(self.worth) @ self.sums + self.bits

    def mean(self, aim: Tensor) -> Tensor:
        """Mean codewords (B, n, C) of the soft choice."""
        chosen = (-LN2 * self.cost(aim)).softmax(0)  # (F, B, n, M)
        return (chosen @ self.sums.T).mul_(self.words).sum(0)

    def likeliest(self, aim: Tensor) -> Tensor:
        """Codes (B, n, M)."""
        return self.candidates.gather(0, self.cost(aim).argmin(0, keepdim=True))[0]


def moved(aim: Tensor, mean: Tensor, slope: Tensor, worth: Tensor) -> Tensor:
    """The aim (B, n, C), a step towards where pixels pull the ``mean`` choice: their error has ``slope`` (B, n, C) there."""
    return aim + STEP * (mean - slope / (2 * worth[:, None]) - aim)


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of parts of about one size, ``TILE`` at most on each side."""

    def cut(length: int) -> list[slice]:
        parts = -(-length // TILE)
        return [slice(i * length // parts, (i + 1) * length // parts) for i in range(parts)]

    for rows in cut(height):
        for columns in cut(width):
            yield rows, columns


def _padded(image: Tensor) -> Tensor:
    """(1, 3, H, W), edges repeated up to multiples of 16."""
    height, width = image.shape[2:]
    return torch.nn.functional.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")

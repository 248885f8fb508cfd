"""Which codes the encoder sends: those of least squared error + price x bits, for an aim refined against the pixels.

Entropy-constrained choice (Chou, Lookabaugh and Gray 1989) takes each codeword by its distance to the
latent and its bits, as if errors of the latent were errors of pixels that never meet.  They do meet:
the synthesis is no orthonormal basis, and what one code leaves wrong its neighbours can mend.  So the
encoder refines what the codes aim at, as Yang, Bamler and Mandt (2020) refine latents.  Each code is a
soft choice among the few codewords that are cheapest by static frequencies, with probabilities
2^-(error / price + bits), of a lower price and a part of the bits: by all of them the mean of the choice
would shrink towards what is frequent, and aims would overshoot to make up for it.  The picture's squared
error, linearised about that mean, says where the codes should aim; and the aim moves there by steps that
get smaller, since what neighbours mend together they would overdo alone.  Then the file is coded once:
each code is the cheapest for its aim by the bits that the decoder will count.  Nothing of this concerns
the decoder.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from pqmim.coding.prior import Frequencies
from pqmim.models.quantizer import ProductQuantizer, level_of_rate
from pqmim.models.transforms import STRIDE, in_strips
from pqmim.release import Weights

LN2 = 0.6931471805599453
FEW = 8  # cheapest codewords by static frequencies, among which all choices are made
LIKELIEST = 4  # of them, whose mean stands for the picture while aims move
SOFT_PRICE, SOFT_BITS = 2 / 3, 0.375  # of a bit, and the part of the bits that counts, in the soft choice
FIRST_STEP, LAST_STEP = 0.3, 0.1  # of the way to where the pixels pull
LAST_PRICE = 0.75  # of a bit, for a refined aim: it has kept away from what costs too much already
TILE, MARGIN = 64, 4  # latent positions worked on at once, to bound memory, and those around them that are looked at
FARTHEST = 60000.0  # error in bits that half precision still holds

Tile = tuple[slice, slice]  # rows and columns of latent positions


class Assignment:
    """The choice of codes (M, h * w) for a picture (1, 3, H, W) of uint8 at a quality, refined in so many ``steps``."""

    def __init__(self, weights: Weights, image: Tensor, quality: int, steps: int = 0):
        self.weights, self.steps = weights, steps
        self.rate = torch.tensor([weights.rates[quality]], device=image.device)
        self.price = torch.tensor([weights.prices[quality]], device=image.device)
        self.active = torch.tensor([weights.active[quality]], device=image.device)
        self.level = level_of_rate(self.rate)
        z = in_strips(weights.analysis, _padded(image.float()), self.level, STRIDE, 1)
        self.height, self.width = z.shape[2:]
        quantizer = weights.quantizer
        shape = len(quantizer.dimensions), self.height, self.width, min(FEW, quantizer.codewords)
        self._few = torch.empty(shape, dtype=torch.uint8, device=z.device)
        self._errors = torch.empty(shape, dtype=torch.half, device=z.device)  # in bits
        for tile, seen in _tiles(self.height, self.width, MARGIN if steps else 0):
            self._choose_few(z, image, tile, seen)
        self._few, self._errors = self._few.flatten(1, 2), self._errors.flatten(1, 2)  # (M, h * w, F)

    def cheapest(self, m: int, positions: np.ndarray, frequencies: Frequencies) -> np.ndarray:
        """Codes (n,) of sub-quantizer ``m`` at positions (n,), by the frequencies that the decoder will have."""
        at = torch.from_numpy(positions).to(self._few.device)
        few = self._few[m].index_select(0, at)  # (n, F)
        sizes = torch.from_numpy(frequencies.sizes(few.cpu().numpy())).to(few.device)
        cost = self._errors[m].index_select(0, at).float().sub_(sizes.float().log2_())
        return few.gather(1, cost.argmin(1, keepdim=True))[:, 0].cpu().numpy()

    def _choose_few(self, z: Tensor, image: Tensor, tile: Tile, seen: Tile) -> None:
        """Candidates of a tile and their errors, for aims refined by all that is ``seen``."""
        quantizer, part = self.weights.quantizer, z[(..., *seen)]
        candidates = quantizer.candidates(part, self.rate, self.price, self._few.shape[-1], self.active)
        choice = SoftChoice(quantizer, *candidates, self.price, quantizer.worth(self.level))
        aim = quantizer.scaled(part, self.level)  # (1, n, C)
        if self.steps:
            image = image[(..., *(slice(STRIDE * side.start, STRIDE * side.stop) for side in seen))]
            aim = choice.followed(aim, lambda y: self._error(y, image, part.shape[2]), self.steps)
        errors = choice.errors(aim).div_(LAST_PRICE if self.steps else 1.0).clamp_(max=FARTHEST)
        inside = [slice(own.start - side.start, own.stop - side.start) for own, side in zip(tile, seen)]
        for kept, found in ((self._few, choice.candidates), (self._errors, errors)):
            kept[(slice(None), *tile)] = (
                found[:, 0].permute(2, 1, 0).unflatten(1, part.shape[2:])[(slice(None), *inside)]
            )

    def _error(self, y: Tensor, image: Tensor, rows: int) -> Tensor:
        """Squared error of ``image`` (1, 3, H, W), decoded from codewords (1, n, C) in so many rows."""
        z = self.weights.quantizer.restored(y, self.level, rows)
        with torch.autocast(y.device.type, torch.bfloat16, enabled=_fast_in_half(y.device)):
            decoded = self.weights.synthesis(z, self.level).float()
        return (decoded[..., : image.shape[2], : image.shape[3]] - image).square().sum()


class SoftChoice:
    """A soft choice of codes of B pictures among ``candidates`` (F, B, n, M), cheapest first, that take ``bits`` of that shape.

    Squared errors are weighed by ``worth`` (B, C), in pixel units, and ``price`` (B,) of them is one bit.
    """

    def __init__(self, quantizer: ProductQuantizer, candidates: Tensor, bits: Tensor, price: Tensor, worth: Tensor):
        self.candidates, self.bits, self.worth = candidates, bits, worth[:, None]
        self.words = quantizer.lookup(candidates)  # (F, B, n, C)
        self.weight = self.worth / price[:, None, None]  # (B, 1, C), in bits
        owner = quantizer.slot // quantizer.codebook.shape[2]
        self.sums = torch.eye(len(quantizer.dimensions), device=bits.device)[owner]  # (C, M)

    def errors(self, aim: Tensor, count: int = FEW) -> Tensor:
        """Squared error in bits (F, B, n, M) of the first ``count`` candidates, where codes aim at (B, n, C)."""
        return (self.words[:count] - aim).square_().mul_(self.weight) @ self.sums

    def mean(self, aim: Tensor) -> Tensor:
        """Mean codewords (B, n, C) of the soft choice among the likeliest, by what they cost at first."""
        cost = self.errors(aim, LIKELIEST).div_(SOFT_PRICE).add_(self.bits[:LIKELIEST], alpha=SOFT_BITS)
        chosen = cost.mul_(-LN2).softmax(0)  # (F, B, n, M)
        return (chosen @ self.sums.T).mul_(self.words[:LIKELIEST]).sum(0)

    def followed(self, aim: Tensor, error: Callable[[Tensor], Tensor], steps: int) -> Tensor:
        """The aim (B, n, C) after so many steps to where pixels pull, whose squared error is ``error`` of codewords."""
        for step in np.linspace(FIRST_STEP, LAST_STEP, steps).tolist():
            mean = self.mean(aim).detach()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(error(mean.requires_grad_()), mean)
            aim = aim + step * (mean.detach() - slope / (2 * self.worth) - aim)
        return aim


def _tiles(height: int, width: int, margin: int) -> Iterator[tuple[Tile, Tile]]:
    """Rows and columns of parts of about one size, ``TILE`` at most on each side; and the same with a margin."""

    def cut(length: int) -> list[tuple[slice, slice]]:
        parts = -(-length // TILE)
        edges = [i * length // parts for i in range(parts + 1)]
        return [
            (slice(first, last), slice(max(0, first - margin), min(length, last + margin)))
            for first, last in pairwise(edges)
        ]

    for rows, rows_seen in cut(height):
        for columns, columns_seen in cut(width):
            yield (rows, columns), (rows_seen, columns_seen)


def _fast_in_half(device: torch.device) -> bool:
    """Whether bfloat16 is more than emulated; a CPU that cannot tell is taken for one that emulates."""
    return device.type != "cpu" or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def _padded(image: Tensor) -> Tensor:
    """(1, 3, H, W), edges repeated up to multiples of 16."""
    height, width = image.shape[2:]
    return torch.nn.functional.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")

"""Which codes the encoder sends: those of least squared error + price x bits, for an aim refined against the pixels.

Entropy-constrained choice (Chou, Lookabaugh and Gray 1989) takes each codeword by its distance to the latent and its
bits, as if errors of the latent were errors of pixels that never meet. They do meet: the synthesis is no orthonormal
basis, and what one code leaves wrong its neighbours can mend. So the encoder refines what the codes aim at, as Yang,
Bamler and Mandt (2020) refine latents.

Each code is a soft choice among the few codewords that are cheapest by static frequencies, with probabilities
2^-(error / price + bits), of a lower price and a part of the bits: by all of them the mean of the choice would shrink
towards what is frequent, and aims would overshoot to make up for it. The picture's squared error, linearised about that
mean, says where the codes should aim. The aim moves there by steps that get smaller, since what neighbours mend
together they would overdo alone. Then the file is coded once: each code is the cheapest for its aim by the bits that
the decoder will count. Nothing of this concerns the decoder.

The codec and training choose by the same `Encoder`. Refinement is floating-point arithmetic, so the file of a picture
may differ between machines; what a file decodes to does not.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pqmim.coding.prior import Codes, Frequencies, Positions
from pqmim.models.choice import Aim, Choice, choice_of
from pqmim.models.quantizer import ProductQuantizer, level_of_rate
from pqmim.models.transforms import STRIDE, Analysis, Synthesis, in_strips

FEW = 8  # cheapest codewords by static frequencies, among which all choices are made
FIRST_STEP, LAST_STEP = 0.3, 0.1  # of the way to where the pixels pull
LAST_PRICE = 0.75  # of a bit, for a refined aim: it has kept away from what costs too much already
TILE, MARGIN = 64, 4  # latent positions worked on at once, to bound memory, and those around them that are looked at
FARTHEST = 60000.0  # error in bits that half precision still holds
BLACK, WHITE = -0.5, 255.5  # decoded values beyond these round to what the picture can hold: no error is left to mend

Tile = tuple[slice, slice]  # rows and columns of latent positions


@dataclass(frozen=True)
class Candidates:
    """The few codes of each position that a choice is made of, the cheapest by static frequencies first.

    Attributes:
        codes: (F, B, h * w, M) of an integer type.
        errors: of the same shape, squared errors in bits, for the refined aim.
        height: h, rows of positions.
    """

    codes: Tensor
    errors: Tensor
    height: int

    def chooser(self) -> Callable[[int, Positions, Frequencies], Codes]:
        """The policy of `coding.loop.encode` for one picture: the cheapest by the frequencies that the decoder has."""
        few = np.ascontiguousarray(self.codes[:, 0].permute(2, 1, 0).cpu().numpy().astype(np.uint8, copy=False))
        errors = np.ascontiguousarray(self.errors[:, 0].permute(2, 1, 0).cpu().numpy())  # (M, h * w, F)

        def cheapest(m: int, positions: Positions, frequencies: Frequencies) -> Codes:
            codes = few[m, positions]  # (n, F)
            bits = _log2()[frequencies.sizes(codes)]
            best = np.argmin(errors[m, positions] - bits, 1)
            found: Codes = codes[np.arange(len(codes)), best]
            return found

        return cheapest


class Encoder:
    """Finds what codes to choose among, for pictures at any rates.

    Args:
        analysis: pictures to latents.
        quantizer: latents to codes.
        synthesis: latents to pictures; the refinement follows its gradients.
        half: whether transforms run in bfloat16; None: the refinement does where the processor has it natively.
    """

    def __init__(
        self, analysis: Analysis, quantizer: ProductQuantizer, synthesis: Synthesis, half: bool | None = None
    ) -> None:
        self.analysis, self.quantizer, self.synthesis = analysis, quantizer, synthesis
        self._half = half

    def candidates(self, images: Tensor, aim: Aim, effort: int) -> Candidates:
        """Candidates of pictures (B, 3, H, W) in 0..255, whose sides may be any, refined in `effort` steps."""
        level = level_of_rate(aim.rate)
        with self._autocast(images, bool(self._half)):
            z = in_strips(self.analysis, _padded(images.float()), level, STRIDE, 1).float()
        return self._search(z, images, aim, effort)

    @torch.no_grad()
    def _search(self, z: Tensor, images: Tensor, aim: Aim, effort: int) -> Candidates:
        batch, (height, width) = len(z), z.shape[2:]
        shape = min(FEW, self.quantizer.codewords), batch, height, width, len(self.quantizer.dimensions)
        codes = torch.empty(shape, dtype=torch.uint8, device=z.device)
        errors = torch.empty(shape, dtype=torch.half, device=z.device)
        for tile, seen in tiles(height, width, MARGIN if effort else 0):
            inside = [slice(own.start - side.start, own.stop - side.start) for own, side in zip(tile, seen)]
            for whole, part in zip((codes, errors), self._tile(z, images, seen, aim, effort)):
                found = part.unflatten(2, (seen[0].stop - seen[0].start, -1))
                whole[:, :, tile[0], tile[1]] = found[:, :, inside[0], inside[1]]
        return Candidates(codes.flatten(2, 3), errors.flatten(2, 3), height)

    def _tile(self, z: Tensor, images: Tensor, seen: Tile, aim: Aim, effort: int) -> tuple[Tensor, Tensor]:
        """Candidates (F, B, n, M) of a part of the pictures, and their errors in bits."""
        quantizer, part, level = self.quantizer, z[..., seen[0], seen[1]], level_of_rate(aim.rate)
        count = min(FEW, quantizer.codewords)
        choice = choice_of(quantizer, part, aim, count)
        wanted = quantizer.scaled(part, level)  # (B, n, C)
        if effort:
            rows, columns = (slice(STRIDE * side.start, STRIDE * side.stop) for side in seen)
            images = images[..., rows, columns]
            worth = quantizer.worth(level)
            wanted = followed(choice, worth, wanted, lambda y: self._error(y, images, level, part.shape[2]), effort)
        errors = choice.errors(wanted).div_(LAST_PRICE if effort else 1.0).clamp_(max=FARTHEST)
        return choice.candidates, errors

    def _error(self, y: Tensor, images: Tensor, level: Tensor, rows: int) -> Tensor:
        """Squared error of `images`, decoded from codewords (B, n, C) in `rows` rows.

        Decoded values beyond black and white count as black and white.
        """
        z = self.quantizer.restored(y, level, rows)
        with self._autocast(images, fast_in_half(images.device) if self._half is None else self._half):
            decoded = self.synthesis(z, level).float()
        decoded = decoded[..., : images.shape[2], : images.shape[3]].clamp(BLACK, WHITE)
        error: Tensor = (decoded - images).square().sum()
        return error

    @staticmethod
    def _autocast(images: Tensor, half: bool) -> torch.autocast:
        return torch.autocast(images.device.type, torch.bfloat16, enabled=half)


def followed(choice: Choice, worth: Tensor, aim: Tensor, error: Callable[[Tensor], Tensor], steps: int) -> Tensor:
    """Where `aim` (B, n, C) has come after `steps` to where pixels pull.

    `error` is the pictures' squared error of codewords, `worth` (B, C) that of a unit of each channel.
    """
    for step in np.linspace(FIRST_STEP, LAST_STEP, steps).tolist():
        mean = choice.mean(aim).detach()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(error(mean.requires_grad_()), mean)
        aim = aim + step * (mean.detach() - slope / (2 * worth[:, None]) - aim)
    return aim


def tiles(height: int, width: int, margin: int) -> Iterator[tuple[Tile, Tile]]:
    """Rows and columns of parts of about one size, `TILE` at most on each side; and the same with a margin."""

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


@cache
def fast_in_half(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 ones: measured once, on a layer of the transforms.

    What a processor says of itself is not enough: a library that is held to older instructions emulates the type, and
    takes twenty times as long.
    """
    if device.type != "cpu":
        return True
    x, weight = torch.ones(2048, 192, dtype=torch.float32), torch.ones(576, 192, dtype=torch.float32)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = x.to(dtype), weight.to(dtype)
        torch.nn.functional.linear(a[:64], b)  # whatever is only done once
        start = time.thread_time()
        torch.nn.functional.linear(a, b)
        seconds[dtype] = time.thread_time() - start
    return seconds[torch.bfloat16] < 0.7 * seconds[torch.float32]


def _padded(images: Tensor) -> Tensor:
    """(B, 3, H, W), edges repeated up to multiples of 16."""
    height, width = images.shape[2:]
    return torch.nn.functional.pad(images, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")


@cache
def _log2() -> NDArray[np.float32]:
    """Logarithms of frequencies 0 to 65536 to base 2; 0 for 0."""
    logarithms: NDArray[np.float32] = np.log2(np.arange(1 << 16 | 1, dtype=np.float32).clip(1))
    return logarithms

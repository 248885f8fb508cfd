"""Which codes the encoder sends: those of least squared error + price x bits, for an aim refined against the pixels.

Entropy-constrained choice (Chou, Lookabaugh and Gray 1989) takes each codeword by its distance to the latent and its
bits, as if errors of the latent were errors of pixels that never meet. They do meet: the synthesis is no orthonormal
basis, and what one code leaves wrong its neighbours can mend. So the encoder refines what the codes aim at, as Yang,
Bamler and Mandt (2020) refine latents.

Each code is a soft choice among the few codewords that are cheapest by static frequencies, with probabilities
2^-(error / price + bits), of a lower price and a part of the bits: by all of them the mean of the choice would shrink
towards what is frequent, and aims would overshoot to make up for it. The picture's squared error, linearised about that
mean, says where the codes should aim. The aim moves there by steps that get smaller, since what neighbours mend
together they would overdo alone. How large steps are depends on the rate, and was tuned on held-back photos.

Static frequencies do not know where in the picture a codeword is likely. So after half of the steps the picture is
coded once, in fewer passes than a file takes, for what the prior says of each candidate, and the other half goes by
that. Then the file is coded: each code is the cheapest for its aim by the bits that the decoder will count. Nothing of
this concerns the decoder.

The codec and training choose by the same `Encoder`. What a file decodes to is the same everywhere; which codes a picture
gets depends on how the transforms run: in C (`models.compiled`) it is the same wherever they do, in PyTorch it may
differ between machines.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pqmim.coding.grid import Grid
from pqmim.coding.loop import Choose, Turn, encode, fill, turns
from pqmim.coding.prior import Codes, Context, Frequencies, Positions, Prior
from pqmim.coding.range_coder import PRECISION
from pqmim.coding.schedule import Group, hurried
from pqmim.models.choice import Aim, Choice, choice_among, choice_of
from pqmim.models.compiled import compiled
from pqmim.models.gradient import Gradient, TorchGradient
from pqmim.models.prior.compiled import Unavailable
from pqmim.models.quantizer import ProductQuantizer, level_of_rate
from pqmim.models.transforms import STRIDE, Analysis, Synthesis, in_strips
from pqmim.release import Record

FEW = 6  # cheapest codewords by static frequencies, among which all choices are made
STEP_RATES = 1.0, 3.6  # between which steps get smaller: files of few bits take a more careful search
FIRST_STEP, LAST_STEP = (0.42, 0.145), (0.115, 0.046)  # of the way to where the pixels pull, at these rates
LAST_PRICE = 0.75  # of a bit, for a refined aim: it has kept away from what costs too much already
TILE, MARGIN = 64, 4  # latent positions worked on at once, to bound memory, and those around them that are looked at
FARTHEST = 60000.0  # error in bits that half precision still holds

Tile = tuple[slice, slice]  # rows and columns of latent positions


@dataclass(frozen=True)
class Candidates:
    """The few codes of each position that a choice is made of.

    Attributes:
        codes: (F, B, h * w, M) of an integer type.
        errors: of the same shape, squared errors in bits, for the refined aim.
        height: h, rows of positions.
    """

    codes: Tensor
    errors: Tensor
    height: int

    def chooser(self) -> Choose:
        """The policy of `coding.loop.encode` for one picture: the cheapest by the frequencies that the decoder has."""
        return self._choosing(None)

    def priced(self, grid: Grid, context: Context, order: Iterable[Turn]) -> Tensor:
        """Bits (F, 1, h * w, M) of the candidates of one picture by a prior: the cheapest are chosen, and fill the grid."""
        few, _, positions, size = self.codes.shape
        bits = np.zeros((size, positions, few), np.float16)
        fill(grid, context, order, self._choosing(bits))
        return torch.from_numpy(bits).permute(2, 1, 0)[:, None].to(self.codes.device)

    def _choosing(self, told: NDArray[np.float16] | None) -> Choose:
        """The same policy, which writes the bits of all candidates into `told` (M, h * w, F)."""
        few = np.ascontiguousarray(self.codes[:, 0].permute(2, 1, 0).cpu().numpy().astype(np.uint8, copy=False))
        errors = np.ascontiguousarray(self.errors[:, 0].permute(2, 1, 0).cpu().numpy())  # (M, h * w, F)

        def cheapest(m: int, positions: Positions, frequencies: Frequencies) -> Codes:
            codes = few[m, positions]  # (n, F)
            logarithms = _log2()[frequencies.sizes(codes)]
            if told is not None:
                told[m, positions] = PRECISION - logarithms
            best = np.argmin(errors[m, positions] - logarithms, 1)
            found: Codes = codes[np.arange(len(codes)), best]
            return found

        return cheapest


PriorBits = Callable[[Candidates], Tensor]
"""Bits (F, B, h * w, M) of candidates, by a prior that has seen them coded; or as many for all of one code."""


@dataclass
class Search:
    """What an encoder knows of B pictures of h x w positions.

    Attributes:
        images: (B, 3, H, W) in 0..255.
        z: latents (B, C, h, w).
        aim: what codes are chosen by.
        wanted: codewords (B, h, w, C) that codes aim at.
        codes: candidates (F, B, h, w, M) uint8.
        errors: of the same shape, in bits, of the candidates for what is wanted.
        bits: of the same shape, by the prior; None before it was asked.
    """

    images: Tensor
    z: Tensor
    aim: Aim
    wanted: Tensor
    codes: Tensor
    errors: Tensor
    bits: Tensor | None = None

    @property
    def candidates(self) -> Candidates:
        """What there is to choose from."""
        return Candidates(self.codes.flatten(2, 3), self.errors.flatten(2, 3), self.z.shape[2])


@dataclass(frozen=True)
class Transforms:
    """How an encoder's transforms run.

    Attributes:
        analysis: images (B, 3, H, W) and levels (B,) to latents.
        gradient: of the synthesis.
        form: what they are made of, in words.
        why: another form was not chosen, likewise.
    """

    analysis: Callable[[Tensor, Tensor], Tensor]
    gradient: Gradient
    form: str
    why: str


class Encoder:
    """Finds what codes to choose among, for pictures at any rates.

    Args:
        analysis: pictures to latents.
        quantizer: latents to codes.
        synthesis: latents to pictures; the refinement follows its gradients.
        half: whether transforms run in bfloat16; None: the refinement does where its products are much faster than those of
            float32.
    """

    def __init__(
        self, analysis: Analysis, quantizer: ProductQuantizer, synthesis: Synthesis, half: bool | None = None
    ) -> None:
        self.analysis, self.quantizer, self.synthesis = analysis, quantizer, synthesis
        self._half = half
        self._transforms: Transforms | None = None

    def encode(self, image: Tensor, quality: int, effort: int, record: Record, prior: Prior) -> tuple[Grid, bytes]:
        """Codes of a picture (1, 3, H, W) in 0..255, refined in `effort` steps, and their payload, as a release codes it."""
        height, width = (-(-side // STRIDE) for side in image.shape[2:])
        aim = Aim.of(record.rates[quality], record.prices[quality], record.active[quality], image.device)

        def blank(groups: Sequence[Group]) -> tuple[Grid, Context, Iterator[Turn]]:
            """A grid of which nothing is known, a context that knows as much, and the turns of a file of such groups."""
            grid = Grid(len(record.dimensions), height, width, record.active[quality])
            return grid, prior.context(height, width, quality), turns(groups, grid)

        found = self.candidates(image, aim, effort, lambda found: found.priced(*blank(hurried(record.groups))))
        grid, context, order = blank(record.groups)
        return grid, encode(grid, context, order, found.chooser())

    @torch.no_grad()
    def candidates(self, images: Tensor, aim: Aim, effort: int, prior_bits: PriorBits) -> Candidates:
        """Candidates of pictures (B, 3, H, W) in 0..255, whose sides may be any, refined in `effort` steps.

        `prior_bits` is asked once, where there are two steps or more.
        """
        steps, half = steps_at(aim.rate, effort), -(-effort // 2)
        search = self._begun(images.float(), aim)
        self._follow(search, steps[:half])
        if steps[half:]:
            search.bits = prior_bits(search.candidates).half().reshape(search.codes.shape)
            self._follow(search, steps[half:])
        return search.candidates

    def _begun(self, images: Tensor, aim: Aim) -> Search:
        level = level_of_rate(aim.rate)
        with self._autocast(images, bool(self._half)):
            z = in_strips(self.transforms.analysis, _padded(images), level, STRIDE, 1).float()
        size = z.shape[2:]
        wanted = self.quantizer.scaled(z, level).unflatten(1, size)
        shape = min(FEW, self.quantizer.codewords), len(z), *size, len(self.quantizer.dimensions)
        codes = torch.empty(shape, dtype=torch.uint8, device=z.device)
        return Search(images, z, aim, wanted, codes, torch.empty(shape, dtype=torch.half, device=z.device))

    def _follow(self, search: Search, steps: Sequence[Tensor]) -> None:
        """Move what is wanted by `steps`, part by part, and tell the errors of the candidates, which it finds at first."""
        wanted = search.wanted.clone()  # parts look at their neighbours as they were
        height, width = search.z.shape[2:]
        for own, seen in tiles(height, width, MARGIN if steps else 0):
            inside = [slice(part.start - side.start, part.stop - side.start) for part, side in zip(own, seen)]
            choice, aim = self._part(search, seen, steps)
            size = [side.stop - side.start for side in seen]
            errors = choice.errors(aim).div_(LAST_PRICE if steps else 1.0).clamp_(max=FARTHEST)
            search.errors[:, :, own[0], own[1]] = errors.unflatten(2, size)[:, :, inside[0], inside[1]]
            wanted[:, own[0], own[1]] = aim.unflatten(1, size)[:, inside[0], inside[1]]
            if search.bits is None:
                search.codes[:, :, own[0], own[1]] = choice.candidates.unflatten(2, size)[:, :, inside[0], inside[1]]
        search.wanted = wanted

    def _part(self, search: Search, seen: Tile, steps: Sequence[Tensor]) -> tuple[Choice, Tensor]:
        """The choice of a part of the pictures, and the codewords (B, n, C) that are wanted after `steps`."""
        quantizer, level, wanted = self.quantizer, level_of_rate(search.aim.rate), search.wanted[:, seen[0], seen[1]]
        if search.bits is None:
            choice = choice_of(quantizer, search.z[..., seen[0], seen[1]], search.aim, len(search.codes))
        else:
            few, bits = (x[:, :, seen[0], seen[1]].flatten(2, 3) for x in (search.codes, search.bits))
            choice = choice_among(quantizer, few, bits, search.aim)
        rows, columns = (slice(STRIDE * side.start, STRIDE * side.stop) for side in seen)
        if not steps:
            return choice, wanted.flatten(1, 2)
        images, height = search.images[..., rows, columns], wanted.shape[1]
        pulled = self.transforms.gradient.of(images, level)

        def slope(y: Tensor) -> Tensor:
            return quantizer.slope(pulled(quantizer.restored(y, level, height)), level)

        return choice, followed(choice, quantizer.worth(level), wanted.flatten(1, 2), slope, steps)

    @property
    def transforms(self) -> Transforms:
        """How the transforms run: chosen when it is first asked for."""
        if self._transforms is None:
            self._transforms = self._choose(self.analysis.stem.device)
        return self._transforms

    def _choose(self, device: torch.device) -> Transforms:
        half = fast_in_half(device) if self._half is None else self._half
        why = "it was asked for"
        if self._half is None:
            why = "its products are much faster than those of float32" if device.type == "cpu" else f"for {device.type}"
        if half:
            return Transforms(self.analysis, TorchGradient(self.synthesis, True), "torch, bfloat16", why)
        try:
            if device.type != "cpu":
                raise Unavailable(f"the library does not serve {device.type}")
            analysis, gradient = compiled(self.analysis, self.synthesis, torch.get_num_threads())
        except Unavailable as error:
            return Transforms(self.analysis, TorchGradient(self.synthesis, False), "torch, float32", str(error))
        why = "bfloat16 is not asked for, or no faster than float32"
        return Transforms(analysis, gradient, f"compiled, {analysis.instructions}", why)

    @staticmethod
    def _autocast(images: Tensor, half: bool) -> torch.autocast:
        return torch.autocast(images.device.type, torch.bfloat16, enabled=half)


def followed(
    choice: Choice, worth: Tensor, aim: Tensor, slope: Callable[[Tensor], Tensor], steps: Sequence[Tensor]
) -> Tensor:
    """Where `aim` (B, n, C) has come after `steps`, each a part (B,) of the way to where pixels pull.

    `slope` is the gradient of the pictures' squared error by codewords, `worth` (B, C) the error of a unit of each channel.
    """
    for step in steps:
        mean = choice.mean(aim)
        aim = aim + step[:, None, None] * (mean - slope(mean) / (2 * worth[:, None]) - aim)
    return aim


def steps_at(rate: Tensor, count: int) -> list[Tensor]:
    """`count` steps (B,) at rates (B,), by equal factors from the first to the last."""
    share = ((rate.double() - STEP_RATES[0]) / (STEP_RATES[1] - STEP_RATES[0])).clamp(0, 1)
    first, last = ((start + share * (end - start)).log() for start, end in (FIRST_STEP, LAST_STEP))
    return [torch.lerp(first, last, i / max(1, count - 1)).exp().to(rate.dtype) for i in range(count)]


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
    """Whether bfloat16 products are faster than float32 ones: measured once a process, on a layer of the transforms.

    What a processor says of itself is not enough: a library that is held to older instructions emulates the type, and
    takes twenty times as long. The least of three counts, so that other work on the processor does not decide.
    """
    if device.type != "cpu":
        return True
    x, weight = (torch.ones(rows, 192, dtype=torch.float32, device=device) for rows in (2048, 576))
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = x.to(dtype), weight.to(dtype)
        torch.nn.functional.linear(a[:64], b)  # whatever is only done once
        seconds[dtype] = min(_seconds(a, b) for _ in range(3))
    return seconds[torch.bfloat16] < 0.7 * seconds[torch.float32]


def _seconds(x: Tensor, weight: Tensor) -> float:
    start = time.thread_time()
    torch.nn.functional.linear(x, weight)
    return time.thread_time() - start


def _padded(images: Tensor) -> Tensor:
    """(B, 3, H, W), edges repeated up to multiples of 16."""
    height, width = images.shape[2:]
    return torch.nn.functional.pad(images, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")


@cache
def _log2() -> NDArray[np.float32]:
    """Logarithms of frequencies 0 to 65536 to base 2; 0 for 0."""
    logarithms: NDArray[np.float32] = np.log2(np.arange(1 << 16 | 1, dtype=np.float64).clip(1)).astype(np.float32)
    return logarithms

"""What a masked prior learns from the codes of crops: passes of the coding schedule, and completion.

Every batch is split over several passes of the schedule; a part of the crops is coded as that pass would code them and
contributes the bits of its symbols alone, so no logits are computed that the file would not need.  What is learned in
each pass is what is met in coding.  Other parts learn what a sampler, a cut file or a repainted region meets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pqmim.coding.schedule import Group, Pass, known_before, passes
from pqmim.models.prior.masked import MaskedPrior
from pqmim.training import ranks
from pqmim.training.rates import bits_of_pass, static_bits
from pqmim.training.run import Run
from pqmim.training.schedules import LessonSchedule
from pqmim.training.stages.quantizer import QuantizedCodec

SYMBOLS = 2048  # of a pass that a crop's loss counts, about: its logits would cost more than all tokens otherwise
LEFT_OUT = 4  # at most one position in this many counts in a part that completes

# A sampler draws at most `FEW` sub-quantizers a pass among the coarse ones, at most `MANY` among the others.
COARSE, FEW, MANY = 26, 4, 16
DRAWN = 0.7  # share of the parts that complete which predict such a chunk; the others predict a group of the schedule


@dataclass(frozen=True)
class Codes:
    """Codes (N, h*w, M) uint8 of N crops `side` positions wide, their rates (N,) and sub-quantizers sent (N,)."""

    codes: Tensor
    rate: Tensor
    active: Tensor
    side: int


@dataclass(frozen=True)
class Part:
    """Part of a batch.

    Attributes:
        crops: Numbers of the crops, (n,).
        known: What is known of each of them, (h*w, M) bool.
        symbols: Sub-quantizers that count, and the blocks that run.
        positions: Positions that count.
        scale: How often the loss counts.
    """

    crops: Tensor
    known: Tensor
    symbols: Pass
    positions: Tensor
    scale: float


class Lessons:
    """Batches of several passes of the schedule, and of completion.

    Args:
        data: Codes to learn from.
        codec: Whose static frequencies are the measure.
        groups: Of the coding schedule.
        schedule: Batch and parts.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        data: Codes,
        codec: QuantizedCodec,
        groups: Sequence[Group],
        schedule: LessonSchedule,
        seed: tuple[int, ...],
    ) -> None:
        self.data, self.groups, self.schedule, self.seed = data, list(groups), schedule, seed
        self.device, self.size, side = data.codes.device, data.codes.shape[-1], data.side
        self.steps = passes(self.groups, self.size)
        known = [torch.from_numpy(known_before(step, self.size, side, side)).T for step in self.steps]
        self.known = torch.stack(known).to(self.device)  # (P, h*w, M)
        self.positions = [torch.from_numpy(step.positions(side, side)).to(self.device) for step in self.steps]
        self.chunks, self.spans = chunks(self.size), [range(group.start, group.stop) for group in self.groups]
        self.worth = 1 / (static_bits(codec, data.rate) * side * side)
        self.coding = min(schedule.parts - schedule.completing, len(self.steps))  # parts that are passes
        self.crops = schedule.batch // (self.coding + schedule.completing)  # of a part
        self.share = ranks.slice_of(self.crops)

    def batch(self, step: int) -> list[Part]:
        """The parts of a step's batch, by its number alone; those that complete come last."""
        rng = np.random.default_rng((*self.seed, step))
        drawn = []
        for p in rng.choice(len(self.steps), self.coding, replace=False):
            symbols, positions = self.steps[p], self.positions[p]
            some = rng.permutation(len(positions))[: max(16, SYMBOLS // len(symbols.sub_quantizers))]
            counted = positions[torch.from_numpy(np.sort(some)).to(self.device)]
            scale = len(self.steps) / self.coding * len(positions) / len(some)
            drawn.append(self._part(rng, self.known[p], symbols, counted, scale))
        for _ in range(self.schedule.completing):
            choices = self.chunks if rng.random() < DRAWN else self.spans
            wanted = choices[int(rng.integers(len(choices)))]
            mask, some = left_out(self.size, self.data.side, wanted, rng)
            if len(some):
                share = len(choices) / self.schedule.completing
                scale = self.schedule.completion * share * LEFT_OUT  # fewer positions count less
                known, positions = torch.from_numpy(mask).to(self.device), torch.from_numpy(some).to(self.device)
                drawn.append(self._part(rng, known, Pass(wanted, 0, 16), positions, scale))
        return drawn

    def _part(self, rng: np.random.Generator, known: Tensor, symbols: Pass, positions: Tensor, scale: float) -> Part:
        sent = (self.data.active > symbols.sub_quantizers.start).nonzero()[:, 0]
        drawn = rng.integers(len(sent), size=self.crops)[self.share]
        # A pass met in only some files counts as often as it is met.
        scale *= len(sent) / len(self.data.rate)
        return Part(sent[torch.from_numpy(drawn).to(self.device)], known, symbols, positions, scale)

    def loss(self, prior: MaskedPrior, drawn: list[Part], run: Run) -> tuple[Tensor, float]:
        """What a batch costs, as a share of static frequencies, completion added; and the share without that."""
        data, crops = self.data, torch.cat([part.crops for part in drawn])
        codes, rate, active = data.codes[crops], data.rate[crops], data.active[crops]
        masks = torch.cat([part.known[None].expand(len(part.crops), -1, -1) for part in drawn])
        sent = torch.arange(self.size, device=self.device) < active[:, None]
        masks = masks & sent[:, None]  # what is not sent is never known
        with run.autocast():
            tokens = prior.tokens(codes, masks, rate, data.side, depths(prior, drawn)).flatten(1, 2)  # (B, h*w, d)
            costs, start = [], 0
            for part in drawn:
                rows, at = slice(start, start + len(part.crops)), part.positions
                coded = part.symbols.sub_quantizers
                bits = bits_of_pass(prior, tokens[rows][:, at], codes[rows][:, at], active[rows], coded)
                costs.append((bits * self.worth[part.crops]).mean() * part.scale)
                start += len(part.crops)
        return torch.stack(costs).sum(), torch.stack(costs[: self.coding]).sum().item()


def depths(prior: MaskedPrior, parts: Sequence[Part]) -> Tensor | None:
    """Blocks that run for each crop of the parts, (B,); None where all run for all."""
    if all(part.symbols.blocks is None for part in parts):
        return None
    whole = len(prior.blocks)
    found = [whole if part.symbols.blocks is None else part.symbols.blocks for part in parts for _ in part.crops]
    return torch.tensor(found)


def chunks(size: int) -> list[range]:
    """The sub-quantizers that a sampler draws together, all of `size`: few at a time, where they are coarse."""
    coarse = [range(m, min(m + FEW, COARSE, size)) for m in range(0, min(COARSE, size), FEW)]
    return coarse + [range(m, min(m + MANY, size)) for m in range(COARSE, size, MANY)]


def left_out(
    size: int, side: int, wanted: range, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """What a cut file, a sampler or a repainted region may know of `size` sub-quantizers of side x side positions.

    All sub-quantizers before some one are known, and from there to the `wanted` ones that are predicted, these
    included, a random share of the positions.  Four times in ten so is all that lies outside a hole, a half, or an
    inner square.

    Returns:
        What is known (h*w, M), and positions where what is wanted is not.
    """
    known = np.zeros((side * side, size), np.bool_)
    begun = wanted.start if rng.random() < 0.6 else int(rng.integers(wanted.start + 1))
    known[:, :begun] = True
    known[:, begun : wanted.stop] = (rng.random(side * side) < rng.random())[:, None]
    kind = rng.random()
    if kind < 0.4:
        known[_outside(side, kind / 0.4, rng).ravel()] = True
    positions = np.flatnonzero(~known[:, wanted.start])
    return known, np.sort(rng.permutation(positions)[: side * side // LEFT_OUT])


def _outside(side: int, kind: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """What surrounds a hole, a half or an inner square, by `kind` from 0 to 1: (side, side)."""
    outside = np.ones((side, side), np.bool_)
    if kind < 0.6 or side < 4:
        rows, columns = (np.sort(rng.choice(side + 1, 2, replace=False)) for _ in range(2))
        outside[slice(*rows), slice(*columns)] = False
    elif kind < 0.8:
        cut = int(rng.integers(1, side))
        outside[slice(cut) if rng.random() < 0.5 else slice(cut, None)] = False
        outside = outside.T if rng.random() < 0.5 else outside
    else:
        border = int(rng.integers(1, max(2, side // 4)))
        outside[border:-border, border:-border] = False
    return outside

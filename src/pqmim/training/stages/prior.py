"""Stage 3: the masked prior, on the codes of random crops, with masks drawn from the coding schedule.

Every batch is split over several passes of the schedule; a part of the crops is coded as that pass
would code them and contributes the bits of its symbols alone, so no logits are computed that the
file would not need.  What is learned in each pass is what is met in coding.  One part learns what
completion meets: any group, from what a cut file or a repainted region leaves known.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from pqmim.coding.schedule import Group, Pass, known_before, passes
from pqmim.models.prior.masked import LN2, MaskedPrior, PriorConfig
from pqmim.models.quantizer import level_of_rate
from pqmim.models.transforms import STRIDE, blend
from pqmim.training import checkpoints, ranks
from pqmim.training.data import Photos
from pqmim.training.loop import run_stage
from pqmim.training.recipe import Recipe, Schedule
from pqmim.training.stages.quantizer import QuantizedCodec
from pqmim.training.stages.transforms import center, to_images

SYMBOLS = 4096  # of a pass that a crop's loss counts, about: its logits would cost more than all tokens otherwise

LEFT_OUT = 4  # at most one position in so many counts in the part that completes


@dataclass(frozen=True)
class Codes:
    """Codes (N, h*w, M) uint8 of N crops ``side`` positions wide, their rates (N,) and sub-quantizers sent (N,)."""

    codes: Tensor
    rate: Tensor
    active: Tensor
    side: int


@dataclass(frozen=True)
class Part:
    """Part of a batch: crops (n,) that share what is known (h*w, M), and the symbols of the loss, which counts ``scale`` times."""

    crops: Tensor
    known: Tensor
    symbols: Pass
    positions: Tensor
    scale: float


def nested_groups(
    entropies: Tensor, shares: tuple[float, ...] = (0.12, 0.2, 0.23, 0.23), stages: tuple[int, ...] = (4, 2, 2, 2, 2)
) -> list[Group]:
    """Split sub-quantizers into groups by their shares of the rate, the mean over rates of ``entropies`` (R, M)."""
    share = (entropies / entropies.sum(1, keepdim=True)).mean(0)  # (M,)
    reached = (share.cumsum(0) / share.sum()).tolist()
    cuts, total = [0], 0.0
    for part in shares:
        total += part
        cuts.append(next(m for m, r in enumerate(reached) if r >= total) + 1)
    cuts.append(len(share))
    return [Group(a, b, n) for a, b, n in zip(cuts, cuts[1:], stages) if b > a]


def active_at(active: Tensor, rate: Tensor) -> Tensor:
    """Sub-quantizers sent at fractional rates (B,), from those at whole ones: rounded up."""
    low = rate.floor().long().clamp(max=len(active) - 2)
    return torch.lerp(active[low].float(), active[low + 1].float(), rate - low).ceil().long()


@torch.no_grad()
def encode_crops(
    model: QuantizedCodec, photos: Photos, count: int, size: int, seed: tuple[int, ...], device: torch.device
) -> Codes:
    """Codes of ``count`` random crops, each at a random rate, chosen with the static frequencies."""
    model.eval()
    rng = np.random.default_rng(seed)
    rate = torch.tensor(rng.random(count) * (len(model.prices) - 1), dtype=torch.float32, device=device)
    sent = active_at(model.active(), rate)
    batches = []
    for start in tqdm(range(0, count, 16), desc="encode crops", unit="batch", mininterval=5):
        part = slice(start, min(start + 16, count))
        images = to_images(photos.crops(part.stop - start, size, (*seed, start)), device)
        with torch.autocast(device.type, torch.bfloat16):
            z = model.analysis(images, level_of_rate(rate[part])).float()
        batches.append(model.quantizer.assign(z, rate[part], model.price(rate[part]), sent[part]).to(torch.uint8))
    return Codes(torch.cat(batches), rate, sent, size // STRIDE)


def static_bits(model: QuantizedCodec, rate: Tensor) -> Tensor:
    """Bits a position (B,) of static frequencies at fractional rates (B,)."""
    total = model.entropies().sum(1)
    low = rate.floor().long().clamp(max=len(total) - 2)
    return torch.lerp(total[low], total[low + 1], rate - low)


def bits_of_pass(
    prior: MaskedPrior, tokens: Tensor, codes: Tensor, active: Tensor, step: Pass, positions: Tensor
) -> Tensor:
    """Ideal bits (B,) that ``step`` spends on crops with hidden states ``tokens`` (B, h*w, d) and ``codes`` (B, h*w, M)."""
    coded = range(step.sub_quantizers.start, min(step.sub_quantizers.stop, int(active.max())))
    chosen = tokens[:, positions].flatten(0, 1)  # (B * n, d)
    logits = prior.logits(chosen, coded) * LN2  # (B * n, m, K)
    wanted = codes[:, positions, coded.start : coded.stop].long()  # (B, n, m)
    nats = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
    sent = torch.arange(coded.start, coded.stop, device=codes.device) < active[:, None]
    return (nats * sent[:, None]).sum((1, 2)) / LN2


@torch.no_grad()
def ideal_bits(prior: MaskedPrior, codes: Tensor, rate: Tensor, active: int, groups: list[Group], height: int) -> float:
    """Bits of one picture's codes (1, h*w, M) over the whole schedule."""
    size, width = codes.shape[-1], codes.shape[1] // height
    total = 0.0
    for step in passes(groups, active):
        known = torch.from_numpy(known_before(step, size, height, width)).T[None].to(codes.device)
        tokens = prior.tokens(codes, known, rate, height).flatten(1, 2)
        positions = torch.from_numpy(step.positions(height, width)).to(codes.device)
        total += bits_of_pass(prior, tokens, codes, torch.tensor([active], device=codes.device), step, positions).item()
    return total


def left_out(groups: list[Group], side: int, rng: np.random.Generator) -> tuple[np.ndarray, Pass, np.ndarray]:
    """What a cut file, a sampler or a repainted region may know: known (h*w, M), a group to predict, positions of it.

    The groups before some group are known, that one at a random share of the positions, and one time in three so is
    all that lies outside a random rectangle.
    """
    wanted = int(rng.integers(len(groups)))
    reached = int(rng.integers(wanted + 1))
    known = np.zeros((side * side, groups[-1].stop), bool)
    known[:, : groups[reached].start] = True
    known[:, groups[reached].start : groups[reached].stop] = (rng.random(side * side) < rng.random())[:, None]
    if rng.random() < 1 / 3:
        rows, columns = (np.sort(rng.choice(side + 1, 2, replace=False)) for _ in range(2))
        outside = np.ones((side, side), bool)
        outside[slice(*rows), slice(*columns)] = False
        known[outside.ravel()] = True
    group = groups[wanted]
    positions = np.flatnonzero(~known[:, group.start])
    positions = np.sort(rng.permutation(positions)[: side * side // LEFT_OUT])
    return known, Pass(range(group.start, group.stop), 0, 16), positions


class Lessons:
    """What a prior learns from the codes of crops: batches of several passes of the schedule, and of completion."""

    def __init__(
        self, data: Codes, model: QuantizedCodec, groups: list[Group], schedule: Schedule, seed: tuple[int, ...]
    ):
        self.data, self.groups, self.schedule, self.seed = data, groups, schedule, seed
        self.device, self.size, side = data.codes.device, data.codes.shape[-1], data.side
        self.steps = passes(groups, self.size)
        known = [torch.from_numpy(known_before(step, self.size, side, side)).T for step in self.steps]
        self.known = torch.stack(known).to(self.device)  # (P, h*w, M)
        self.positions = [torch.from_numpy(step.positions(side, side)).to(self.device) for step in self.steps]
        self.worth = 1 / (static_bits(model, data.rate) * side * side)
        self.parts = min(schedule.parts, len(self.steps) + 1) - 1  # the last one learns to complete
        self.crops = schedule.batch // (self.parts + 1)  # of a part
        self.share = ranks.slice_of(self.crops)

    def batch(self, step: int) -> list[Part]:
        """The parts of a step's batch, by its number alone."""
        rng = np.random.default_rng((*self.seed, step))
        drawn = []
        for p in rng.choice(len(self.steps), self.parts, replace=False):
            symbols, positions = self.steps[p], self.positions[p]
            some = rng.permutation(len(positions))[: max(16, SYMBOLS // len(symbols.sub_quantizers))]
            counted = positions[torch.from_numpy(np.sort(some)).to(self.device)]
            scale = len(self.steps) / self.parts * len(positions) / len(some)
            drawn.append(self._part(rng, self.known[p], symbols, counted, scale))
        mask, symbols, some = left_out(self.groups, self.data.side, rng)
        if len(some):
            scale = self.schedule.completion * len(self.groups) * LEFT_OUT  # fewer positions count less
            known, positions = torch.from_numpy(mask).to(self.device), torch.from_numpy(some).to(self.device)
            drawn.append(self._part(rng, known, symbols, positions, scale))
        return drawn

    def _part(self, rng: np.random.Generator, known: Tensor, symbols: Pass, positions: Tensor, scale: float) -> Part:
        sent = (self.data.active > symbols.sub_quantizers.start).nonzero()[:, 0]
        drawn = rng.integers(len(sent), size=self.crops)[self.share]
        # A pass met in only some files counts as often as it is met.
        scale *= len(sent) / len(self.data.rate)
        return Part(sent[torch.from_numpy(drawn).to(self.device)], known, symbols, positions, scale)

    def loss(self, prior: MaskedPrior, drawn: list[Part]) -> tuple[Tensor, float]:
        """What a batch costs, as a share of static frequencies, completion added; and the share without that."""
        data, crops = self.data, torch.cat([part.crops for part in drawn])
        codes, rate, active = data.codes[crops], data.rate[crops], data.active[crops]
        masks = torch.cat([part.known[None].expand(len(part.crops), -1, -1) for part in drawn])
        sent = torch.arange(self.size, device=self.device) < active[:, None]
        masks = masks & sent[:, None]  # what is not sent is never known
        with torch.autocast(self.device.type, torch.bfloat16):
            tokens = prior.tokens(codes, masks, rate, data.side).flatten(1, 2)  # (B, h*w, d)
            total, start = [], 0
            for part in drawn:
                rows = slice(start, start + len(part.crops))
                bits = bits_of_pass(prior, tokens[rows], codes[rows], active[rows], part.symbols, part.positions)
                total.append((bits * self.worth[part.crops]).mean() * part.scale)
                start += len(part.crops)
        return torch.stack(total).sum(), torch.stack(total[: self.parts]).sum().item()


def train_prior(
    recipe: Recipe,
    model: QuantizedCodec,
    groups: list[Group],
    photos: Photos,
    folder: Path,
    device: torch.device,
    minutes: float,
    split: float,
    kind: type[MaskedPrior] = MaskedPrior,
) -> MaskedPrior:
    """Train on cached codes; returns the averaged prior.  See ``run_stage`` for resuming and splitting."""
    schedule = recipe.stages["prior"]
    torch.manual_seed(recipe.seed + 3)
    quantizer = model.quantizer
    prior = kind(PriorConfig(**recipe.prior), quantizer.codebook, quantizer.dimensions, len(model.prices)).to(device)
    prior.start(quantizer.log2_probability)
    cache = folder / "codes.pt"
    if ranks.first() and not checkpoints.exists(cache):
        found = encode_crops(model, photos, schedule.samples, schedule.crop, (recipe.seed, 3), device)
        checkpoints.save(found.__dict__, cache, split)
    ranks.wait()
    data = Codes(**checkpoints.load(cache, device))
    lessons = Lessons(data, model, groups, schedule, (recipe.seed, 4))

    def loss(prior: MaskedPrior, drawn: list[Part], step: int) -> tuple[Tensor, dict[str, float]]:
        prior.rounding = step >= schedule.rounding_from * schedule.steps
        value, share_of_static = lessons.loss(prior, drawn)
        return value, {"share_of_static": share_of_static}

    validation = [center(photo) for photo in photos.held_back[:10]]

    def evaluate(prior: MaskedPrior) -> dict[str, float]:
        rows = []
        for number, photo in enumerate(validation):
            rate = torch.tensor([number * (len(model.prices) - 1) / max(1, len(validation) - 1)], device=device)
            z = model.analysis(to_images(photo[None], device), level_of_rate(rate))
            active = active_at(model.active(), rate)
            codes = quantizer.assign(z, rate, model.price(rate), active)
            bits = ideal_bits(prior, codes, rate, int(active), groups, z.shape[2])
            table = blend(quantizer.log2_probability.flatten(1), rate).view(codes.shape[-1], -1)
            rows.append(bits / -table.gather(1, codes[0].T).sum().item())
        return {"share_of_static": float(np.mean(rows))}

    prior = run_stage(
        "prior", prior, schedule, folder, lessons.batch, loss, evaluate, seed=recipe.seed, minutes=minutes, split=split
    )
    prior.rounding = True
    return prior

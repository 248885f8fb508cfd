"""Stage 2: the product quantizer, fitted to the latents of the scalar proxy; the synthesis follows.

Channels are ordered and grouped by their measured entropies, codebooks start as the most frequent
points of the scalar grid and are refitted by entropy-constrained Lloyd iterations (Chou, Lookabaugh
and Gray 1989) over all rate levels at once.  Then the synthesis and the codebooks (by exponential
moving averages) settle on each other while the analysis stands still.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from pqmim.models.quantizer import ProductQuantizer, allocate, level_of_rate
from pqmim.models.transforms import Analysis, Synthesis
from pqmim.training import loop, ranks
from pqmim.training.data import Photos
from pqmim.training.recipe import Quantizer, Recipe
from pqmim.training.run import Run
from pqmim.training.schedules import QuantizerSchedule
from pqmim.training.stage import Figures, rate_distortion_cost
from pqmim.training.stages.transforms import CropStage, ProxyCodec, balanced, squared_error
from pqmim.training.validation import point, to_images

NAME = "quantizer"
START = "quantizer.start"  # the checkpoint of the fit
TOGETHER, CROP = 16, 256  # crops at once, and their side, that codebooks are fitted to


class QuantizedCodec(nn.Module):
    """Analysis, product quantizer and synthesis.

    Args:
        analysis: Of images to latents.
        quantizer: Of latents to codes.
        synthesis: Of latents to images.
        prices: Squared error worth a bit, (L + 1,): the first for gains of level 0, then one a level.
        nearest: Whether bits cost nothing where codewords are chosen, as in plain vector quantization.
    """

    prices: Tensor
    typical: Tensor
    weight: Tensor
    usage: Tensor

    def __init__(
        self,
        analysis: Analysis,
        quantizer: ProductQuantizer,
        synthesis: Synthesis,
        prices: Tensor,
        nearest: bool = False,
    ) -> None:
        super().__init__()
        self.analysis, self.quantizer, self.synthesis, self.nearest = analysis, quantizer, synthesis, nearest
        self.register_buffer("prices", prices)
        self.register_buffer("typical", torch.zeros(len(prices)))
        size, codewords, width = quantizer.codebook.shape
        self.register_buffer("weight", torch.zeros(size, codewords, width))  # EMA statistics of the codebooks
        self.register_buffer("usage", torch.zeros(len(prices), size, codewords))

    def price(self, rate: Tensor) -> Tensor:
        """Squared error (B,) worth one bit at fractional rates (B,), interpolated in the logarithm."""
        if self.nearest:
            return torch.zeros_like(rate)
        log = self.prices.log()
        low = rate.floor().long().clamp(max=len(log) - 2)
        return torch.lerp(log[low], log[low + 1], rate - low).exp()

    @torch.no_grad()
    def latent(self, image: Tensor, rate: Tensor) -> Tensor:
        """Latent (B, C, h, w) of images (B, 3, H, W) at fractional rates (B,)."""
        z: Tensor = self.analysis(image, level_of_rate(rate))
        return z.float()

    @torch.no_grad()
    def observe(self, z: Tensor, rate: Tensor, codes: Tensor, decay: float, *, over_ranks: bool = False) -> None:
        """EMA update of codebooks and frequencies; unused codewords keep their grid point.

        With `over_ranks` the latents of all ranks count, and every rank must call it.
        """
        quantizer = self.quantizer
        size, codewords, width = quantizer.codebook.shape
        level = level_of_rate(rate)
        vectors = quantizer.split(z, level)
        worth = quantizer.weights(level) / self.typical[rate.long()].clamp(min=1e-6)[:, None, None]
        worth = worth[:, None].expand_as(vectors)
        flat = (codes + torch.arange(size, device=z.device) * codewords).flatten()
        mass = z.new_zeros(size * codewords, width).index_add_(0, flat, worth.flatten(0, 2))
        moment = z.new_zeros(size * codewords, width).index_add_(0, flat, (worth * vectors).flatten(0, 2))
        count = self.counted(rate, codes)
        if over_ranks:
            ranks.sum_([mass, moment, count])
        before = self.weight.clone()
        self.weight.mul_(decay).add_(mass.view_as(self.weight))
        moved = (before * decay * quantizer.codebook + moment.view_as(self.weight)) / self.weight.clamp(min=1e-12)
        seen = self.weight > 0
        quantizer.codebook[seen] = moved[seen]
        for index in count.sum((1, 2)).nonzero()[:, 0].tolist():  # rates that occurred
            row = self.usage[index].mul_(decay).add_(count[index])
            quantizer.log2_probability[index] = ((row + 0.02) / (row + 0.02).sum(-1, keepdim=True)).log2()

    def counted(self, rate: Tensor, codes: Tensor) -> Tensor:
        """How often each codeword was chosen at each whole rate: (L + 1, M, K) of codes (B, h*w, M)."""
        count = torch.zeros_like(self.usage)
        for index in rate.unique().long().tolist():
            chosen = codes[rate == index].flatten(0, 1)  # (N, M)
            count[index].scatter_add_(1, chosen.T, count.new_ones(codes.shape[-1], len(chosen)))
        return count

    @torch.no_grad()
    def revive(self, z: Tensor, rate: Tensor, codes: Tensor, dead: float = 0.5) -> int:
        """Move codewords used fewer than `dead` times to the vectors of this batch that are quantized worst.

        Their statistics start anew with one vector's worth, so that the entropy constraint gives them a chance.
        Codeword 0 stays.  Returns how many moved.
        """
        quantizer = self.quantizer
        level = level_of_rate(rate)
        vectors, weights = quantizer.split(z, level), quantizer.weights(level)[:, None]
        error = (
            (vectors - quantizer.padded(quantizer.lookup(codes))).square()
            * weights
            / self.typical[rate.long()][:, None, None, None]
        )
        worst = error.sum(-1).flatten(0, 1).argsort(0, descending=True)  # (N, M)
        rows = rate.long()[:, None].expand(codes.shape[:2]).flatten()  # (N,)
        moved = 0
        for index in range(len(quantizer.dimensions)):
            unused = (self.usage[:, index].sum(0) < dead).nonzero()[:, 0]
            unused = unused[unused > 0][: len(worst)]
            chosen = worst[: len(unused), index]
            quantizer.codebook[index, unused] = vectors.flatten(0, 1)[chosen, index]
            self.weight[index, unused] = 1e-6
            self.usage[:, index, unused] = 0.0
            self.usage[rows[chosen], index, unused] = 1.0
            moved += len(unused)
        p = (self.usage + 0.02) / (self.usage + 0.02).sum(-1, keepdim=True)
        quantizer.log2_probability.copy_(p.log2())
        return moved

    def usage_report(self) -> list[dict[str, float | list[float]]]:
        """For each sub-quantizer: its dimensions, the share of its codewords in use, its entropy in bits at each rate."""
        used = (self.usage.sum(0) > 0.5).float().mean(-1).tolist()
        entropies = self.entropies().T.tolist()
        return [
            {"dimensions": d, "used": round(u, 3), "entropy": [round(bits, 3) for bits in row]}
            for d, u, row in zip(self.quantizer.dimensions, used, entropies)
        ]

    def entropies(self) -> Tensor:
        """Static entropy, in bits, of each sub-quantizer at each rate: (L + 1, M)."""
        p = self.quantizer.log2_probability
        return -(p.exp2() * p).sum(-1)

    def active(self, least: float = 0.03) -> Tensor:
        """Prefix (L + 1,) of sub-quantizers to send: those up to the last one of `least` bits.

        Every symbol costs 0.006 bits or more, which adds up where most say nothing.  Never longer at a lower rate.
        """
        says = (self.entropies() >= least).long()
        return (says * torch.arange(1, says.shape[1] + 1, device=says.device)).amax(-1).clamp(min=1).cummin(0).values

    def forward(self, image: Tensor, rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean squared error (B,), latent and codes of images (B, 3, H, W)."""
        z, level = self.latent(image, rate), level_of_rate(rate)
        with torch.autocast(image.device.type, enabled=False):  # close codewords part only in float32
            codes = self.quantizer.assign(z, rate, self.price(rate))
            decoded = self.quantizer.restored(self.quantizer.lookup(codes).detach(), level, z.shape[2])
        return squared_error(self.synthesis(decoded, level), image), z, codes


@torch.no_grad()
def fit(
    proxy: ProxyCodec, photos: Photos, recipe: Recipe, run: Run, given: ProductQuantizer | None = None
) -> QuantizedCodec:
    """Order, group and fit the codebooks to the latents of the proxy's analysis.

    Channels and codebooks start as those of the quantizer that is `given`, if any.
    """
    proxy.eval()
    options = recipe.quantizer
    batches = _latents(proxy, photos, recipe, run)
    quantizer = _new_quantizer(options, _grids(proxy, batches)) if given is None else given
    quantizer.to(run.device)
    quantizer.log_gain.copy_(proxy.proxy.log_gain)
    quantizer.log_step.copy_(proxy.proxy.log_step)
    prices = torch.tensor(recipe.prices)
    model = QuantizedCodec(proxy.analysis, quantizer, proxy.synthesis, prices, options.nearest).to(run.device)
    model.typical.copy_(torch.cat([proxy.typical[:1], proxy.typical]))
    for _ in tqdm(range(options.rounds), desc="fit codebooks", unit="round", disable=not run.progress):
        assigned = [quantizer.assign(z, rate, model.price(rate)) for z, rate in batches]
        model.weight.zero_()
        model.usage.zero_()
        for (z, rate), codes in zip(batches, assigned, strict=True):
            model.observe(z, rate, codes, decay=1.0)
    return model


def _latents(proxy: ProxyCodec, photos: Photos, recipe: Recipe, run: Run) -> list[tuple[Tensor, Tensor]]:
    """Latents (B, C, h, w) of crops and their rates (B,), for every whole rate."""
    batches = []
    for number in range(len(recipe.prices)):
        for start in range(0, recipe.quantizer.crops, TOGETHER):
            rate = torch.full((TOGETHER,), float(number), device=run.device)
            images = to_images(photos.crops(TOGETHER, CROP, (recipe.seed, 7, number, start)), run.device)
            with run.autocast():
                batches.append((proxy.analysis(images, level_of_rate(rate)).float(), rate))
    return batches


def _grids(proxy: ProxyCodec, batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Integers (N, C) of the scalar proxy at each level."""
    grids: list[list[Tensor]] = [[] for _ in proxy.lambdas]
    for z, rate in batches:
        level = level_of_rate(rate)
        symbols = proxy.proxy.quantize(z, level)[1].round()
        grids[max(0, int(level[0]))].append(symbols.permute(0, 2, 3, 1).flatten(0, 2))
    return [torch.cat(grid) for grid in grids]


def _new_quantizer(options: Quantizer, grids: list[Tensor]) -> ProductQuantizer:
    """Channels by their entropy in integers (N, C) of each level; codewords are the most frequent integers."""
    entropy = torch.stack([_channel_entropy(grid) for grid in grids])  # (L, C)
    order = entropy.sum(0).argsort(descending=True)
    dimensions = _dimensions(options, entropy[0, order])
    quantizer = ProductQuantizer(order.cpu(), dimensions, options.codewords, len(grids))
    first = 0
    for m, d in enumerate(dimensions):
        samples = torch.cat([grid[:, order[first : first + d]] for grid in grids])
        quantizer.codebook[m, :, :d] = _frequent(samples, options.codewords).cpu()
        first += d
    return quantizer


def _dimensions(options: Quantizer, entropy: Tensor) -> list[int]:
    """Channels of each sub-quantizer, by the entropies (C,) of the channels in order or evenly."""
    if options.uniform:
        return allocate(torch.zeros_like(entropy), 1.0, options.uniform)
    return allocate(entropy, options.bits, options.most)


def _channel_entropy(symbols: Tensor) -> Tensor:
    """Empirical entropy, in bits, of each column of integers (N, C): (C,)."""
    shifted = (symbols + 127).long()
    count = symbols.new_zeros(256, symbols.shape[1]).scatter_add_(0, shifted, torch.ones_like(symbols))
    p = count / len(symbols)
    return -(p * p.clamp(min=1e-12).log2()).sum(0)


def _frequent(samples: Tensor, count: int) -> Tensor:
    """The `count` most frequent integer vectors of (N, d), the zero vector first; a single channel gets its whole range."""
    if samples.shape[1] == 1:
        values = torch.arange(count) - (count - 1) // 2
        return values[values.abs().argsort(stable=True), None].float().to(samples.device)
    vectors, frequency = samples.unique(dim=0, return_counts=True)
    zero = (vectors == 0).all(1)
    frequency[zero] = len(samples) + 1
    chosen: Tensor = vectors[frequency.argsort(descending=True, stable=True)[:count]]
    if len(chosen) < count:  # points just outside the data: free to move once data reaches them
        spare = torch.randn(count - len(chosen), samples.shape[1], generator=torch.Generator().manual_seed(0)) * 2
        chosen = torch.cat([chosen, (spare + spare.sign()).to(samples.device)])
    return chosen


class QuantizerStage(CropStage):
    """The synthesis by gradients, codebooks and frequencies by moving averages; the analysis is fixed."""

    schedule: QuantizerSchedule

    def index(self, step: int, levels: int) -> Tensor:
        """Whole rates (B,) of the crops of a step, of those whose levels learn."""
        return super().index(step, min(levels, (self.schedule.levels or levels) + 1))

    def step(self, data: NDArray[np.uint8], step: int) -> Figures:
        """All rates in turns."""
        model, index = self.model, self.index(step, len(self.model.prices))
        with self.run.autocast():
            error, z, codes = model(self.images(data), index.float())
        value = balanced(error, torch.zeros_like(error), model.prices, index, model.typical)
        model.observe(z, index.float(), codes, decay=0.998, over_ranks=True)
        every = self.schedule.revive_every
        if every and (step + 1) % every == 0:
            model.revive(ranks.gather(z), ranks.gather(index.float()), ranks.gather(codes))
        self.learners[0].follow(value)
        return {"loss": value.item()}

    def evaluate(self, model: QuantizedCodec) -> Figures:
        """PSNR and static bits a pixel at each rate, and how many codewords are in use."""
        figures: Figures = {}
        for index in range(len(model.prices)):
            rate, rows = self.one(index), []
            for image in self.validation:
                error, _, codes = model(image, rate)
                bits = -model.quantizer.log2_probability[index].gather(1, codes[0].T).sum().item()
                rows.append((error.item(), bits / image.numel()))
            figures |= point(rows, f"_{index}")
        used = (model.usage.sum(0) > 0.5).float().mean().item()
        return figures | {"sub_quantizers": len(model.quantizer.dimensions), "used": used}

    def cost(self, figures: Figures) -> float:
        """Rate and distortion, all rates that learn alike."""
        learned = None if self.schedule.levels is None else self.schedule.levels + 1
        return rate_distortion_cost(figures, self.model.prices[:learned].tolist())


def train_quantizer(
    recipe: Recipe, schedule: QuantizerSchedule, model: QuantizedCodec, photos: Photos, run: Run
) -> QuantizedCodec:
    """Let synthesis and codebooks settle; returns the averaged model.  See `loop.train` for resuming."""
    stage = QuantizerStage(NAME, model, schedule, photos, run)
    found: QuantizedCodec = loop.train(stage.seeded(recipe.seed, 2))
    return found


def fitted(
    recipe: Recipe, proxy: ProxyCodec, photos: Photos, run: Run, given: ProductQuantizer | None = None
) -> QuantizedCodec:
    """The fitted quantizer, from its checkpoint if it was fitted before; the first rank fits for all.  See `fit`."""

    def make() -> dict[str, Any]:
        model = fit(proxy, photos, recipe, run, given)
        sizes = {"dimensions": model.quantizer.dimensions, "codewords": model.quantizer.codewords}
        return sizes | {"state": model.state_dict()}

    return rebuild(recipe, run.once(START, make, run.device), run)


def rebuild(recipe: Recipe, saved: dict[str, Any], run: Run) -> QuantizedCodec:
    """A quantized codec from its saved state, only its synthesis and steps trainable."""
    config = recipe.config()
    quantizer = ProductQuantizer(torch.arange(config.latent), saved["dimensions"], saved["codewords"], config.levels)
    prices = torch.tensor(recipe.prices)
    model = QuantizedCodec(Analysis(config), quantizer, Synthesis(config), prices, recipe.quantizer.nearest)
    model.load_state_dict(saved["state"])
    model.analysis.requires_grad_(False)
    quantizer.log_gain.requires_grad_(False)
    quantizer.codebook.requires_grad_(False)
    return run.placed(model)

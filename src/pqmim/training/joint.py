"""Stage 4: transforms and prior together, under distortion + lambda x rate, while the codebooks stand still.

Until here the analysis answered to a static density.  Here it answers to the prior: to the bits of the
symbols of one pass of the schedule, drawn for each batch as in stage 3.  They have a gradient because
codewords are assigned softly there, the more weight the smaller distortion + lambda x rate (the relaxed
lookup of RDVQ, CVPR 2026), at a temperature that falls.  The synthesis sees the hard choice,
straight-through.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pqmim.coding.schedule import Group, known_before, passes
from pqmim.models.masked_prior import LN2, MaskedPrior
from pqmim.models.product_quantizer import level_of_rate
from pqmim.training import ranks
from pqmim.training.data import Photos
from pqmim.training.loop import run_stage
from pqmim.training.prior import active_at, ideal_bits
from pqmim.training.quantizer import QuantizedCodec
from pqmim.training.recipe import Recipe
from pqmim.training.transforms import balanced, center, to_images

SYMBOLS = 48  # positions of a pass whose bits are counted: all of them would cost more than the transforms


class JointCodec(nn.Module):
    """A quantized codec and its prior, trained as one; ``active`` (L + 1,) sub-quantizers are sent at each rate."""

    def __init__(self, codec: QuantizedCodec, prior: MaskedPrior, groups: list[Group], active: Tensor):
        super().__init__()
        self.codec, self.prior = codec, prior
        self.register_buffer("active", active)
        self.register_buffer("typical", torch.zeros_like(codec.prices))
        self.passes = passes(groups, len(codec.quantizer.dimensions))
        self.codec.requires_grad_(True)
        codec.quantizer.codebook.requires_grad_(False)
        codec.quantizer.log_gain.requires_grad_(False)

    def forward(
        self, image: Tensor, rate: Tensor, number: int, softness: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mean squared error (B,) and bits a sample (B,) of pass ``number``, counted as often as there are passes."""
        codec, quantizer, step = self.codec, self.codec.quantizer, self.passes[number]
        level, price, sent = level_of_rate(rate), codec.price(rate), active_at(self.active, rate)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.training):
            z = codec.analysis(image, level).float()
        height, width = z.shape[2:]
        codes = quantizer.assign(z.detach(), rate, price, sent)  # (B, h*w, M)
        vectors = quantizer.split(z, level)  # (B, h*w, M, D)

        everywhere = step.positions(height, width)
        positions = np.sort(rng.permutation(everywhere)[:SYMBOLS])
        coded = slice(step.sub_quantizers.start, max(1, min(step.sub_quantizers.stop, int(sent.max()))))
        if coded.start < coded.stop:
            bits = self._bits(codes, sent, rate, number, positions, coded, height)  # (B, n, m, K)
            error = quantizer.distances(vectors[:, positions], quantizer.weights(level), coded)
            worth = price[:, None, None, None]
            cost = error + worth * bits.detach()
            soft = (cost * (-LN2 / softness) / worth).softmax(-1)
            counted = torch.arange(coded.start, coded.stop, device=z.device) < sent[:, None]  # (B, m)
            total = ((soft * bits).sum(-1) * counted[:, None]).sum((1, 2))
            total = total * (len(self.passes) * len(everywhere) / len(positions))
            codes = codes.clone()
            codes[:, positions, coded] = torch.where(counted[:, None], cost.detach().argmin(-1), 0)
        else:
            total = torch.zeros_like(rate)
        # The hard choice for the synthesis, its gradient for the analysis; what is not sent has none.
        chosen = quantizer.lookup(codes) + (vectors - vectors.detach()) * self._sent(sent)
        decoded = quantizer.merge(chosen, level, height)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.training):
            restored = codec.synthesis(decoded, level)
        return (restored.float() - image).square().mean((1, 2, 3)), total / image[0].numel()

    def _sent(self, sent: Tensor) -> Tensor:
        """(B, 1, M, 1) of 0 and 1."""
        size = len(self.codec.quantizer.dimensions)
        return (torch.arange(size, device=sent.device) < sent[:, None])[:, None, :, None].float()

    def _bits(
        self,
        codes: Tensor,
        sent: Tensor,
        rate: Tensor,
        number: int,
        positions: np.ndarray,
        coded: slice,
        height: int,
    ) -> Tensor:
        """Bits (B, n, m, K) of every codeword at positions (n,) of a pass, given what is known before it."""
        size, width = codes.shape[-1], codes.shape[1] // height
        known = torch.from_numpy(known_before(self.passes[number], size, height, width)).T.to(codes.device)
        known = known[None] & self._sent(sent)[..., 0].bool()
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=self.training):
            tokens = self.prior.tokens(codes, known, rate, height).flatten(1, 2)[:, positions]  # (B, n, d)
        logits = self.prior.logits(tokens.flatten(0, 1), range(coded.start, coded.stop)) * LN2
        return (-logits.log_softmax(-1) / LN2).unflatten(0, tokens.shape[:2])


def train_joint(
    recipe: Recipe,
    codec: QuantizedCodec,
    prior: MaskedPrior,
    groups: list[Group],
    photos: Photos,
    folder: Path,
    device: torch.device,
    minutes: float,
    split: float,
) -> JointCodec:
    """Run the stage; returns the averaged model.  See ``run_stage`` for resuming and splitting."""
    schedule = recipe.stages["joint"]
    model = JointCodec(codec, prior, groups, codec.active()).to(device)
    model.prior.rounding = True
    part = ranks.slice_of(schedule.batch)
    rates = torch.arange(schedule.batch, device=device)[part]
    validation = [to_images(center(photo, 256)[None], device) for photo in photos.held_back[:8]]

    def loss(model: JointCodec, crops: np.ndarray, step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng((recipe.seed, 6, step))
        index = (rates + step * schedule.batch) % len(model.codec.prices)
        first, last = schedule.softness
        softness = first * (last / first) ** (step / max(1, schedule.steps - 1))
        number = int(rng.integers(len(model.passes)))
        error, rate = model(to_images(crops, device), index.float(), number, softness, rng)
        value = balanced(error, rate, model.codec.prices, index, model.typical)
        return value, {"loss": value.item(), "bpp": 3 * rate.mean().item(), "mse": error.mean().item()}

    def evaluate(model: JointCodec) -> dict[str, float]:
        figures: dict[str, float] = {}
        for index in range(len(model.codec.prices)):
            rate = torch.full((1,), float(index), device=device)
            sent, rows = active_at(model.active, rate), []
            for image in validation:
                level = level_of_rate(rate)
                z = model.codec.analysis(image, level)
                codes = model.codec.quantizer.assign(z, rate, model.codec.price(rate), sent)
                bits = ideal_bits(model.prior, codes, rate, int(sent), groups, z.shape[2])
                decoded = model.codec.quantizer.merge(model.codec.quantizer.lookup(codes), level, z.shape[2])
                mse = (model.codec.synthesis(decoded, level).round().clamp(0, 255) - image).square().mean().item()
                rows.append((10 * np.log10(255**2 / mse), 3 * bits / image.numel()))
            figures[f"psnr_{index}"], figures[f"bpp_{index}"] = np.mean(rows, axis=0)
        return figures

    model = run_stage(
        "joint",
        model,
        schedule,
        folder,
        lambda step: photos.crops(schedule.batch, schedule.crop, (recipe.seed, 5, step), part),
        loss,
        evaluate,
        seed=recipe.seed,
        minutes=minutes,
        split=split,
    )
    recount(model.codec, photos, recipe, device)
    return model


@torch.no_grad()
def recount(codec: QuantizedCodec, photos: Photos, recipe: Recipe, device: torch.device, crops: int = 64) -> None:
    """Static frequencies of what the analysis gives now; the chosen codes depend on them, so count twice."""
    for turn in range(2):
        count = torch.zeros_like(codec.usage)
        for number in range(len(codec.prices)):
            for start in range(0, crops, 16):
                rate = torch.full((16,), float(number), device=device)
                images = to_images(photos.crops(16, 256, (recipe.seed, 8, turn, number, start)), device)
                codes = codec.quantizer.assign(codec.latent(images, rate), rate, codec.price(rate))
                count += codec.counted(rate, codes)
        codec.usage.copy_(count)
        codec.quantizer.log2_probability.copy_(((count + 0.02) / (count + 0.02).sum(-1, keepdim=True)).log2())

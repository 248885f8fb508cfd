"""Stage 4: transforms and prior together, under distortion + lambda x rate, while the codebooks stand still.

Until here the analysis answered to a static density.  Here it answers to the prior: to the bits of the
symbols of one pass of the schedule, drawn for each batch as in stage 3.  The prior learns from the bits
of the codewords chosen; the latent is pulled by those that it would cost itself, at the distance it has
from what the prior expects.  The synthesis sees the choice, straight-through.  (Soft assignment, the
relaxed lookup of RDVQ, CVPR 2026, lets the rates grow: most latents lie deep in the cell of the zero
vector, where it has no gradient, while straight-through distortion has one.)  A quarter of each batch
also teaches the prior to complete, as in stage 3.  No trial of it has paid yet: docs/lab-notes.md.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pqmim.coding.schedule import Group, known_before, passes
from pqmim.models.masked_prior import LN2, MaskedPrior
from pqmim.models.product_quantizer import level_of_rate
from pqmim.models.transforms import STRIDE
from pqmim.training import ranks
from pqmim.training.data import Photos
from pqmim.training.loop import run_stage
from pqmim.training.prior import LEFT_OUT, active_at, bits_of_pass, ideal_bits, left_out, static_bits
from pqmim.training.quantizer import QuantizedCodec
from pqmim.training.recipe import Recipe
from pqmim.training.transforms import balanced, center, to_images

SYMBOLS = 2048  # of a pass that a crop's rate counts, about: all of them would cost more than the transforms


class JointCodec(nn.Module):
    """A quantized codec and its prior, trained as one; ``active`` (L + 1,) sub-quantizers are sent at each rate."""

    def __init__(self, codec: QuantizedCodec, prior: MaskedPrior, groups: list[Group], active: Tensor):
        super().__init__()
        self.codec, self.prior = codec, prior
        self.register_buffer("active", active)
        self.register_buffer("typical", torch.zeros_like(codec.prices))
        self.groups, self.passes = groups, passes(groups, len(codec.quantizer.dimensions))
        self.codec.requires_grad_(True)
        codec.quantizer.codebook.requires_grad_(False)
        codec.quantizer.log_gain.requires_grad_(False)

    def forward(
        self, image: Tensor, rate: Tensor, number: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean squared error (B,), bits a sample (B,) of pass ``number``, counted as often as there are passes, and codes."""
        codec, quantizer, step = self.codec, self.codec.quantizer, self.passes[number]
        level, sent = level_of_rate(rate), active_at(self.active, rate)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.training):
            z = codec.analysis(image, level).float()
        height, width = z.shape[2:]
        codes = quantizer.assign(z.detach(), rate, torch.zeros_like(rate), sent)  # (B, h*w, M)
        scaled = quantizer.scaled(z, level)  # (B, h*w, C)

        everywhere = step.positions(height, width)
        positions = np.sort(rng.permutation(everywhere)[: max(16, SYMBOLS // len(step.sub_quantizers))])
        coded = slice(step.sub_quantizers.start, max(1, min(step.sub_quantizers.stop, int(sent.max()))))
        if coded.start < coded.stop:
            tokens = self._tokens(codes, sent, rate, number, positions, height)  # (B, n, d)
            bits = self._bits(tokens, coded)  # (B, n, m, K)
            found = codes[:, positions, coded, None]  # (B, n, m, 1)
            spent = bits.gather(-1, found)[..., 0] + self._pull(tokens, coded, scaled[:, positions])  # (B, n, m)
            counted = torch.arange(coded.start, coded.stop, device=z.device) < sent[:, None]  # (B, m)
            total = (spent * counted[:, None]).sum((1, 2))
            total = total * (len(self.passes) * len(everywhere) / len(positions))
        else:
            total = torch.zeros_like(rate)
        # The hard choice for the synthesis, its gradient for the analysis; what is not sent has none.
        sent_channels = self._sent(sent)[:, :, quantizer.slot // quantizer.codebook.shape[2]]  # (B, 1, C)
        chosen = quantizer.lookup(codes) + (scaled - scaled.detach()) * sent_channels
        decoded = quantizer.restored(chosen, level, height)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.training):
            restored = codec.synthesis(decoded, level)
        return (restored.float() - image).square().mean((1, 2, 3)), total / image[0].numel(), codes

    def completion(self, codes: Tensor, rate: Tensor, height: int, rng: np.random.Generator) -> Tensor:
        """What completing codes (B, h*w, M) costs, as a share of static frequencies: the mean over ``groups``."""
        known, symbols, positions = left_out(self.groups, height, rng)
        sent = active_at(self.active, rate)
        if not len(positions) or symbols.sub_quantizers.start >= int(sent.max()):
            return torch.zeros((), device=codes.device)
        seen = torch.from_numpy(known).to(codes.device) & self._sent(sent).bool()
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=self.training):
            tokens = self.prior.tokens(codes, seen, rate, height).flatten(1, 2)
        bits = bits_of_pass(self.prior, tokens, codes, sent, symbols, torch.from_numpy(positions).to(codes.device))
        return (bits / static_bits(self.codec, rate)).mean() * len(self.groups) * LEFT_OUT / height**2

    def _sent(self, sent: Tensor) -> Tensor:
        """(B, 1, M) of 0 and 1."""
        size = len(self.codec.quantizer.dimensions)
        return (torch.arange(size, device=sent.device) < sent[:, None])[:, None].float()

    def _tokens(
        self, codes: Tensor, sent: Tensor, rate: Tensor, number: int, positions: np.ndarray, height: int
    ) -> Tensor:
        """What the prior makes of what is known before a pass, at positions (n,): (B, n, d)."""
        size, width = codes.shape[-1], codes.shape[1] // height
        known = torch.from_numpy(known_before(self.passes[number], size, height, width)).T.to(codes.device)
        known = known[None] & self._sent(sent).bool()
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=self.training):
            return self.prior.tokens(codes, known, rate, height).flatten(1, 2)[:, positions]

    def _bits(self, tokens: Tensor, coded: slice) -> Tensor:
        """Bits (B, n, m, K) of every codeword of sub-quantizers ``coded``."""
        logits = self.prior.logits(tokens.flatten(0, 1), range(coded.start, coded.stop)) * LN2
        return (-logits.log_softmax(-1) / LN2).unflatten(0, tokens.shape[:2])

    def _pull(self, tokens: Tensor, coded: slice, scaled: Tensor) -> Tensor:
        """Zero (B, n, m), whose gradient is that of the bits of latents (B, n, C) if they need not be codewords."""
        dims = self.prior.dimensions
        rows = slice(sum(dims[: coded.start]), sum(dims[: coded.stop]))
        scaled = scaled[..., rows].flatten(0, 1)
        bits = self.prior.energy(tokens.flatten(0, 1), range(coded.start, coded.stop), scaled)
        return (bits - bits.detach()).unflatten(0, tokens.shape[:2])


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
    validation = held_back(photos, device)

    def loss(model: JointCodec, crops: np.ndarray, step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng((recipe.seed, 6, step))
        index = (rates + step * schedule.batch) % len(model.codec.prices)
        number = int(rng.integers(len(model.passes)))
        error, rate, codes = model(to_images(crops, device), index.float(), number, rng)
        value = balanced(error, rate, model.codec.prices, index, model.typical)
        some = slice(-(-len(codes) // 4))
        missing = model.completion(codes[some], index[some].float(), schedule.crop // STRIDE, rng)
        figures = {"loss": value.item(), "bpp": 3 * rate.mean().item(), "mse": error.mean().item()}
        return value + schedule.completion * missing, figures | {"completion": missing.item()}

    model = run_stage(
        "joint",
        model,
        schedule,
        folder,
        lambda step: photos.crops(schedule.batch, schedule.crop, (recipe.seed, 5, step), part),
        loss,
        lambda model: rate_distortion(model, validation),
        seed=recipe.seed,
        minutes=minutes,
        split=split,
    )
    recount(model.codec, photos, recipe, device)
    return model


def held_back(photos: Photos, device: torch.device, count: int = 8) -> list[Tensor]:
    """The middles of held-back photos, which the stage is measured on: (1, 3, 256, 256) each, or less."""
    return [to_images(center(photo, 256)[None], device) for photo in photos.held_back[:count]]


@torch.no_grad()
def rate_distortion(model: JointCodec, images: list[Tensor]) -> dict[str, float]:
    """Mean PSNR and ideal bits a pixel at each whole rate, as ``psnr_0``, ``bpp_0`` and so on."""
    codec, figures = model.codec, {}
    for index in range(len(codec.prices)):
        rate = torch.full((1,), float(index), device=codec.prices.device)
        level, sent, rows = level_of_rate(rate), active_at(model.active, rate), []
        for image in images:
            z = codec.analysis(image, level)
            codes = codec.quantizer.assign(z, rate, codec.price(rate), sent)
            bits = ideal_bits(model.prior, codes, rate, int(sent), model.groups, z.shape[2])
            decoded = codec.quantizer.restored(codec.quantizer.lookup(codes), level, z.shape[2])
            mse = (codec.synthesis(decoded, level).round().clamp(0, 255) - image).square().mean().item()
            rows.append((10 * np.log10(255**2 / mse), 3 * bits / image.numel()))
        figures[f"psnr_{index}"], figures[f"bpp_{index}"] = np.mean(rows, axis=0)
    return figures


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

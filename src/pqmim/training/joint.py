"""Stage 4: synthesis and prior together, on the codes that encoders choose, while codebooks and analysis stand still.

Each step alternates, as expectation and maximization do.  First the codes are chosen as encoders do,
for an aim refined against the pixels in more steps or fewer (``models.assignment``), but by static
bits.  Then all learn from the choice: the synthesis to turn these codes into the picture, the prior
to expect them, in one pass of the schedule drawn for each batch as in stage 3.  A quarter of each
batch also teaches the prior to complete.  In the end the weights are a mean of those that the stage
began with and those that it reached, which does better than either (as in Wortsman et al., Robust
fine-tuning of zero-shot models, CVPR 2022).

No lesson for the analysis has paid yet.  Distortion straight through a hard choice, and soft assignment
under gradient descent (RDVQ, CVPR 2026), let rates grow; aiming at the refined codewords lets them
collapse; aiming where refinement went, and the cross-entropy of the soft choice, spoil the files that
are not refined: docs/lab-notes.md.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pqmim.coding.schedule import Group, Pass, known_before, passes
from pqmim.models.assignment import FEW, SoftChoice
from pqmim.models.masked_prior import MaskedPrior
from pqmim.models.product_quantizer import level_of_rate
from pqmim.models.transforms import STRIDE
from pqmim.rate_control import EFFORT
from pqmim.training import ranks
from pqmim.training.data import Photos
from pqmim.training.loop import run_stage
from pqmim.training.prior import LEFT_OUT, active_at, bits_of_pass, ideal_bits, left_out, static_bits
from pqmim.training.quantizer import QuantizedCodec
from pqmim.training.recipe import Recipe
from pqmim.training.transforms import balanced, center, to_images

EFFORTS = 0, 2, 4, 4, 4, 8  # of the encoders whose codes are learned from, one drawn for each step
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
        for fixed in (codec.analysis, codec.quantizer.codebook, codec.quantizer.log_gain):
            fixed.requires_grad_(False)

    def forward(
        self, image: Tensor, rate: Tensor, number: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean squared error (B,), bits a sample (B,) of pass ``number``, counted as often as there are passes, and codes."""
        z = self.codec.latent(image, rate)
        codes = self.codes(image, z, rate, int(rng.choice(EFFORTS)))
        bits = self.bits(codes, rate, self.passes[number], z.shape[2:], rng)
        restored = self._decoded(self.codec.quantizer.lookup(codes), level_of_rate(rate), z.shape[2])
        return (restored - image).square().mean((1, 2, 3)), bits / image[0].numel(), codes

    def bits(self, codes: Tensor, rate: Tensor, step: Pass, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
        """Bits (B,) of the codes (B, h*w, M) of a pass, by some of its positions, times the number of passes."""
        sent = active_at(self.active, rate)
        if step.sub_quantizers.start >= int(sent.max()):
            return torch.zeros_like(rate)
        positions = step.positions(*size)
        counted = np.sort(rng.permutation(positions)[: max(16, SYMBOLS // len(step.sub_quantizers))])
        known = torch.from_numpy(known_before(step, codes.shape[-1], *size)).T.to(codes.device)  # (h*w, M)
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=self.training):
            tokens = self.prior.tokens(codes, known[None] & self.codec.quantizer.sent(sent), rate, size[0])
        chosen = torch.from_numpy(counted).to(codes.device)
        bits = bits_of_pass(self.prior, tokens.flatten(1, 2), codes, sent, step, chosen)
        return bits * (len(self.passes) * len(positions) / len(counted))

    @torch.no_grad()
    def codes(self, image: Tensor, z: Tensor, rate: Tensor, effort: int = EFFORT) -> Tensor:
        """Codes (B, h*w, M) that an encoder chooses for images with latents ``z`` (B, C, h, w)."""
        quantizer, level = self.codec.quantizer, level_of_rate(rate)
        price = self.codec.price(rate)
        few = quantizer.candidates(z, rate, price, FEW, active_at(self.active, rate))
        if not effort:
            return few[0][0]
        choice = SoftChoice(quantizer, *few, price, quantizer.worth(level))

        def error(y: Tensor) -> Tensor:
            return (self._decoded(y, level, z.shape[2]) - image).square().sum()

        return choice.cheapest(choice.followed(quantizer.scaled(z, level), error, effort))

    def _decoded(self, y: Tensor, level: Tensor, height: int) -> Tensor:
        """Images (B, 3, H, W) of codewords (B, h*w, C)."""
        z = self.codec.quantizer.restored(y, level, height)
        with torch.autocast(z.device.type, torch.bfloat16, enabled=self.training):
            return self.codec.synthesis(z, level).float()

    def completion(self, codes: Tensor, rate: Tensor, height: int, rng: np.random.Generator) -> Tensor:
        """What completing codes (B, h*w, M) costs, as a share of static frequencies: the mean over ``groups``."""
        known, symbols, positions = left_out(self.groups, height, rng)
        sent = active_at(self.active, rate)
        if not len(positions) or symbols.sub_quantizers.start >= int(sent.max()):
            return torch.zeros((), device=codes.device)
        seen = torch.from_numpy(known).to(codes.device) & self.codec.quantizer.sent(sent)
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=self.training):
            tokens = self.prior.tokens(codes, seen, rate, height).flatten(1, 2)
        bits = bits_of_pass(self.prior, tokens, codes, sent, symbols, torch.from_numpy(positions).to(codes.device))
        return (bits / static_bits(self.codec, rate)).mean() * len(self.groups) * LEFT_OUT / height**2


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
    """Run the stage; returns the averaged model, of which ``keep`` are the weights it began with.  See ``run_stage`` for resuming and splitting."""
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

    began = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
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
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.lerp_(began[name], schedule.keep)
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
            codes = model.codes(image, z, rate)
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

"""Stage 4: synthesis, codebooks and prior on the codes that the encoder chooses, in rounds, while the analysis stands still.

Rounds alternate, as expectation and maximization do.  First the codes of many crops are chosen as the
encoder chooses them: an aim refined against the pixels in more steps or fewer, then each pass's cheapest
codewords by the bits of the prior (`encoder`).  Then all learn from these choices: the
synthesis and the codewords to make up the picture, the prior to expect the codes.  To choose takes several
times as long as to learn, so every crop is learned from several times.

No lesson for the analysis has paid yet.  Distortion straight through a hard choice, and soft assignment
under gradient descent (RDVQ, CVPR 2026), let rates grow; aiming at the refined codewords lets them
collapse; aiming where refinement went, and the cross-entropy of the soft choice, spoil the files that
are not refined: docs/lab-notes.md.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pqmim.coding.schedule import Group, known_before, passes
from pqmim.dial import EFFORT
from pqmim.encoder import Aim, Encoder
from pqmim.models.prior.masked import MaskedPrior
from pqmim.models.quantizer import level_of_rate
from pqmim.models.transforms import STRIDE
from pqmim.training import checkpoints, ranks
from pqmim.training.data import Photos
from pqmim.training.loop import run_stage
from pqmim.training.recipe import Recipe
from pqmim.training.stages.prior import Codes, Lessons, Part, active_at, ideal_bits
from pqmim.training.stages.quantizer import QuantizedCodec
from pqmim.training.stages.transforms import balanced, center, to_images

EFFORTS = 0, 2, 4, 4, 4, 4, 4, 4  # of the encoders whose codes are learned from, in turns
TOGETHER = 16  # crops whose codes are chosen at once


class JointCodec(nn.Module):
    """A quantized codec and its prior, trained as one; ``active`` (L + 1,) sub-quantizers are sent at each rate.

    A bit costs ``price_scale`` of what it costs the codec.
    """

    def __init__(
        self, codec: QuantizedCodec, prior: MaskedPrior, groups: list[Group], active: Tensor, price_scale: float = 1.0
    ):
        super().__init__()
        self.codec, self.prior, self.groups, self.price_scale = codec, prior, groups, price_scale
        self.register_buffer("active", active)
        self.register_buffer("typical", torch.zeros_like(codec.prices))
        self.prior.rounding = True
        self.codec.requires_grad_(False)
        self.codec.synthesis.requires_grad_(True)
        self.codec.quantizer.codebook.requires_grad_(True)  # the prior goes on with those that it knows

    def forward(self, image: Tensor, rate: Tensor, codes: Tensor) -> Tensor:
        """Mean squared error (B,) of images (B, 3, H, W) decoded from codes (B, h*w, M)."""
        decoded = self._decoded(self.codec.quantizer.lookup(codes), level_of_rate(rate), image.shape[2] // STRIDE)
        return (decoded - image).square().mean((1, 2, 3))

    @torch.no_grad()
    def choose(self, image: Tensor, rate: Tensor, effort: int = EFFORT) -> Tensor:
        """Codes (B, h*w, M) that the encoder chooses for images (B, 3, H, W) at fractional rates (B,)."""
        codec, sent = self.codec, active_at(self.active, rate)
        encoder = Encoder(codec.analysis, codec.quantizer, codec.synthesis, half=True)
        found = encoder.candidates(image, Aim(rate, self.price_scale * codec.price(rate), sent), effort)
        width = image.shape[3] // STRIDE
        codes = torch.zeros_like(found.codes[0], dtype=torch.long)  # (B, h*w, M)
        for step in passes(self.groups, int(sent.max())):
            known = torch.from_numpy(known_before(step, codes.shape[-1], found.height, width)).T.to(codes.device)
            with torch.autocast(image.device.type, torch.bfloat16):
                tokens = self.prior.tokens(codes, known & codec.quantizer.sent(sent), rate, found.height).flatten(1, 2)
            at = torch.from_numpy(step.positions(found.height, width)).to(codes.device)
            which = slice(step.sub_quantizers.start, step.sub_quantizers.stop)
            few = found.codes[:, :, at, which].long()  # (F, B, n, m)
            logits = self.prior.logits_of(tokens[:, at].flatten(0, 1), step.sub_quantizers, few.flatten(1, 2))
            cost = found.errors[:, :, at, which] - logits.view(few.shape)
            codes[:, at, which] = few.gather(0, cost.argmin(0, keepdim=True))[0]
        return codes

    def _decoded(self, y: Tensor, level: Tensor, height: int) -> Tensor:
        """Images (B, 3, H, W) of codewords (B, h*w, C)."""
        z = self.codec.quantizer.restored(y, level, height)
        with torch.autocast(z.device.type, torch.bfloat16):
            return self.codec.synthesis(z, level).float()


@dataclass(frozen=True)
class Chosen:
    """Crops (N, S, S, 3) of uint8 and their ``Codes``."""

    crops: Tensor
    codes: Codes


def choose_all(
    model: JointCodec, photos: Photos, count: int, size: int, reach: tuple[float, float], seed: tuple[int, ...]
) -> Chosen:
    """Codes of ``count`` random crops at random rates, evenly out of ``reach``."""
    rates = np.sort(np.random.default_rng(seed).uniform(*reach, count))  # crops of one rate are done together
    rate = torch.tensor(rates, dtype=torch.float32, device=model.active.device)
    crops, codes = [], []
    for start in tqdm(range(0, count, TOGETHER), desc="choose codes", unit="batch", mininterval=5):
        part = slice(start, min(start + TOGETHER, count))
        found = photos.crops(part.stop - start, size, (*seed, start))
        crops.append(torch.as_tensor(found).cpu())
        effort = EFFORTS[start // TOGETHER % len(EFFORTS)]
        codes.append(model.choose(to_images(found, rate.device), rate[part], effort).to(torch.uint8))
    return Chosen(torch.cat(crops), Codes(torch.cat(codes), rate, active_at(model.active, rate), size // STRIDE))


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
    """Run the rounds; returns the averaged model.  See ``run_stage`` for resuming and splitting."""
    schedule = recipe.stages["joint"]
    folder.mkdir(parents=True, exist_ok=True)
    model = JointCodec(codec, prior, groups, codec.active(), recipe.price_scale).to(device)
    reach = tuple(recipe.dial or (0, len(recipe.lambdas)))
    validation = held_back(photos, device)
    share = ranks.slice_of(schedule.batch)
    for turn in range(schedule.rounds):
        name, seed = f"joint-{turn}", (recipe.seed, 5, turn)
        cache = folder / f"chosen-{turn}.pt"
        if ranks.first() and not checkpoints.exists(cache):
            recount(model, photos, schedule.crop, seed)
            found = choose_all(model.eval(), photos, schedule.samples, schedule.crop, reach, seed)
            static = model.codec.quantizer.log2_probability
            saved = {"crops": found.crops, "codes": asdict(found.codes), "static": static}
            checkpoints.save(saved, cache, split)
        ranks.wait()
        saved = checkpoints.load(cache)
        model.codec.quantizer.log2_probability.copy_(saved["static"])
        crops = saved["crops"]
        codes = Codes(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in saved["codes"].items()})
        lessons = Lessons(codes, model.codec, groups, schedule, seed)

        def batch(step: int) -> tuple[Tensor, list[Part]]:
            drawn = np.random.default_rng((*seed, step)).integers(len(crops), size=schedule.batch)[share]
            return torch.from_numpy(drawn), lessons.batch(step)

        def loss(model: JointCodec, data: tuple[Tensor, list[Part]], step: int) -> tuple[Tensor, dict[str, float]]:
            drawn, parts = data
            rate = codes.rate[drawn.to(device)]
            error = model(to_images(crops[drawn], device), rate, codes.codes[drawn.to(device)])
            nothing = torch.zeros_like(error)
            value = balanced(error, nothing, model.codec.prices, rate.round().long(), model.typical)
            bits, share_of_static = lessons.loss(model.prior, parts)
            return value + bits, {"distortion": value.item(), "share_of_static": share_of_static}

        model = run_stage(
            name,
            model,
            schedule,
            folder,
            batch,
            loss,
            lambda model: rate_distortion(model, validation),
            seed=recipe.seed,
            minutes=minutes,
            split=split,
        )
    recount(model, photos, schedule.crop, (recipe.seed, 8))
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
            codes, height = model.choose(image, rate), image.shape[2] // STRIDE
            bits = ideal_bits(model.prior, codes, rate, int(sent), model.groups, height)
            decoded = codec.quantizer.restored(codec.quantizer.lookup(codes), level, height)
            mse = (codec.synthesis(decoded, level).round().clamp(0, 255) - image).square().mean().item()
            rows.append((10 * np.log10(255**2 / mse), 3 * bits / image.numel()))
        figures[f"psnr_{index}"], figures[f"bpp_{index}"] = np.mean(rows, axis=0)
    return figures


@torch.no_grad()
def recount(model: JointCodec, photos: Photos, size: int, seed: tuple[int, ...], crops: int = 48) -> None:
    """Static frequencies of the codes that the encoder chooses, of so many crops at each whole rate."""
    codec = model.codec
    count = torch.zeros_like(codec.usage)
    for number in range(len(codec.prices)):
        for start in range(0, crops, TOGETHER):
            rate = torch.full((TOGETHER,), float(number), device=count.device)
            images = to_images(photos.crops(TOGETHER, size, (*seed, 1, number, start)), count.device)
            count += codec.counted(rate, model.choose(images, rate))
    codec.usage.copy_(count)
    codec.quantizer.log2_probability.copy_(((count + 0.02) / (count + 0.02).sum(-1, keepdim=True)).log2())

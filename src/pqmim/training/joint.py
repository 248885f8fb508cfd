"""A quantized codec and its prior as one model: what its encoder chooses, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pqmim.coding.schedule import Group, hurried, known_before, passes
from pqmim.dial import EFFORT
from pqmim.encoder import Candidates, Encoder
from pqmim.models.choice import Aim
from pqmim.models.prior.masked import MaskedPrior
from pqmim.models.quantizer import level_of_rate
from pqmim.models.transforms import STRIDE
from pqmim.training import ranks
from pqmim.training.data import Photos
from pqmim.training.lessons import Codes
from pqmim.training.precision import Precision
from pqmim.training.rates import active_at, ideal_bits
from pqmim.training.schedules import LessonSchedule
from pqmim.training.stage import Figures
from pqmim.training.stages.quantizer import QuantizedCodec
from pqmim.training.stages.transforms import squared_error
from pqmim.training.validation import point, to_images

TOGETHER = 16  # crops whose codes are chosen at once
EFFORTS = 0, 2, 4, 4, 4, 4, 4, 4  # of the encoders whose codes are learned from, in turns


class JointCodec(nn.Module):
    """A quantized codec and its prior.

    Args:
        codec: Transforms and quantizer.
        prior: Of its codes.
        groups: In which the prior codes them.
        active: Sub-quantizers sent at each whole rate, (L + 1,).
        price_scale: What a bit costs, of what it costs the codec.

    Attributes:
        precision: Of transforms and prior.
    """

    active: Tensor
    typical: Tensor

    def __init__(
        self,
        codec: QuantizedCodec,
        prior: MaskedPrior,
        groups: Sequence[Group],
        active: Tensor,
        price_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.codec, self.prior, self.groups, self.price_scale = codec, prior, list(groups), price_scale
        self.precision = Precision()
        self.register_buffer("active", active)
        self.register_buffer("typical", torch.zeros_like(codec.prices))

    def pictures_learn(self) -> None:
        """Let synthesis, codewords and prior learn, integers simulated; the analysis is fixed."""
        self.prior.rounding = True
        self.codec.requires_grad_(False)
        self.codec.synthesis.requires_grad_(True)
        self.codec.quantizer.codebook.requires_grad_(True)  # the prior goes on with those that it knows

    def forward(self, image: Tensor, rate: Tensor, codes: Tensor) -> Tensor:
        """Mean squared error (B,) of images (B, 3, H, W) decoded from codes (B, h*w, M)."""
        words = self.codec.quantizer.lookup(codes)
        return squared_error(self._decoded(words, level_of_rate(rate), image.shape[2] // STRIDE), image)

    @torch.no_grad()
    def choose(self, image: Tensor, rate: Tensor, effort: int = EFFORT) -> Tensor:
        """Codes (B, h*w, M) that the encoder chooses for images (B, 3, H, W) at fractional rates (B,)."""
        codec, sent = self.codec, active_at(self.active, rate)
        encoder = Encoder(codec.analysis, codec.quantizer, codec.synthesis, half=self.precision.half)
        aim = Aim(rate, self.price_scale * codec.price(rate), sent)
        found = encoder.candidates(
            image, aim, effort, lambda found: self._coded(hurried(self.groups), found, rate, sent)[1]
        )
        return self._coded(self.groups, found, rate, sent)[0]

    def _coded(self, groups: Sequence[Group], found: Candidates, rate: Tensor, sent: Tensor) -> tuple[Tensor, Tensor]:
        """Pass by pass, the cheapest candidates by the bits of the prior (B, h*w, M), and those bits of all of them."""
        codes, told = torch.zeros_like(found.codes[0], dtype=torch.long), torch.zeros_like(found.errors)
        seen, height = self.codec.quantizer.sent(sent), found.height
        width = codes.shape[1] // height
        for step in passes(groups, int(sent.max())):
            known = torch.from_numpy(known_before(step, codes.shape[-1], height, width)).T.to(codes.device)
            with self.precision.autocast(codes.device):
                tokens = self.prior.tokens(codes, known & seen, rate, height, step.blocks).flatten(1, 2)
            at = torch.from_numpy(step.positions(height, width)).to(codes.device)
            which = slice(step.sub_quantizers.start, step.sub_quantizers.stop)
            few = found.codes[:, :, at, which].long()  # (F, B, n, m)
            logits = self.prior.logits_of(tokens[:, at].flatten(0, 1), step.sub_quantizers, few.flatten(1, 2))
            bits = -logits.view(few.shape).float()  # and as many for all, which no choice depends on
            cost = found.errors[:, :, at, which] + bits
            codes[:, at, which] = few.gather(0, cost.argmin(0, keepdim=True))[0]
            told[:, :, at[:, None], torch.arange(which.start, which.stop)] = (bits - bits.amin(0)).to(told.dtype)
        return codes, told

    def _decoded(self, y: Tensor, level: Tensor, height: int) -> Tensor:
        """Images (B, 3, H, W) of codewords (B, h*w, C)."""
        z = self.codec.quantizer.restored(y, level, height)
        with self.precision.autocast(z.device):
            decoded: Tensor = self.codec.synthesis(z, level)
        return decoded.float()


@torch.no_grad()
def rate_distortion(model: JointCodec, images: list[Tensor], effort: int = EFFORT) -> Figures:
    """Mean PSNR and ideal bits a pixel at each whole rate, as `psnr_0`, `bpp_0` and so on."""
    codec, figures = model.codec, Figures()
    for index in range(len(codec.prices)):
        rate = torch.full((1,), float(index), device=codec.prices.device)
        level, rows = level_of_rate(rate), []
        order = passes(model.groups, int(active_at(model.active, rate)))
        for image in images:
            codes, height = model.choose(image, rate, effort), image.shape[2] // STRIDE
            bits = ideal_bits(model.prior, codes, rate, order, height)
            decoded = codec.quantizer.restored(codec.quantizer.lookup(codes), level, height)
            mse = (codec.synthesis(decoded, level).round().clamp(0, 255) - image).square().mean().item()
            rows.append((mse, bits / image.numel()))
        figures |= point(rows, f"_{index}")
    return figures


@torch.no_grad()
def recount(model: JointCodec, photos: Photos, size: int, seed: tuple[int, ...], crops: int = 48) -> None:
    """Static frequencies of the codes that the encoder chooses for random crops, `crops` at each whole rate."""
    codec = model.codec
    count = torch.zeros_like(codec.usage)
    for number in range(len(codec.prices)):
        for start in range(0, crops, TOGETHER):
            rate = torch.full((TOGETHER,), float(number), device=count.device)
            images = to_images(photos.crops(TOGETHER, size, (*seed, 1, number, start)), count.device)
            count += codec.counted(rate, model.choose(images, rate))
    codec.usage.copy_(count)
    codec.quantizer.log2_probability.copy_(((count + 0.02) / (count + 0.02).sum(-1, keepdim=True)).log2())


@dataclass(frozen=True)
class Chosen:
    """Crops (N, S, S, 3) of uint8 and their `Codes`."""

    crops: Tensor
    codes: Codes


def choose_all(
    model: JointCodec, photos: Photos, schedule: LessonSchedule, reach: tuple[float, float], seed: tuple[int, ...]
) -> Chosen:
    """Codes of random crops at random rates, evenly out of `reach`, as encoders of several efforts choose them."""
    count, size = schedule.samples, schedule.crop
    rate = random_rates(count, reach, seed).to(model.active.device)
    crops, codes = [], []
    for start in tqdm(
        range(0, count, TOGETHER), desc="choose codes", unit="batch", mininterval=5, disable=not ranks.first()
    ):
        part = slice(start, min(start + TOGETHER, count))
        found = photos.crops(part.stop - start, size, (*seed, start))
        crops.append(torch.as_tensor(found).cpu())
        effort = EFFORTS[start // TOGETHER % len(EFFORTS)]
        codes.append(model.choose(to_images(found, rate.device), rate[part], effort).to(torch.uint8))
    return Chosen(torch.cat(crops), Codes(torch.cat(codes), rate, active_at(model.active, rate), size // STRIDE))


def random_rates(count: int, reach: tuple[float, float], seed: tuple[int, ...]) -> Tensor:
    """Rates (N,) evenly out of `reach`, in order: crops of one rate are done together."""
    return torch.tensor(np.sort(np.random.default_rng(seed).uniform(*reach, count)), dtype=torch.float32)

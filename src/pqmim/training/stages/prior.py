"""Stage 3: the masked prior, on the codes of random crops, chosen with static frequencies."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pqmim.coding.schedule import passes
from pqmim.models.prior.masked import MaskedPrior
from pqmim.models.quantizer import level_of_rate
from pqmim.models.transforms import STRIDE, blend
from pqmim.training import loop
from pqmim.training.data import Photos
from pqmim.training.joint import TOGETHER, JointCodec, choose_all
from pqmim.training.lessons import Codes, Lessons, Part
from pqmim.training.rates import active_at, ideal_bits
from pqmim.training.recipe import Recipe
from pqmim.training.run import Run
from pqmim.training.schedules import PriorSchedule
from pqmim.training.stage import Figures, Stage
from pqmim.training.stages.quantizer import QuantizedCodec
from pqmim.training.validation import held_back, to_images

NAME = "prior"
CACHE = "codes"  # the checkpoint of the crops' codes
PHOTOS = 10  # that the stage is measured on, each at a rate of its own


def new_prior(recipe: Recipe, codec: QuantizedCodec, kind: type[MaskedPrior] = MaskedPrior) -> MaskedPrior:
    """A prior of the recipe's sizes that starts at the codec's static frequencies."""
    torch.manual_seed(recipe.seed + 3)
    quantizer = codec.quantizer
    prior = kind(recipe.prior.config(), quantizer.codebook.cpu(), quantizer.dimensions, len(codec.prices))
    prior.to(codec.prices.device).start(quantizer.log2_probability)
    return prior


@torch.no_grad()
def encode_crops(codec: QuantizedCodec, photos: Photos, schedule: PriorSchedule, run: Run, seed: int) -> Codes:
    """Codes of random crops, each at a random rate, chosen with the static frequencies."""
    codec.eval()
    count, size = schedule.samples, schedule.crop
    rates = np.random.default_rng((seed, 3)).random(count) * (len(codec.prices) - 1)
    rate = torch.tensor(rates, dtype=torch.float32, device=run.device)
    sent = active_at(codec.active(), rate)
    batches = []
    steps = range(0, count, TOGETHER)
    for start in tqdm(steps, desc="encode crops", unit="batch", mininterval=5, disable=not run.progress):
        part = slice(start, min(start + TOGETHER, count))
        images = to_images(photos.crops(part.stop - start, size, (seed, 3, start)), run.device)
        with run.autocast():
            z = codec.latent(images, rate[part])
        batches.append(codec.quantizer.assign(z, rate[part], codec.price(rate[part]), sent[part]).to(torch.uint8))
    return Codes(torch.cat(batches), rate, sent, size // STRIDE)


class PriorStage(Stage[MaskedPrior, list[Part]]):
    """A prior on cached codes; towards the end the integers of its released form are simulated."""

    schedule: PriorSchedule

    def __init__(self, model: JointCodec, lessons: Lessons, validation: list[Tensor], run: Run, seed: int) -> None:
        schedule = lessons.schedule
        assert isinstance(schedule, PriorSchedule)
        super().__init__(NAME, model.prior, schedule, run, seed)
        self.joint, self.lessons, self.validation = model, lessons, validation

    def batch(self, step: int) -> list[Part]:
        """Parts of a batch: passes, and completion."""
        return self.lessons.batch(step)

    def step(self, data: list[Part], step: int) -> Figures:
        """Bits as a share of static ones."""
        self.model.rounding = step >= self.schedule.rounding_from * self.schedule.steps
        value, share = self.lessons.loss(self.model, data, self.run)
        self.learners[0].follow(value)
        return {"share_of_static": share}

    def evaluate(self, model: MaskedPrior) -> Figures:
        """Bits of held-back photos as a share of static ones, the mean over photos, each at another rate."""
        codec, shares = self.joint.codec, []
        for number, image in enumerate(self.validation):
            last = len(codec.prices) - 1
            rate = torch.tensor([number * last / max(1, len(self.validation) - 1)], device=self.run.device)
            z = codec.analysis(image, level_of_rate(rate))
            active = active_at(codec.active(), rate)
            codes = codec.quantizer.assign(z, rate, codec.price(rate), active)
            bits = ideal_bits(model, codes, rate, passes(self.joint.groups, int(active)), z.shape[2])
            table = blend(codec.quantizer.log2_probability.flatten(1), rate).view(codes.shape[-1], -1)
            shares.append(bits / -table.gather(1, codes[0].T).sum().item())
        return {"share_of_static": float(np.mean(shares))}

    def cost(self, figures: Figures) -> float:
        """The share of static bits."""
        return figures["share_of_static"]


def prior_codes(recipe: Recipe, model: JointCodec, photos: Photos, run: Run) -> Codes:
    """The codes that the prior learns from, made once: by static frequencies, or as the encoder of `model` chooses."""
    schedule = recipe.stages.prior
    assert schedule is not None

    def make() -> dict[str, Any]:
        if schedule.chosen:
            model.precision = run.precision
            return asdict(choose_all(model.eval(), photos, schedule, recipe.reach, (recipe.seed, 3)).codes)
        return asdict(encode_crops(model.codec, photos, schedule, run, recipe.seed))

    return Codes(**run.once(CACHE, make, run.device))


def train_prior(recipe: Recipe, model: JointCodec, data: Codes, photos: Photos, run: Run) -> JointCodec:
    """Train the prior of `model` on codes; it gets the averaged one.  See `loop.train` for resuming."""
    schedule, codec = recipe.stages.prior, model.codec
    assert schedule is not None
    lessons = Lessons(data, codec, model.groups, schedule, (recipe.seed, 4))
    stage = PriorStage(model, lessons, held_back(photos, run.device, PHOTOS), run, recipe.seed)
    model.prior = loop.train(stage)
    model.prior.rounding = True
    return model

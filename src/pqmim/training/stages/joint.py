"""Stage 4: synthesis, codebooks and prior on the codes that the encoder chooses, in rounds, while the analysis stands still.

Rounds alternate, as expectation and maximization do.  First the codes of many crops are chosen as the
encoder chooses them: an aim refined against the pixels in more steps or fewer, then each pass's cheapest
codewords by the bits of the prior.  Then all learn from these choices: the synthesis and the codewords to
make up the picture, the prior to expect the codes.  To choose takes several times as long as to learn, so
every crop is learned from several times.

No lesson for the analysis has paid yet.  Distortion straight through a hard choice, and soft assignment
under gradient descent (RDVQ, CVPR 2026), let rates grow; aiming at the refined codewords lets them
collapse; aiming where refinement went, and the cross-entropy of the soft choice, spoil the files that
are not refined: docs/lab-notes.md.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pqmim.training import loop, ranks
from pqmim.training.data import Photos
from pqmim.training.joint import Chosen, JointCodec, choose_all, rate_distortion, recount
from pqmim.training.lessons import Codes, Lessons, Part
from pqmim.training.recipe import Recipe
from pqmim.training.run import Run
from pqmim.training.schedules import JointSchedule
from pqmim.training.stage import Figures, Stage, rate_distortion_cost
from pqmim.training.stages.transforms import balanced
from pqmim.training.validation import held_back, to_images

PHOTOS, SIDE = 8, 256  # held-back photos that the stage is measured on, and their sides

Batch = tuple[Tensor, list[Part]]


class JointStage(Stage[JointCodec, Batch]):
    """One round, on chosen codes."""

    schedule: JointSchedule

    def __init__(self, name: str, model: JointCodec, chosen: Chosen, lessons: Lessons, run: Run) -> None:
        schedule = lessons.schedule
        assert isinstance(schedule, JointSchedule)
        super().__init__(name, model, schedule, run, lessons.seed[0])
        self.chosen, self.lessons = chosen, lessons
        self.share = ranks.slice_of(schedule.batch)
        self.validation: list[Tensor] = []

    def batch(self, step: int) -> Batch:
        """Numbers of crops whose pictures are learned from, and parts of the prior's lesson."""
        rng = np.random.default_rng((*self.lessons.seed, step))
        drawn = rng.integers(len(self.chosen.crops), size=self.schedule.batch)[self.share]
        return torch.from_numpy(drawn), self.lessons.batch(step)

    def step(self, data: Batch, step: int) -> Figures:
        """The picture's error, by levels alike or by its logarithm, and the bits as a share of static ones."""
        (drawn, parts), device = data, self.run.device
        codes, at = self.chosen.codes, drawn.to(device)
        rate = codes.rate[at]
        error = self.model(to_images(self.chosen.crops[drawn], device), rate, codes.codes[at])
        if self.schedule.logarithm:
            distortion = error.clamp(min=0.1).log().mean()  # a flat crop must not outweigh all others
        else:
            prices, index = self.model.codec.prices, rate.round().long()
            distortion = balanced(error, torch.zeros_like(error), prices, index, self.model.typical)
        bits, share_of_static = self.lessons.loss(self.model.prior, parts, self.run)
        self.learners[0].follow(distortion + bits)
        return {"distortion": distortion.item(), "share_of_static": share_of_static}

    def evaluate(self, model: JointCodec) -> Figures:
        """PSNR and ideal bits a pixel at each whole rate, as the encoder codes."""
        return rate_distortion(model, self.validation)

    def cost(self, figures: Figures) -> float:
        """Rate and distortion, all rates alike."""
        prices = self.model.price_scale * self.model.codec.prices
        return rate_distortion_cost(figures, prices.tolist())


def train_joint(recipe: Recipe, model: JointCodec, photos: Photos, run: Run) -> JointCodec:
    """Run the rounds; returns the averaged model.  See `loop.train` for resuming."""
    schedule = recipe.stages.joint
    assert schedule is not None
    model.to(run.device).pictures_learn()
    model.precision = run.precision
    validation = held_back(photos, run.device, PHOTOS, SIDE)
    for turn in range(schedule.rounds):
        seed = recipe.seed, 5, turn
        chosen = _chosen(recipe, model, photos, run, turn)
        lessons = Lessons(chosen.codes, model.codec, model.groups, schedule, seed)
        stage = JointStage(f"joint-{turn}", model, chosen, lessons, run)
        stage.validation = validation
        model = loop.train(stage)
    recount(model, photos, schedule.crop, (recipe.seed, 8))
    return model


def _chosen(recipe: Recipe, model: JointCodec, photos: Photos, run: Run, turn: int) -> Chosen:
    """The codes of a round, chosen once; the model takes over their static frequencies."""
    schedule, seed = recipe.stages.joint, (recipe.seed, 5, turn)
    assert schedule is not None

    def make() -> dict[str, Any]:
        recount(model, photos, schedule.crop, seed)
        found = choose_all(model.eval(), photos, schedule, recipe.reach, seed)
        static = model.codec.quantizer.log2_probability
        return {"crops": found.crops, "codes": asdict(found.codes), "static": static}

    saved = run.once(f"chosen-{turn}", make)
    model.codec.quantizer.log2_probability.copy_(saved["static"])
    codes: dict[str, Any] = {k: v.to(run.device) if isinstance(v, Tensor) else v for k, v in saved["codes"].items()}
    return Chosen(saved["crops"], Codes(**codes))

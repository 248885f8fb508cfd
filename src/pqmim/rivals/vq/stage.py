"""Training of the vanilla VQ-VAE: one stage, at the one rate of its codebook."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from pqmim.rivals import weights
from pqmim.rivals.beginning import begin
from pqmim.rivals.vq.files import KIND, tables_of
from pqmim.rivals.vq.model import MOST_BITS, VanillaVq, VqConfig
from pqmim.training import loop
from pqmim.training.data import Photos
from pqmim.training.recipe import BaseRecipe
from pqmim.training.run import Run
from pqmim.training.schedules import Part, QuantizerSchedule
from pqmim.training.stage import Figures
from pqmim.training.stages.transforms import CropStage, balanced
from pqmim.training.validation import point, to_images

COMMITMENT = 0.25  # of a squared error in the vectors, to one in the pixels (van den Oord et al. 2017)
SAMPLES = 16  # vectors for each codeword, for its first place
ROUNDS = 6  # of k-means, for the same


class Sizes(Part):
    """Of the codebook; as `VqConfig`."""

    bits: int = Field(12, ge=1, le=MOST_BITS)
    """Logarithm of the number of codewords."""
    dimensions: int = Field(64, ge=1)
    """Dimensions of a codeword."""
    level: int = Field(4, ge=0)
    """The rate level whose gains the transforms use."""


class Stages(Part):
    """The one stage."""

    vq: QuantizerSchedule
    """Transforms and codebook together."""


class Recipe(BaseRecipe):
    """A vanilla VQ-VAE."""

    kind: Literal["vq"] = "vq"
    """What is trained."""
    vq: Sizes = Sizes()
    """Sizes of the codebook."""
    stages: Stages
    """The schedule."""

    @model_validator(mode="after")
    def _level(self) -> "Recipe":
        if self.vq.level >= len(self.lambdas):
            raise ValueError(f"vq.level: there are lambdas for levels 0 to {len(self.lambdas) - 1}")
        return self


class VqStage(CropStage):
    """Distortion + commitment."""

    schedule: QuantizerSchedule

    def step(self, data: NDArray[np.uint8], step: int) -> Figures:
        """Transforms by gradients, the codebook by moving averages."""
        model = self.model
        with self.run.autocast():
            error, commitment, vectors, codes = model(self.images(data))
        cost = error + COMMITMENT * commitment
        one = torch.zeros(len(cost), dtype=torch.long, device=cost.device)  # a single level, whose rate is given
        value = balanced(cost, torch.zeros_like(cost), torch.zeros_like(model.typical), one, model.typical)
        if torch.isfinite(value):  # as `balanced`: a step gone wrong leaves no trace in the codebook
            model.observe(vectors, codes, decay=0.99)
        every = self.schedule.revive_every
        if every and (step + 1) % every == 0:
            model.revive(vectors)
        self.learners[0].follow(value)
        return {"loss": value.item(), "mse": error.mean().item(), "commitment": commitment.mean().item()}

    def evaluate(self, model: VanillaVq) -> Figures:
        """PSNR and static bits a pixel, and the share of codewords in use."""
        share = (model.usage + 0.01) / (model.usage + 0.01).sum()
        rows = []
        for image in self.validation:
            error, _, _, codes = model(image)
            rows.append((error.item(), -share[codes].log2().sum().item() / image.numel()))
        return point(rows) | {"used": (model.usage > 0.5).float().mean().item()}

    def cost(self, figures: Figures) -> float:
        """The error: the rate hardly moves."""
        return -figures["psnr"]


def train(recipe: Recipe, photos: Photos, run: Run) -> Path:
    """Run the stage, write `NAME.safetensors` into the run's folder and return its path."""
    schedule, proxy = recipe.stages.vq, begin(recipe, photos, run)
    config = VqConfig(**recipe.vq.model_dump())
    model = VanillaVq(recipe.config(), config)
    model.analysis.load_state_dict(proxy.analysis.state_dict())
    model.synthesis.load_state_dict(proxy.synthesis.state_dict())
    run.placed(model)
    if not run.has(recipe.name):
        model.fit(_samples(model, photos, schedule, run, recipe.seed), ROUNDS, recipe.seed)
    stage = VqStage(recipe.name, model, schedule, photos, run)
    found: VanillaVq = loop.train(stage.seeded(recipe.seed, 5))
    path = run.folder / f"{recipe.name}.safetensors"
    weights.save(path, weights.Record(KIND, recipe.config(), asdict(config)), found, tables_of(found))
    return path


@torch.no_grad()
def _samples(model: VanillaVq, photos: Photos, schedule: QuantizerSchedule, run: Run, seed: int) -> Tensor:
    """Vectors (N, D) of random crops, `SAMPLES` a codeword."""
    model.eval()
    parts: list[Tensor] = []
    while sum(map(len, parts)) < SAMPLES * len(model.codebook):
        crops = photos.crops(schedule.batch, schedule.crop, (seed, 6, len(parts)))
        parts.append(model.vectors(to_images(crops, run.device)).flatten(0, 2))
    return torch.cat(parts)

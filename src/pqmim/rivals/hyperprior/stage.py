"""Training of the mean-scale hyperprior: one stage, all rate levels at once."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import Field

from pqmim.rivals import weights
from pqmim.rivals.beginning import begin
from pqmim.rivals.hyperprior.files import KIND, tables_of
from pqmim.rivals.hyperprior.model import HyperpriorConfig, MeanScaleHyperprior
from pqmim.training import loop
from pqmim.training.data import Photos
from pqmim.training.recipe import BaseRecipe
from pqmim.training.run import Run
from pqmim.training.schedules import Part, Schedule
from pqmim.training.stage import Figures
from pqmim.training.stages.transforms import CropStage, RateDistortionStage
from pqmim.training.validation import point


class Sizes(Part):
    """Of the hyper-networks; as `HyperpriorConfig`."""

    hidden: int = Field(128, ge=1)
    """Channels of the hidden layers."""
    hyper_latent: int = Field(96, ge=1)
    """Channels of the hyper-latent."""


class Stages(Part):
    """The one stage."""

    hyperprior: Schedule
    """Transforms and hyperprior together."""


class Recipe(BaseRecipe):
    """A mean-scale hyperprior."""

    kind: Literal["hyperprior"] = "hyperprior"
    """What is trained."""
    hyperprior: Sizes = Sizes()
    """Sizes of the hyper-networks."""
    stages: Stages
    """The schedule."""


class HyperpriorStage(RateDistortionStage):
    """Distortion + lambda x rate."""

    def evaluate(self, model: MeanScaleHyperprior) -> Figures:
        """PSNR and ideal bits a pixel at each level."""
        return curve(self, model)


def curve(stage: CropStage, model: MeanScaleHyperprior) -> Figures:
    """PSNR and ideal bits a pixel of held-back photos at each level."""
    figures: Figures = {}
    for index in range(len(model.lambdas)):
        rows = [[x.item() for x in model(image, stage.one(index))] for image in stage.validation]
        figures |= point([(mse, bits) for mse, bits in rows], f"_{index}")
    return figures


def begun(recipe: BaseRecipe, sizes: Sizes, photos: Photos, run: Run) -> MeanScaleHyperprior:
    """A hyperprior on the transforms that the run, or the recipe, starts from."""
    proxy = begin(recipe, photos, run)
    model = MeanScaleHyperprior(recipe.config(), HyperpriorConfig(**sizes.model_dump()), proxy.lambdas.cpu())
    model.start(proxy.analysis, proxy.synthesis, proxy.proxy)
    return model.to(run.device)


def train(recipe: Recipe, photos: Photos, run: Run) -> Path:
    """Run the stage, write `NAME.safetensors` into the run's folder and return its path."""
    model = begun(recipe, recipe.hyperprior, photos, run)
    stage = HyperpriorStage(recipe.name, model, recipe.stages.hyperprior, photos, run)
    found: MeanScaleHyperprior = loop.train(stage.seeded(recipe.seed, 4))
    path = run.folder / f"{recipe.name}.safetensors"
    sizes = asdict(HyperpriorConfig(**recipe.hyperprior.model_dump()))
    weights.save(path, weights.Record(KIND, recipe.config(), sizes), found, tables_of(found))
    return path

"""Training of HiFiC: squared error, rate and features first, then an adversary too."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from pqmim.errors import WeightsError
from pqmim.models.features import SqueezeNet, distance
from pqmim.rivals import weights
from pqmim.rivals.hific.files import KIND, tables_of
from pqmim.rivals.hific.model import (
    ADVERSARIAL,
    SQUARED,
    Discriminator,
    HificPoint,
    judged_decoded,
    judged_real,
    rate_loss,
)
from pqmim.rivals.hyperprior.files import KIND as HYPERPRIOR
from pqmim.rivals.hyperprior.files import build
from pqmim.rivals.hyperprior.model import Coded, HyperpriorConfig, MeanScaleHyperprior
from pqmim.rivals.hyperprior.stage import Sizes, begun
from pqmim.training import loop
from pqmim.training.data import Photos
from pqmim.training.optimizers import Learner
from pqmim.training.recipe import BaseRecipe, RecipeError
from pqmim.training.run import Run
from pqmim.training.schedules import Part, Schedule
from pqmim.training.stage import Figures
from pqmim.training.stages.transforms import CropStage
from pqmim.training.validation import mse_of, point

BETAS = 0.5, 0.9  # of the discriminator's Adam


class Target(Part):
    """What the model is for; as `HificPoint`, and which parts learn."""

    level: int = Field(5, ge=0)
    """The rate level of the lambdas whose gains the model starts with."""
    target: float = Field(0.14, gt=0)
    """Bits a pixel that training steers to."""
    frozen_encoder: bool = False
    """Whether the synthesis alone learns: the codes stay those of the hyperprior."""
    width: int = Field(24, ge=1)
    """Channels of the discriminator's first convolution; 64 in the paper."""


class AdversarialSchedule(Schedule):
    """Of the stage with an adversary; its model follows Adam alone, at `adam`."""

    unread: ClassVar[Mapping[str, str]] = {"muon": "the model follows Adam alone against an adversary"}
    judge: float = Field(1e-4, gt=0)
    """Peak learning rate of the discriminator."""


class Stages(Part):
    """The stages, in order."""

    perceptual: Schedule
    """Rate, squared error and features."""
    adversarial: AdversarialSchedule | None = None
    """The same with an adversary; left out for the variant without one."""


class Recipe(BaseRecipe):
    """A HiFiC at one target rate."""

    kind: Literal["hific"] = "hific"
    """What is trained."""
    hyperprior: Sizes = Sizes()
    """Sizes of the hyper-networks."""
    hific: Target = Target()
    """What the model is for."""
    trained: Path | None = None
    """Weights of a trained hyperprior to go on from; where none are named, one that shares only the run's transforms."""
    stages: Stages
    """The schedules."""

    @model_validator(mode="after")
    def _beginning(self) -> "Recipe":
        if self.trained is not None and (named := sorted({"start", "weights"} & self.model_fields_set)):
            raise ValueError(f"{named[0]}: a recipe that names trained weights starts from those")
        return self

    @model_validator(mode="after")
    def _level(self) -> "Recipe":
        if self.hific.level >= len(self.lambdas):
            raise ValueError(f"hific.level: there are lambdas for levels 0 to {len(self.lambdas) - 1}")
        return self


class PerceptualStage(CropStage):
    """Squared error, rate and features, at one level and towards its target rate."""

    network: SqueezeNet
    point: HificPoint

    def step(self, data: NDArray[np.uint8], step: int) -> Figures:
        """One step of the model."""
        _, value, figures = self.reconstructed(self.images(data))
        self.learners[0].follow(value)
        return figures

    def reconstructed(self, images: Tensor) -> tuple[Coded, Tensor, Figures]:
        """Decoded pictures, what they cost without an adversary, and figures."""
        level = images.new_full((len(images),), float(self.point.level))
        with self.run.autocast():
            coded: Coded = self.model.coded(images, level)
            apart = self.features_apart(coded.image, images)
        error, bpp = (coded.image - images).square().mean(), 3 * coded.bits
        value = SQUARED * error + rate_loss(bpp, self.point.target) + apart
        figures = {"loss": value.item(), "bpp": bpp.mean().item(), "mse": error.item(), "features": apart.item()}
        return coded, value, figures

    def features_apart(self, decoded: Tensor, images: Tensor) -> Tensor:
        """Mean distance of features, of pictures moved by a random pixel: the first stride would leave a grid."""
        down, right = torch.randint(2, (2,)).tolist()
        moved = [self.network(x[..., down:, right:]) for x in (decoded, images)]
        return distance(*moved).mean()

    def evaluate(self, model: MeanScaleHyperprior) -> Figures:
        """PSNR, ideal bits a pixel and the distance of features of held-back photos."""
        rows, apart = [], []
        for image in self.validation:
            coded = model.coded(image, self.one(self.point.level))
            rows.append(((coded.image - image).square().mean().item(), coded.bits.item()))
            apart.append(distance(self.network(coded.image), self.network(image)).item())
        return point(rows) | {"features": float(np.mean(apart))}

    def cost(self, figures: Figures) -> float:
        """The loss without an adversary."""
        rate = rate_loss(torch.tensor([figures["bpp"]]), self.point.target).item()
        return SQUARED * mse_of(figures["psnr"]) + rate + figures["features"]


class AdversarialStage(PerceptualStage):
    """One step of the model against the discriminator, then one of the discriminator."""

    schedule: AdversarialSchedule
    judge: Discriminator

    def against(self, judge: Discriminator) -> None:
        """Set the adversary, and the optimizers of a game of two."""
        self.judge = self.others["judge"] = judge
        own = [p for p in self.model.parameters() if p.requires_grad]
        rate = self.schedule.judge
        self.learners = [
            Learner(own, [torch.optim.Adam(own, lr=self.schedule.adam)], self.schedule.clip, self.schedule.skip_above),
            Learner(judge.parameters(), [torch.optim.Adam(judge.parameters(), lr=rate, betas=BETAS)]),
        ]

    def step(self, data: NDArray[np.uint8], step: int) -> Figures:
        """One step each."""
        images = self.images(data)
        self.judge.train().requires_grad_(False)
        coded, value, figures = self.reconstructed(images)
        with self.run.autocast():
            fooled = judged_real(self.judge(coded.image, coded.latent))
        self.learners[0].follow(value + ADVERSARIAL * fooled)
        self.judge.requires_grad_(True)
        latent = coded.latent.detach()
        with self.run.autocast():
            seen = judged_real(self.judge(images, latent)) + judged_decoded(self.judge(coded.image.detach(), latent))
        self.learners[1].follow(seen)
        return figures | {"fooled": fooled.item(), "seen": seen.item()}


def beginning(recipe: Recipe, photos: Photos, run: Run) -> MeanScaleHyperprior:
    """The hyperprior that learns: a trained one where the recipe names it.

    Raises:
        RecipeError: The trained one has other sizes than the recipe.
        WeightsError: Its file is no weights of a hyperprior.
    """
    if recipe.trained is None:
        return begun(recipe, recipe.hyperprior, photos, run)
    torch.manual_seed(recipe.seed)
    found, _ = weights.load(recipe.trained, HYPERPRIOR, build, run.device)
    sizes = HyperpriorConfig(**recipe.hyperprior.model_dump())
    model = MeanScaleHyperprior(recipe.config(), sizes, torch.tensor(recipe.lambdas)).to(run.device)
    try:
        model.load_state_dict(found.state_dict())
    except RuntimeError as error:
        raise RecipeError(f"trained: {recipe.trained} has other sizes than the recipe") from error
    return model


def train(recipe: Recipe, photos: Photos, run: Run) -> Path:
    """Run the stages, write `NAME.safetensors` into the run's folder and return its path.

    Raises:
        WeightsError: The run names no SqueezeNet, or a file that is none.
    """
    if run.features is None:
        raise WeightsError(
            "its losses compare features: name the weights of a SqueezeNet 1.1 (--features)", recipe.name
        )
    network = SqueezeNet.read(run.features).to(run.device)
    chosen = HificPoint(recipe.hific.level, recipe.hific.target)
    model = beginning(recipe, photos, run)
    if recipe.hific.frozen_encoder:
        model.requires_grad_(False)
        model.synthesis.requires_grad_(True)
    first, second = recipe.stages.perceptual, recipe.stages.adversarial
    stage = PerceptualStage(f"{recipe.name}-perceptual", model, first, photos, run).seeded(recipe.seed, 9)
    stage.network, stage.point = network, chosen
    model = loop.train(stage)
    if second is not None:
        torch.manual_seed(recipe.seed + 9)
        judge = Discriminator(recipe.transforms.latent, recipe.hific.width).to(run.device)
        game = AdversarialStage(f"{recipe.name}-adversarial", model, second, photos, run).seeded(recipe.seed, 10)
        game.network, game.point = network, chosen
        game.against(judge)
        model = loop.train(game)
    path = run.folder / f"{recipe.name}.safetensors"
    sizes = asdict(HyperpriorConfig(**recipe.hyperprior.model_dump()))
    weights.save(path, weights.Record(KIND, recipe.config(), sizes), model, tables_of(model, chosen))
    return path

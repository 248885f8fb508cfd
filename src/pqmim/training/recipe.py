"""Recipes: everything that decides what a training run does, as validated YAML."""

from dataclasses import fields
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pqmim.errors import PqmimError
from pqmim.models.prior.masked import PriorConfig
from pqmim.models.transforms import TransformConfig
from pqmim.rivals.hyperprior.model import HyperpriorConfig
from pqmim.rivals.vq.model import MOST_BITS, VqConfig


class RecipeError(PqmimError):
    """A recipe that cannot be read, or that asks for something that does not exist."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(Strict):
    """Optimization of one stage; ``muon`` and ``adam`` are peak learning rates."""

    steps: int = Field(ge=0)
    batch: int = Field(ge=1)
    crop: int = Field(256, ge=32, multiple_of=16, description="side of the training crops, in pixels")
    muon: float = 0.003
    adam: float = 0.001
    warmup: int = 100
    cooldown: float = Field(0.4, ge=0, le=1, description="share of the steps over which the rates fall to zero")
    clip: float = 1.0
    skip_above: float = Field(
        1e9, gt=0, description="gradient norm from which a step is skipped: Muon hears no clipping"
    )
    ema: float = Field(0.998, gt=0, lt=1)
    log_every: int = 50
    evaluate_every: int = 500
    save_seconds: float = 180
    revive_every: int = Field(
        0, ge=0, description="quantizer, vq: steps between revivals of unused codewords; 0 is never"
    )
    samples: int = Field(16_000, ge=1, description="prior, joint: crops whose codes are kept in memory")
    parts: int = Field(
        6, ge=2, description="prior, joint: parts of a batch, each a pass of the schedule but one that completes"
    )
    compile: bool = Field(False, description="compile the residual blocks (torch.compile), which pays on a GPU")
    rounds: int = Field(1, ge=1, description="joint: how often codes are chosen anew, each time for all the steps")
    completion: float = Field(0.15, ge=0, description="prior, joint: weight of the part that learns to complete")
    rounding_from: float = Field(
        0.7, ge=0, le=1, description="prior: share of the steps after which integers are simulated"
    )


class Augment(Strict):
    """What training crops go through at random."""

    flip: bool = Field(False, description="mirror half of them")
    scale: float = Field(1.0, ge=0.25, le=1, description="photos are first made smaller, by 1 down to this")
    colour: float = Field(
        0.0, ge=0, le=0.5, description="brightness, contrast, saturation and each channel change by up to this share"
    )


class Recipe(Strict):
    """One model, from photos to released weights: ours, or a rival, whose one stage is named like its kind."""

    name: str
    kind: Literal["pqmim", "hyperprior", "vq"] = "pqmim"
    seed: int = 0
    lambdas: list[float] = Field(
        min_length=2, description="MSE (0..255 scale) worth one bit a sample, from the highest rate to the lowest"
    )
    finest: float | None = Field(
        None, gt=0, description="pqmim: the price of a bit at quality 100, where gains are those of the first lambda"
    )
    dial: tuple[float, float] | None = Field(
        None, description="pqmim: rates of quality 100 and of quality 0, where rate 1 has the first lambda; all of them"
    )
    price_scale: float = Field(1.0, gt=0, description="the price of a bit in released files, of that in training")
    start: Literal["klt", "random"] = Field("klt", description="what the transforms start as")
    transforms: dict[str, int | float] = Field({}, description="fields of TransformConfig, less the levels")
    quantizer: dict[str, int | float] = Field({}, description="arguments of the quantizer's fit")
    prior: dict[str, int | float] = Field({}, description="fields of PriorConfig")
    hyperprior: dict[str, int] = Field({}, description="fields of HyperpriorConfig")
    vq: dict[str, int] = Field({}, description="fields of VqConfig")
    augment: Augment | None = Field(
        None, description="none given: half are mirrored, half scaled by up to 2, a tenth have their channels swapped"
    )
    resident: bool = Field(False, description="keep photos in the device's memory and cut crops there")
    stages: dict[Literal["transforms", "quantizer", "prior", "joint", "hyperprior", "vq"], Schedule]

    @field_validator("transforms")
    @classmethod
    def _transforms(cls, value: dict) -> dict:
        return _known(value, {field.name for field in fields(TransformConfig)} - {"levels"})

    @field_validator("quantizer")
    @classmethod
    def _quantizer(cls, value: dict) -> dict:
        return _known(value, {"bits", "codewords", "most", "crops", "rounds", "uniform", "nearest"})

    @field_validator("prior")
    @classmethod
    def _prior(cls, value: dict) -> dict:
        return _known(value, {field.name for field in fields(PriorConfig)})

    @field_validator("hyperprior")
    @classmethod
    def _hyperprior(cls, value: dict) -> dict:
        return _known(value, {field.name for field in fields(HyperpriorConfig)})

    @field_validator("vq")
    @classmethod
    def _vq(cls, value: dict) -> dict:
        if not 1 <= value.get("bits", 1) <= MOST_BITS:
            raise ValueError(f"bits must be 1 to {MOST_BITS}")
        return _known(value, {field.name for field in fields(VqConfig)})

    @model_validator(mode="after")
    def _complete(self) -> "Recipe":
        if self.kind == "pqmim" and self.finest is None:
            raise ValueError("finest: a recipe of kind pqmim needs it")
        if self.kind != "pqmim" and set(self.stages) != {self.kind}:
            raise ValueError(f"stages: a recipe of kind {self.kind} has the one stage {self.kind}")
        if not 0 <= self.vq.get("level", 0) < len(self.lambdas):
            raise ValueError(f"vq.level: there are lambdas for levels 0 to {len(self.lambdas) - 1}")
        return self


def _known(value: dict, names: set[str]) -> dict:
    for name in value:
        if name not in names:
            raise ValueError(f"{name} is not one of {', '.join(sorted(names))}")
    return value


def load(path: str | Path) -> Recipe:
    """Read and check a recipe.  Raises ``RecipeError`` naming the file and the first thing wrong with it."""
    try:
        return Recipe.model_validate(yaml.safe_load(Path(path).read_text()))
    except FileNotFoundError:
        raise RecipeError(f"{path} does not exist; the shipped recipes are in the folder recipes/.") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        what = f"{place}: {first['msg']}" if place else first["msg"]
        raise RecipeError(f"{path} is not a valid recipe: {what}.") from None

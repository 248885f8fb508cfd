"""Recipes: everything that decides what a training run does, as validated YAML.

`Recipe` is that of pqmim.  A rival has a recipe of its own, a subclass of `BaseRecipe` in its package.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from pqmim import rivals
from pqmim.coding.schedule import Group
from pqmim.errors import PqmimError
from pqmim.models.prior.masked import PriorConfig
from pqmim.models.transforms import HALO, TransformConfig
from pqmim.training.precision import Wish
from pqmim.training.schedules import JointSchedule, Part, PriorSchedule, QuantizerSchedule, TransformsSchedule

if TYPE_CHECKING:
    from typing_extensions import Self


class RecipeError(PqmimError):
    """A recipe that cannot be read, or that asks for something that does not exist."""


class Augment(Part):
    """What training crops go through at random."""

    flip: bool = False
    """Whether half of them are mirrored."""
    scale: float = Field(1.0, ge=0.25, le=1)
    """Photos are first made smaller, by a factor from 1 down to this."""
    colour: float = Field(0.0, ge=0, le=0.5)
    """Brightness, contrast, saturation and each channel change by up to this share."""


class Colourful(Part):
    """Shares of training crops with full colours, which photos rarely have and charts, paper and screens do."""

    stretched: float = Field(0.0, ge=0, le=1)
    """Crops whose saturation and contrast are raised, up to three times and nearly twice."""
    drawings: float = Field(0.0, ge=0, le=1)
    """Crops in whose place shapes and letters are drawn."""

    @model_validator(mode="after")
    def _shares(self) -> "Colourful":
        if self.stretched + self.drawings > 1:
            raise ValueError("stretched and drawings: their sum is above 1")
        return self


class Transforms(Part):
    """Sizes of analysis and synthesis; as `TransformConfig`, less the levels."""

    latent: int = Field(320, ge=1, le=768)
    """Latent dimensions of a position of 16x16 pixels."""
    analysis_fine: int = Field(3, ge=0)
    """Blocks of the analysis at 1/8 of the resolution."""
    analysis_coarse: int = Field(4, ge=0)
    """Blocks of the analysis at 1/16."""
    synthesis_coarse: int = Field(4, ge=0)
    """Blocks of the synthesis at 1/16."""
    synthesis_fine: int = Field(4, ge=0)
    """Blocks of the synthesis at 1/8."""
    expansion: float = Field(1.5, gt=0)
    """Width of a block's hidden layer, relative to its channels."""

    @model_validator(mode="after")
    def _within_reach(self) -> "Transforms":
        analysis = self.analysis_coarse + self.analysis_fine / 2
        synthesis = self.synthesis_coarse + self.synthesis_fine / 2
        if max(analysis, synthesis) > HALO:
            raise ValueError(f"blocks reach farther than the {HALO} positions that strips of a picture overlap by")
        return self


class Quantizer(Part):
    """How the product quantizer is fitted to the latents of the scalar proxy."""

    bits: float = Field(3.0, gt=0)
    """Bits of a sub-quantizer, at the highest rate, that grouping aims at."""
    codewords: int = Field(256, ge=2, le=256)
    """Codewords of each sub-quantizer."""
    most: int = Field(16, ge=1)
    """Channels that a sub-quantizer holds at most."""
    uniform: int = Field(0, ge=0)
    """Channels of every sub-quantizer, whatever they carry; 0 groups by `bits`."""
    nearest: bool = False
    """Whether bits cost nothing where codewords are chosen, as in plain vector quantization."""
    crops: int = Field(96, ge=16, multiple_of=16)
    """Crops at each rate that the codebooks are fitted to."""
    rounds: int = Field(4, ge=1)
    """Rounds of entropy-constrained k-means."""
    kept: bool = False
    """Whether sub-quantizers, and with them the prior, go on from the release whose transforms go on."""
    order: list[int] | None = None
    """New order of the first sub-quantizers of the release that a run starts from: 4 at 2 makes the fifth the third."""

    @model_validator(mode="after")
    def _permutation(self) -> "Quantizer":
        if self.order is not None and sorted(self.order) != list(range(len(self.order))):
            raise ValueError(f"order: it must hold each of 0 to {len(self.order) - 1} once")
        return self


class GroupPart(Part):
    """Sub-quantizers `start` to `stop` (exclusive), coded together."""

    start: int = Field(ge=0)
    """The first sub-quantizer."""
    stop: int = Field(ge=1)
    """The one after the last."""
    stages: int = Field(ge=1, le=4)
    """Spatial stages."""
    blocks: int | None = Field(None, ge=1)
    """Blocks of the prior that its passes run, the first ones; all where none are named."""


class Prior(Part):
    """The masked prior: sizes, as `PriorConfig`, and its groups."""

    width: int = Field(256, ge=8, multiple_of=8)
    """Width of a token."""
    blocks: int = Field(5, ge=1)
    """Transformer blocks."""
    heads: int = Field(4, ge=1)
    """Attention heads."""
    hidden: int = Field(512, ge=1)
    """Hidden units of a block's gated layer."""
    rank: int = Field(8, ge=0)
    """Rank of the free term of the logits."""
    dropped: list[int] = Field([])
    """Blocks of the prior of the release that a run starts from that are left out."""
    groups: list[GroupPart] | None = None
    """Groups of sub-quantizers, in coding order; where none are named, they are cut by `shares` and `stages`."""
    shares: list[float] = Field([0.12, 0.2, 0.23, 0.23])
    """Shares of the rate of all groups but the last."""
    stages: list[int] = Field([4, 2, 2, 2, 2])
    """Spatial stages of each group."""

    @model_validator(mode="after")
    def _nested(self) -> "Prior":
        reached = 0
        for group in self.groups or ():
            if not reached == group.start < group.stop:
                raise ValueError(f"groups: one starts at {group.start} and stops at {group.stop}, after {reached}")
            if group.blocks is not None and group.blocks > self.blocks:
                raise ValueError(f"groups: {group.blocks} blocks of {self.blocks}")
            reached = group.stop
        if len(self.stages) != len(self.shares) + 1:
            raise ValueError("stages: one more than there are shares")
        return self

    def config(self) -> PriorConfig:
        """The sizes as the model takes them."""
        return PriorConfig(self.width, self.blocks, self.heads, self.hidden, self.rank)

    def named_groups(self) -> list[Group] | None:
        """The groups that the recipe names; None if it names none."""
        if self.groups is None:
            return None
        return [Group(**group.model_dump(exclude_none=True)) for group in self.groups]


class Mean(Part):
    """Weights of another release, of the same sizes, that a run from a release mixes in before it starts."""

    weights: Path
    """The other release."""
    share: float = Field(gt=0, lt=1)
    """Its share in all numbers."""


class Stages(Part):
    """Schedules of the stages that a run goes through, in this order."""

    transforms: TransformsSchedule | None = None
    """Analysis and synthesis under the scalar proxy."""
    quantizer: QuantizerSchedule | None = None
    """Codebooks, and the synthesis that follows them."""
    prior: PriorSchedule | None = None
    """The masked prior, on codes chosen with static frequencies."""
    joint: JointSchedule | None = None
    """Synthesis, codebooks and prior, on codes that the encoder chooses."""


class BaseRecipe(Part):
    """What the recipes of pqmim and of its rivals have in common."""

    name: str
    """Of the run: its weights are `NAME.safetensors`."""
    kind: str
    """What is trained: `pqmim`, or a rival."""
    seed: int = 0
    """Decides every random choice."""
    lambdas: list[float] = Field(min_length=2)
    """Squared error (0..255 scale) worth one bit a sample, from the highest rate to the lowest."""
    transforms: Transforms = Transforms()
    """Sizes of analysis and synthesis."""
    start: Literal["klt", "random", "release"] = "klt"
    """What the transforms start as; `release` begins from released weights, deepened where the recipe has more blocks."""
    weights: Path | None = None
    """The release to start from; the packaged one where none is named."""
    augment: Augment | None = None
    """What crops go through; where nothing is said, half are mirrored, half scaled by up to 2, a tenth swap channels."""
    colourful: Colourful | None = None
    """Shares of crops with full colours, beside what `augment` does; none where nothing is said."""
    resident: bool = False
    """Whether photos are kept in the device's memory, and crops cut there."""
    precision: Wish = "auto"
    """Of matrix products: bfloat16 where the processor has it natively, unless one is named."""

    @model_validator(mode="after")
    def _started(self) -> "Self":
        if self.weights is not None and self.start != "release" and "start" not in self.unread:
            raise ValueError(f"weights: a recipe that starts from {self.start} reads none")
        return self

    def config(self) -> TransformConfig:
        """Sizes of the transforms as the model takes them."""
        return TransformConfig(levels=len(self.lambdas), **self.transforms.model_dump())


class Recipe(BaseRecipe):
    """A pqmim codec, from photos to released weights."""

    kind: Literal["pqmim"] = "pqmim"
    """What is trained."""
    finest: float = Field(gt=0)
    """The price of a bit at rate 0, where steps are finer than those of the first lambda."""
    dial: list[float] | None = Field(None, min_length=2)
    """Rates at qualities evenly apart, from 100 down to 0, straight lines between; rate 1 has the first lambda.

    From 0 to the last lambda where none are named.
    """
    price_scale: float = Field(1.0, gt=0)
    """The price of a bit in released files, of that in training."""
    mean: Mean | None = None
    """What is mixed into the release that a run without new transforms starts from."""
    quantizer: Quantizer = Quantizer()
    """How codebooks are fitted."""
    prior: Prior = Prior()
    """Sizes and groups of the masked prior."""
    stages: Stages
    """Schedules of the stages."""

    @model_validator(mode="after")
    def _complete(self) -> "Recipe":
        needed = [] if self.start == "release" else ["transforms", "quantizer", "prior"]
        if missing := [name for name in needed if getattr(self.stages, name) is None]:
            raise ValueError(f"stages: a recipe that starts from {self.start} needs {' and '.join(missing)}")
        if self.rates != sorted(set(self.rates)) or self.rates[0] < 0 or self.rates[-1] > len(self.lambdas):
            raise ValueError(f"dial: rates rise from 0 at least to {len(self.lambdas)} at most")
        if (self.stages.transforms is None) != (self.stages.quantizer is None):
            raise ValueError("stages: new transforms need the stage quantizer, and it needs the stage transforms")
        if self.quantizer.kept and self.start != "release":
            raise ValueError(f"quantizer.kept: a recipe that starts from {self.start} has no sub-quantizers to keep")
        if self.stages.prior is not None and self.stages.prior.chosen and not self.prior_known:
            raise ValueError("stages.prior.chosen: only a release has a prior to choose by")
        if self.mean is not None and not self.from_release:
            raise ValueError(
                "mean: only a run that starts from a release, without new transforms, can mix in another one"
            )
        if self.prior.dropped and not (self.stages.prior is not None and self.prior_known):
            raise ValueError("prior.dropped: only a stage prior that goes on from a release's can leave out blocks")
        unread = {"order"} | ({"bits", "codewords", "most", "uniform"} if self.quantizer.kept else set())
        if self.from_release:  # the quantizer is the release's, and is not fitted again
            unread = set(Quantizer.model_fields) - {"kept", "order"}
        if named := [name for name in self.quantizer.model_dump(exclude_defaults=True) if name in unread]:
            raise ValueError(f"quantizer.{named[0]}: nothing in this recipe reads it")
        return self

    @property
    def prices(self) -> list[float]:
        """Squared error worth a bit at each whole rate: `finest`, then the lambdas."""
        return [self.finest, *self.lambdas]

    @property
    def from_release(self) -> bool:
        """Whether the transforms of a release stay as they are: quantizer and prior go on from it."""
        return self.start == "release" and self.stages.transforms is None

    @property
    def prior_known(self) -> bool:
        """Whether the prior goes on from that of a release."""
        return self.from_release or self.quantizer.kept

    @property
    def rates(self) -> list[float]:
        """Rates at qualities evenly apart, from 100 down to 0."""
        return self.dial or [0.0, float(len(self.lambdas))]

    @property
    def reach(self) -> tuple[float, float]:
        """Rates of quality 100 and of quality 0."""
        return self.rates[0], self.rates[-1]


def load(path: str | Path) -> BaseRecipe:
    """Read and check a recipe.

    Raises:
        RecipeError: It names the file and the first thing wrong with it.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError("does not exist; the shipped recipes are in the folder recipes/", path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError("cannot be read", path) from error
    except yaml.YAMLError as error:
        raise RecipeError(f"is not valid YAML: {str(error).splitlines()[0]}", path) from None
    try:
        return kind_of(values).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        what = f"{place}: {first['msg']}" if place else first["msg"]
        raise RecipeError(f"is not a valid recipe: {what}", path) from None


def kind_of(values: Any) -> type[BaseRecipe]:
    """The class of a recipe's kind: `Recipe`, that of a look, or a rival's."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind == "vivid":
        from pqmim.training.stages.look import LookRecipe  # which imports this module

        return LookRecipe
    if isinstance(kind, str) and kind in rivals.REGISTRY:
        found: type[BaseRecipe] = rivals.REGISTRY[kind].recipe()
        return found
    return Recipe

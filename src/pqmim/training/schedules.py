"""How stages of training learn: steps, batches, rates, as parts of a recipe."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from typing_extensions import Self


class Part(BaseModel):
    """A part of a recipe: fields that it does not know, or that nothing would read, are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    unread: ClassVar[Mapping[str, str]] = {}  # fields of a class above that this one has no use for, and why

    @model_validator(mode="after")
    def _all_read(self) -> "Self":
        for name, why in self.unread.items():
            if name in self.model_fields_set:
                raise ValueError(f"{name}: {why}")
        return self


class Schedule(Part):
    """Optimization of one stage."""

    steps: int = Field(ge=0)
    """Steps, each of one batch."""
    batch: int = Field(ge=1)
    """Crops a step, over all processes."""
    crop: int = Field(256, ge=32, multiple_of=16)
    """Side of the crops, in pixels."""
    muon: float = Field(0.003, gt=0)
    """Peak learning rate of matrices."""
    adam: float = Field(0.001, gt=0)
    """Peak learning rate of all other parameters."""
    warmup: int = Field(100, ge=0)
    """Steps over which the rates rise to their peaks."""
    cooldown: float = Field(0.4, ge=0, le=1)
    """Share of the steps, the last ones, over which the rates fall to zero."""
    clip: float = Field(1.0, gt=0)
    """Norm above which gradients are scaled down."""
    skip_above: float = Field(1e9, gt=0)
    """Norm of the gradient from which a step is skipped: clipping does not slow Muon, which orthogonalizes."""
    ema: float = Field(0.998, gt=0, lt=1)
    """Share of the running average of the weights that a step keeps."""
    line_search: bool = False
    """Whether the stage ends at the best place on the line from its first weights through its last."""
    log_every: int = Field(50, ge=1)
    """Steps between two lines of the log."""
    evaluate_every: int = Field(500, ge=1)
    """Steps between two measurements on held-back photos."""
    save_seconds: float = Field(180, ge=0)
    """Seconds between two checkpoints."""
    compile: bool = False
    """Whether residual blocks are compiled (`torch.compile`), which pays on a GPU."""


class LevelSchedule(Schedule):
    """Of stages that learn all levels in turns."""

    levels: int | None = Field(None, ge=1)
    """How many levels learn, from that of the first lambda on; all where nothing is said."""


class TransformsSchedule(LevelSchedule):
    """Of the transforms under the scalar proxy."""


class QuantizerSchedule(LevelSchedule):
    """Of codebooks and synthesis."""

    revive_every: int = Field(0, ge=0)
    """Steps between two revivals of unused codewords; 0 is never."""


class LessonSchedule(Schedule):
    """Of stages in which the prior learns from the codes of crops."""

    samples: int = Field(16_000, ge=1)
    """Crops whose codes are kept in memory."""
    parts: int = Field(6, ge=2)
    """Parts of a batch, each a pass of the coding schedule but the last ones, which learn to complete."""
    completing: int = Field(1, ge=0)
    """How many of the parts learn to complete."""
    completion: float = Field(0.15, ge=0)
    """Weight of the parts that learn to complete, all together."""

    @model_validator(mode="after")
    def _codes(self) -> "LessonSchedule":
        if self.completing >= self.parts:
            raise ValueError(f"completing: {self.completing} of {self.parts} parts leave none that codes")
        return self


class PriorSchedule(LessonSchedule):
    """Of the masked prior alone."""

    rounding_from: float = Field(0.7, ge=0, le=1)
    """Share of the steps after which the arithmetic of the integer prior is simulated."""
    chosen: bool = False
    """Whether crops have the codes that the encoder chooses with a release's prior, not with static frequencies."""


class JointSchedule(LessonSchedule):
    """Of synthesis, codebooks and prior, on the encoder's own codes."""

    rounds: int = Field(1, ge=1)
    """How often codes are chosen anew, each time for all the steps."""
    logarithm: bool = False
    """Whether the logarithm of each crop's error counts, so that an easy crop counts as much as a hard one."""

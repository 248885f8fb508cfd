"""A stage of training: what learns, from what, and how it is measured."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
from torch import nn

from pqmim.training.optimizers import Learner
from pqmim.training.run import Run
from pqmim.training.schedules import Schedule
from pqmim.training.validation import mse_of

Model = TypeVar("Model", bound=nn.Module)
Data = TypeVar("Data")
Figures = dict[str, float]


class Stage(ABC, Generic[Model, Data]):
    """One stage, which `loop.train` runs.

    A stage with an adversary appends a second `Learner`, names the module in `others`, and follows both in `step`.

    Args:
        name: Of checkpoint and log.
        model: What is averaged, evaluated and returned; on the run's device.
        schedule: Steps, batch and rates.
        run: Folder, device and precision.
        seed: Of the noise that a step draws.

    Attributes:
        learners: Moved by `step`; the first one decides whether a step counts for the average.
        others: Modules that learn beside the model; in the checkpoint, not in the average.
    """

    def __init__(self, name: str, model: Model, schedule: Schedule, run: Run, seed: int = 0) -> None:
        self.name, self.model, self.schedule, self.run, self.seed = name, model, schedule, run, seed
        self.learners = [Learner.of(model, schedule, run.precision)]
        self.others: dict[str, nn.Module] = {}

    @abstractmethod
    def batch(self, step: int) -> Data:
        """Data of a step, by its number alone; called one step ahead, in a thread."""

    @abstractmethod
    def step(self, data: Data, step: int) -> Figures:
        """Learn from `data`: every learner follows a loss.  Returns figures to log."""

    def evaluate(self, model: Model) -> Figures:
        """Figures of a model on held-back photos."""
        return {}

    def cost(self, figures: Figures) -> float:
        """What a line search makes small, of the figures of `evaluate`."""
        raise NotImplementedError(f"{self.name} has no cost to search by")


def rate_distortion_cost(figures: Figures, prices: list[float]) -> float:
    """Mean over levels of the logarithm of squared error + price x bits a sample, of `psnr_N` and `bpp_N`."""
    costs = [mse_of(figures[f"psnr_{n}"]) + price * figures[f"bpp_{n}"] / 3 for n, price in enumerate(prices)]
    return float(np.log(costs).mean())

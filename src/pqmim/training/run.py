"""A run: where its files are, what computes, and until when."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from pqmim.errors import PqmimError
from pqmim.training import checkpoints, ranks
from pqmim.training.precision import Precision, Wish

Module = TypeVar("Module", bound=nn.Module)


class Unfinished(PqmimError):
    """Raised when the time given is over before the training is; what was reached is saved."""


@dataclass(frozen=True)
class Run:
    """Everything about a run that its recipe does not say.

    Attributes:
        folder: Holds checkpoints and logs; all processes of a run share it.
        device: Of this process.
        deadline: Seconds of the monotonic clock after which a stage stops.
        split: Megabytes (10**6 bytes) above which checkpoints are split into parts.
        progress: Whether this process shows bars.
        precision: Of matrix products.
        features: File of SqueezeNet 1.1's weights, for losses that compare features; None where none is named.
    """

    folder: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    deadline: float = math.inf
    split: float = math.inf
    progress: bool = False
    precision: Precision = field(default_factory=Precision)
    features: Path | None = None

    @classmethod
    def start(cls, folder: Path, device: str = "cpu", *, minutes: float = math.inf, **options: Any) -> "Run":
        """Meet the other processes of the run (see `ranks`), make the folder, and start the clock of `minutes`.

        Raises:
            UnsuitedRanks: There are more processes than GPUs.
        """
        folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + 60 * minutes
        return cls(folder, ranks.join(device), deadline, progress=ranks.first(), **options)

    def computing(self, wish: Wish) -> "Run":
        """This run in the precision wished for."""
        return replace(self, precision=Precision.of(self.device, wish))

    def inside(self, name: str) -> "Run":
        """This run in a folder of its own, inside its folder."""
        found = replace(self, folder=self.folder / name)
        found.folder.mkdir(parents=True, exist_ok=True)
        return found

    def autocast(self) -> torch.autocast:
        """A context in which products are of the run's precision."""
        return self.precision.autocast(self.device)

    def placed(self, module: Module) -> Module:
        """A module on the run's device, its kernels in the layout that convolutions take."""
        module.to(self.device)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub leaves it out
        return module

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.deadline

    def checkpoint(self, name: str) -> Path:
        """Where the checkpoint of that name is, or would be."""
        return self.folder / f"{name}.pt"

    def has(self, name: str) -> bool:
        """Whether there is such a checkpoint, whole or in parts."""
        return checkpoints.exists(self.checkpoint(name))

    def load(self, name: str, device: torch.device | str = "cpu") -> Any:
        """The checkpoint's content, its tensors on `device`; None if there is none."""
        return checkpoints.load(self.checkpoint(name), device)

    def save(self, name: str, state: Any) -> None:
        """Replace the checkpoint as a whole."""
        checkpoints.save(state, self.checkpoint(name), self.split)

    def once(self, name: str, make: Callable[[], Any], device: torch.device | str = "cpu") -> Any:
        """The checkpoint's content; if there is none, the first process makes it while the others wait."""
        if ranks.first() and not self.has(name):
            self.save(name, make())
        ranks.wait()
        return self.load(name, device)

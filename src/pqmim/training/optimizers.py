"""Optimizers of a stage: Muon for matrices, AdamW for the rest, and what keeps a step sane."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pqmim.training import ranks
from pqmim.training.precision import Precision
from pqmim.training.schedules import Schedule

MATRIX = 32  # parameters with two dimensions of at least this many entries are matrices, and Muon's


class FullMuon(torch.optim.Muon):
    """Muon (Jordan et al. 2024) that orthogonalizes in float32, for processors that emulate bfloat16.

    Its state is that of `torch.optim.Muon`, so a checkpoint serves both.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient; `closure` is not called."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                momentum = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
                ahead = matrix.grad.lerp(momentum, group["momentum"])  # Nesterov
                update = orthogonal(ahead, group["ns_coefficients"], group["ns_steps"])
                rows, columns = matrix.shape
                matrix.add_(update, alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))


def orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """A matrix (R, C) with the same singular vectors, and singular values of 0.7 to 1.2, by Newton and Schulz."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Learner:
    """Parameters that one loss moves, with their optimizers.

    Args:
        parameters: Those that learn; the frozen ones among them are left out.
        solvers: Optimizers over these parameters, at their peak rates.
        clip: Norm of the gradient above which it is scaled down.
        skip_above: Norm above which the step is skipped; one that is not finite always is.

    Attributes:
        norm: Norm of the last gradient, before clipping.
        moved: Whether the last step was made.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        solvers: list[torch.optim.Optimizer],
        clip: float = 1.0,
        skip_above: float = math.inf,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.solvers, self.clip, self.skip_above = solvers, clip, skip_above
        self.peaks = [[group["lr"] for group in solver.param_groups] for solver in solvers]
        self.norm, self.moved = 0.0, False

    @classmethod
    def of(cls, module: nn.Module, schedule: Schedule, precision: Precision) -> "Learner":
        """Muon for the matrices of `module`, AdamW for gains, biases and depthwise kernels."""
        trained = [p for p in module.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim == 2 and min(p.shape) >= MATRIX]
        others = [p for p in trained if not (p.ndim == 2 and min(p.shape) >= MATRIX)]
        solvers: list[torch.optim.Optimizer] = []
        if matrices:
            muon = torch.optim.Muon if precision.half else FullMuon
            solvers.append(muon(matrices, lr=schedule.muon, weight_decay=0.0))
        if others:
            solvers.append(torch.optim.AdamW(others, lr=schedule.adam, betas=(0.9, 0.99), weight_decay=0.0))
        return cls(trained, solvers, schedule.clip, schedule.skip_above)

    def at_rate(self, factor: float) -> None:
        """Set the learning rates to `factor` of their peaks."""
        for solver, peaks in zip(self.solvers, self.peaks, strict=True):
            for group, peak in zip(solver.param_groups, peaks, strict=True):
                group["lr"] = peak * factor

    def follow(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`, the mean over all ranks."""
        loss.backward()
        ranks.mean_(p.grad for p in self.parameters if p.grad is not None)
        self.norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.clip))
        self.moved = self.norm <= self.skip_above and math.isfinite(self.norm)
        for solver in self.solvers:
            if self.moved:
                solver.step()
            solver.zero_grad(set_to_none=True)


def rate_factor(step: int, schedule: Schedule) -> float:
    """Warm up linearly, hold, then fall linearly to zero over the last `cooldown` of the steps."""
    warm = min(1.0, (step + 1) / max(1, schedule.warmup))
    left = (schedule.steps - step) / max(1.0, schedule.cooldown * schedule.steps)
    return warm * max(0.0, min(1.0, left))

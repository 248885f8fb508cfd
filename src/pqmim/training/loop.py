"""The loop that every stage shares: optimizers, schedule, averaging, checkpoints, logs."""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from pqmim.errors import PqmimError
from pqmim.training import checkpoints, ranks
from pqmim.training.recipe import Schedule

MATRIX = 32  # parameters with two dimensions of at least this many entries are matrices, and Muon's


class Unfinished(PqmimError):
    """Raised when the time given is over before the training is; what was reached is saved."""


def optimizers(model: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices (Jordan et al. 2024), AdamW for gains, biases and depthwise kernels."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim == 2 and min(p.shape) >= MATRIX]
    others = [p for p in trained if not (p.ndim == 2 and min(p.shape) >= MATRIX)]
    found: list[torch.optim.Optimizer] = []
    if matrices:
        found.append(torch.optim.Muon(matrices, lr=schedule.muon, weight_decay=0.0))
    if others:
        found.append(torch.optim.AdamW(others, lr=schedule.adam, betas=(0.9, 0.99), weight_decay=0.0))
    return found


def rate_factor(step: int, schedule: Schedule) -> float:
    """Warm up linearly, hold, then fall linearly to zero over the last ``cooldown`` of the steps."""
    warm = min(1.0, (step + 1) / max(1, schedule.warmup))
    left = (schedule.steps - step) / max(1.0, schedule.cooldown * schedule.steps)
    return warm * max(0.0, min(1.0, left))


def run_stage(
    name: str,
    model: nn.Module,
    schedule: Schedule,
    folder: Path,
    batch: Callable[[int], Any],
    loss: Callable[[nn.Module, Any, int], tuple[Tensor, dict[str, float]]],
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    *,
    seed: int = 0,
    minutes: float = math.inf,
    split: float = math.inf,
) -> nn.Module:
    """Train ``model`` for the schedule's steps and return its running average (EMA).

    ``batch(step)`` makes the data of a step (called one step ahead, in a thread), ``loss(model, data,
    step)`` returns the loss and figures to log, ``evaluate(model)`` figures on held-back photos.  A run
    stopped at any point resumes from ``folder/NAME.pt`` to the weights that it would have reached
    uninterrupted: data and noise depend on the step alone.  Of several processes (``ranks``) each makes
    its slice of the batch and the mean loss of that; the first evaluates, logs and saves.  Checkpoints
    are parts of at most ``split`` megabytes.  Raises ``Unfinished`` when ``minutes`` are over before the
    steps are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = folder / f"{name}.pt", folder / f"{name}.jsonl"
    ranks.broadcast_(model.state_dict().values())  # eigenvectors may differ from machine to machine
    if schedule.compile:
        compile_blocks(model)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(schedule.ema))  # of parameters; buffers are copied
    solvers = optimizers(model, schedule)
    base = [[group["lr"] for group in solver.param_groups] for solver in solvers]
    first = 0
    if state := checkpoints.load(checkpoint):  # on the CPU, where AdamW counts its steps without waiting for a GPU
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for solver, saved in zip(solvers, state["optimizers"]):
            solver.load_state_dict(saved)
        first = state["step"]

    def save(step: int) -> None:
        state = {
            "step": step,
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizers": [s.state_dict() for s in solvers],
        }
        checkpoints.save(state, checkpoint, split)

    def record(step: int, figures: dict[str, float]) -> None:
        with log.open("a") as file:
            file.write(
                json.dumps({"stage": name, "step": step, **{k: round(float(v), 6) for k, v in figures.items()}}) + "\n"
            )
        if writer is not None:
            for key, value in figures.items():
                writer.add_scalar(f"{name}/{key}", value, step)

    writer = _tensorboard(folder) if ranks.first() else None
    started = saved_at = time.monotonic()
    running: dict[str, float] = {}
    parameters = [p for p in model.parameters() if p.requires_grad]
    with (
        ThreadPoolExecutor(1) as pool,
        tqdm(
            total=schedule.steps,
            initial=first,
            desc=name,
            unit="step",
            mininterval=5,
            disable=not ranks.first(),
        ) as bar,
    ):
        upcoming = pool.submit(batch, first)
        for step in range(first, schedule.steps):
            data, upcoming = upcoming.result(), pool.submit(batch, step + 1)
            for solver, rates in zip(solvers, base):
                for group, rate in zip(solver.param_groups, rates):
                    group["lr"] = rate * rate_factor(step, schedule)
            torch.manual_seed(seed * 1_000_003 + step)
            model.train()
            value, figures = loss(model, data, step)
            value.backward()
            ranks.mean_(p.grad for p in parameters if p.grad is not None)
            norm = torch.nn.utils.clip_grad_norm_(parameters, schedule.clip)
            if norm <= schedule.skip_above:  # false for what is not finite, too
                for solver in solvers:
                    solver.step()
                average.update_parameters(model)
            for solver in solvers:
                solver.zero_grad(set_to_none=True)
            for key, figure in figures.items() if norm <= schedule.skip_above else ():
                running[key] = figure if key not in running else 0.98 * running[key] + 0.02 * figure
            bar.update()
            bar.set_postfix({k: f"{v:.4g}" for k, v in list(running.items())[:3]}, refresh=False)
            done = step + 1
            if done % schedule.log_every == 0:
                figures = ranks.averaged(running)
                if ranks.first():
                    record(done, {"seconds": time.monotonic() - started, "gradient": float(norm), **figures})
            due = evaluate and (done % schedule.evaluate_every == 0 or done == schedule.steps)
            if due and ranks.first():
                record(done, {"seconds": time.monotonic() - started, **_evaluated(evaluate, average.module)})
            out_of_time = ranks.any_of((time.monotonic() - started) / 60 > minutes)
            due = done == schedule.steps or out_of_time or time.monotonic() - saved_at > schedule.save_seconds
            if due and ranks.first():
                save(done)
                saved_at = time.monotonic()
            if out_of_time and done < schedule.steps:
                raise Unfinished(f"{name} stopped in time at step {done} of {schedule.steps}: run it again to resume")
        upcoming.cancel()
    return average.module


def compile_blocks(model: nn.Module) -> None:
    """Compile all modules that say ``compiles``, in place: names of parameters, copies and checkpoints stay as they are.

    Blocks alone, since what is around them draws noise, looks at numbers or changes its shapes from step to step.
    """
    for module in model.modules():
        if getattr(module, "compiles", False):
            module.compile()


@torch.no_grad()
def _evaluated(evaluate: Callable[[nn.Module], dict[str, float]], model: nn.Module) -> dict[str, float]:
    model.eval()
    return {f"held_back/{key}": value for key, value in evaluate(model).items()}


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))

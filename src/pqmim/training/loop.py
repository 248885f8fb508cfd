"""The loop that every stage shares: rates, averaging, checkpoints, logs."""

import copy
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from pqmim.training import ranks
from pqmim.training.optimizers import rate_factor
from pqmim.training.run import Unfinished
from pqmim.training.stage import Data, Figures, Model, Stage

STRETCHES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # of the way that a stage went, which a line search tries


def train(stage: Stage[Model, Data]) -> Model:
    """Train a stage for its schedule's steps and return its model's running average (EMA).

    A run stopped at any point resumes from the stage's checkpoint to the weights that it would have reached
    uninterrupted: data and noise depend on the step alone.  Of several processes (`ranks`) each makes its slice of the
    batch; the first evaluates, logs and saves.

    Raises:
        Unfinished: The run's time is over before the steps are.
    """
    schedule = stage.schedule
    ranks.broadcast_(stage.model.state_dict().values())  # eigenvectors may differ from machine to machine
    if schedule.compile:
        compile_blocks(stage.model)
    state = State(stage)
    with closing(Log(stage)) as log:
        _run(stage, state, log)
        if schedule.line_search:
            _search(stage, state, log)
    found: Any = state.average.module
    return cast(Model, found)


def _run(stage: Stage[Model, Data], state: "State", log: "Log") -> None:
    """The steps that are not made yet."""
    schedule, run = stage.schedule, stage.run
    with ThreadPoolExecutor(1) as pool, log.bar(state.step):
        upcoming = pool.submit(stage.batch, state.step)
        for number in range(state.step, schedule.steps):
            data, upcoming = upcoming.result(), pool.submit(stage.batch, number + 1)
            log.stepped(_stepped(stage, state, data, number))
            log.figures(state.step)
            last = state.step == schedule.steps
            if ranks.first() and (last or state.step % schedule.evaluate_every == 0):
                log.evaluated(state.step, _evaluated(stage, state.average.module))
            over = ranks.any_of(run.over)
            if ranks.first() and (last or over or state.old):
                state.save()
            if over and not last:
                done = f"step {state.step} of {schedule.steps}"
                raise Unfinished(f"stopped in time at {done}: run it again to resume", stage.name)
        upcoming.cancel()


def _stepped(stage: Stage[Model, Data], state: "State", data: Data, number: int) -> Figures:
    """One step: the figures of it, none where it was skipped."""
    for learner in stage.learners:
        learner.at_rate(rate_factor(number, stage.schedule))
    torch.manual_seed(stage.seed * 1_000_003 + number)
    stage.model.train()
    figures = stage.step(data, number)
    state.step = number + 1
    if not stage.learners[0].moved:
        return {}
    state.average.update_parameters(stage.model)
    return figures


class State:
    """What a checkpoint holds: the step, the model, its average, other modules, optimizers.

    Attributes:
        step: Steps made.
        average: Running mean of the parameters; buffers are copied.
        stretch: Of the way from the start to the average, what a line search chose; None before one.
    """

    def __init__(self, stage: Stage[Any, Any]) -> None:
        self.stage, self.step = stage, 0
        self.stretch: float | None = None
        self.average = AveragedModel(stage.model, multi_avg_fn=get_ema_multi_avg_fn(stage.schedule.ema))
        self.start = None
        if stage.schedule.line_search:
            self.start = {name: p.detach().clone() for name, p in stage.model.named_parameters()}
        self._saved_at = time.monotonic()
        if found := stage.run.load(stage.name):  # on the CPU, where AdamW counts its steps without waiting for a GPU
            self._restore(found)

    @property
    def old(self) -> bool:
        """Whether the last checkpoint is older than the schedule's `save_seconds`."""
        return time.monotonic() - self._saved_at > self.stage.schedule.save_seconds

    def save(self) -> None:
        """Replace the checkpoint."""
        solvers = [solver for learner in self.stage.learners for solver in learner.solvers]
        self.stage.run.save(
            self.stage.name,
            {
                "step": self.step,
                "model": self.stage.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizers": [solver.state_dict() for solver in solvers],
                "others": {name: module.state_dict() for name, module in self.stage.others.items()},
                "stretch": self.stretch,
            },
        )
        self._saved_at = time.monotonic()

    def stretched(self, stretch: float) -> nn.Module:
        """A copy of the average, moved to `stretch` of the way from the start."""
        assert self.start is not None
        found: nn.Module = copy.deepcopy(self.average.module)
        for name, parameter in found.named_parameters():
            if parameter.is_floating_point():
                parameter.data = torch.lerp(self.start[name], parameter.data, stretch)
        return found

    def _restore(self, found: dict[str, Any]) -> None:
        self.stage.model.load_state_dict(found["model"])
        self.average.load_state_dict(found["average"])
        solvers = [solver for learner in self.stage.learners for solver in learner.solvers]
        for solver, saved in zip(solvers, found["optimizers"], strict=bool(found["optimizers"])):
            solver.load_state_dict(saved)
        for name, saved in found.get("others", {}).items():
            self.stage.others[name].load_state_dict(saved)
        self.step, self.stretch = found["step"], found.get("stretch")


class Log:
    """Figures of a stage: running means on the bar, lines in `NAME.jsonl`, curves in TensorBoard where it is there."""

    def __init__(self, stage: Stage[Any, Any]) -> None:
        self.stage, self.running = stage, Figures()
        self.path = stage.run.folder / f"{stage.name}.jsonl"
        self.started = time.monotonic()
        self._writer = _tensorboard(stage) if ranks.first() else None
        self._bar: Any = None

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds, and end its thread."""
        if self._writer is not None:
            self._writer.close()

    def bar(self, first: int) -> Any:
        """A bar of all steps, of which `first` are made."""
        total, shown = self.stage.schedule.steps, self.stage.run.progress
        self._bar = tqdm(
            total=total, initial=first, desc=self.stage.name, unit="step", mininterval=5, disable=not shown
        )
        return self._bar

    def stepped(self, figures: Figures) -> None:
        """Take in the figures of one step."""
        for key, figure in figures.items():
            self.running[key] = figure if key not in self.running else 0.98 * self.running[key] + 0.02 * figure
        self._bar.update()
        self._bar.set_postfix({k: f"{v:.4g}" for k, v in list(self.running.items())[:3]}, refresh=False)

    def figures(self, step: int) -> None:
        """Write the running means, every so often; all ranks call it."""
        if step % self.stage.schedule.log_every == 0:
            figures = ranks.averaged(self.running)
            self.write(step, {"gradient": self.stage.learners[0].norm, **figures})

    def evaluated(self, step: int, figures: Figures) -> None:
        """Write what was measured on held-back photos."""
        self.write(step, {f"held_back/{key}": value for key, value in figures.items()})

    def write(self, step: int, figures: Figures) -> None:
        """Write one line, on the first rank."""
        if not ranks.first():
            return
        figures = {"seconds": time.monotonic() - self.started, **figures}
        line = {"stage": self.stage.name, "step": step, **{k: round(float(v), 6) for k, v in figures.items()}}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for key, value in figures.items():
                self._writer.add_scalar(f"{self.stage.name}/{key}", value, step)


def _search(stage: Stage[Model, Data], state: State, log: Log) -> None:
    """Move the average to the best place on the line from the start of the stage through it; once, then from the checkpoint."""
    if state.stretch is None:
        best = 0.0
        if ranks.first():
            costs = {s: stage.cost(_evaluated(stage, state.stretched(s))) for s in STRETCHES}
            best = min(costs, key=lambda s: costs[s])
            log.write(state.step, {"stretch": best, **{f"cost_{s}": cost for s, cost in costs.items()}})
        chosen = torch.tensor(best, device=stage.run.device)
        ranks.broadcast_([chosen])
        state.stretch = float(chosen)
        if ranks.first():
            state.save()
    moved = state.stretched(state.stretch)
    for parameter, target in zip(state.average.module.parameters(), moved.parameters(), strict=True):
        parameter.data.copy_(target.data)


def compile_blocks(model: nn.Module) -> None:
    """Compile all modules that say `compiles`, in place: names of parameters, copies and checkpoints stay as they are.

    Blocks alone, since what is around them draws noise, looks at numbers or changes its shapes from step to step.
    """
    for module in model.modules():
        if getattr(module, "compiles", False):
            module.compile()


@torch.no_grad()
def _evaluated(stage: Stage[Model, Data], model: Any) -> Figures:
    model.eval()
    return stage.evaluate(model)


def _tensorboard(stage: Stage[Any, Any]) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(stage.run.folder / "tensorboard"))

import json

import pytest
import torch
from torch import nn

from pqmim.models import transforms
from pqmim.models.prior import masked as masked_prior
from pqmim.training import loop
from pqmim.training.optimizers import FullMuon, Learner, orthogonal, rate_factor
from pqmim.training.precision import Precision
from pqmim.training.run import Run, Unfinished
from pqmim.training.schedules import Schedule
from pqmim.training.stage import Stage

SCHEDULE = Schedule(steps=8, batch=4, warmup=2, save_seconds=0, log_every=2, evaluate_every=4)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(40))
        self.bias = nn.Parameter(torch.zeros(40))

    def forward(self, x):
        return x @ self.matrix + self.bias


class ToyStage(Stage):
    """Learns to answer 1 to anything."""

    def batch(self, step):
        return torch.randn(4, 40, generator=torch.Generator().manual_seed(step))

    def step(self, data, step):
        value = (self.model(data) + 0.1 * torch.randn(4, 40) - 1).square().mean()
        self.learners[0].follow(value)
        return {"loss": value.item()}

    def evaluate(self, model):
        return {"error": (model(self.batch(99)) - 1).square().mean().item()}

    def cost(self, figures):
        return figures["error"]


class Adversary(ToyStage):
    """A second module that learns to tell the model's answers, at a rate of its own."""

    def __init__(self, *args):
        super().__init__(*args)
        self.judge = self.others["judge"] = nn.Linear(40, 1)
        self.learners.append(Learner(self.judge.parameters(), [torch.optim.Adam(self.judge.parameters(), lr=0.01)]))

    def step(self, data, step):
        figures = super().step(data, step)
        self.learners[1].follow(self.judge(self.model(data).detach()).square().mean())
        return figures


def run(folder, minutes=float("inf"), schedule=SCHEDULE, kind=ToyStage):
    torch.manual_seed(0)
    stage = kind("toy", Toy(), schedule, Run.start(folder, minutes=minutes), 3)
    found = loop.train(stage)
    return (found, stage.judge) if kind is Adversary else found


def in_parts(folder, **options):
    stops = 0
    while True:
        try:
            return run(folder, minutes=0, **options), stops
        except Unfinished:
            stops += 1


def same(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_resumes_to_the_same_weights(tmp_path):
    whole = run(tmp_path / "whole")
    resumed, stops = in_parts(tmp_path / "parts")
    assert stops == SCHEDULE.steps - 1 and same(whole, resumed)


def test_a_stage_with_an_adversary_resumes_with_it(tmp_path):
    whole, judge = run(tmp_path / "whole", kind=Adversary)
    (resumed, again), stops = in_parts(tmp_path / "parts", kind=Adversary)
    assert stops == SCHEDULE.steps - 1 and same(whole, resumed) and same(judge, again)
    assert same(whole, run(tmp_path / "alone"))  # which the adversary here only looks at


def test_what_is_written_for_tensorboard_is_closed_however_a_stage_ends(tmp_path, monkeypatch):
    class Writer:
        open = 0

        def __init__(self):
            Writer.open += 1

        def add_scalar(self, *_):
            assert self.open == 1

        def close(self):
            Writer.open -= 1

    monkeypatch.setattr(loop, "_tensorboard", lambda stage: Writer())
    with pytest.raises(Unfinished):
        run(tmp_path, minutes=0)
    assert Writer.open == 0
    run(tmp_path, schedule=SCHEDULE.model_copy(update={"line_search": True}))
    assert Writer.open == 0


def test_a_line_search_ends_at_the_best_place_and_is_made_once(tmp_path):
    schedule = SCHEDULE.model_copy(update={"line_search": True, "ema": 0.5})
    found, plain = run(tmp_path / "a", schedule=schedule), run(tmp_path / "b")
    lines = [json.loads(line) for line in (tmp_path / "a" / "toy.jsonl").read_text().splitlines()]
    [line] = [line for line in lines if "stretch" in line]
    costs = {float(key.removeprefix("cost_")): value for key, value in line.items() if key.startswith("cost_")}
    assert line["stretch"] == min(costs, key=costs.get) == 1.5  # still far from its end, it is best drawn on
    assert costs[0.0] == pytest.approx((Toy()(ToyStage.batch(None, 99)) - 1).square().mean().item(), abs=1e-5)
    assert not same(found, plain) and same(found, run(tmp_path / "a", schedule=schedule))


@pytest.mark.slow
def test_compiled_blocks_learn_the_same(tmp_path, monkeypatch):
    compiled, by_default = [], nn.Module.compile

    def compile_(module):  # as it would be, without the C++ compiler that the default needs
        compiled.append(module)
        by_default(module, backend="eager", fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", compile_)
    monkeypatch.setattr(Toy, "compiles", True, raising=False)
    plain = run(tmp_path / "plain")
    assert not compiled
    found = run(tmp_path / "compiled", schedule=SCHEDULE.model_copy(update={"compile": True}))
    assert [type(module) for module in compiled] == [Toy]
    assert found.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # of torch's own tracing
@pytest.mark.parametrize("rounding", [False, True])
def test_blocks_compile_to_one_graph(rounding):
    torch.manual_seed(0)
    image, tokens, level = torch.randn(2, 32, 8, 8), torch.randn(2, 8, 8, 32), torch.tensor([0.0, 1.5])
    coarse = transforms.Block(32, 1.5, 3)
    prior = masked_prior.Block(masked_prior.PriorConfig(width=32, heads=2, hidden=32), shift=4)
    assert coarse.compiles and prior.compiles
    for block, given in ((coarse, (image, level)), (prior, (tokens, rounding))):
        assert torch.equal(torch.compile(block, backend="eager", fullgraph=True)(*given), block(*given))


def test_steps_without_a_finite_gradient_are_skipped(tmp_path):
    class Broken(ToyStage):
        def step(self, data, step):
            value = self.model(data).square().mean()
            self.learners[0].follow(value / 0 if step == 3 else value)
            return {"loss": value.item()}

    model = run(tmp_path, kind=Broken)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert not torch.equal(model.matrix, torch.eye(40))


@pytest.mark.parametrize(("precision", "kind"), [(torch.bfloat16, torch.optim.Muon), (torch.float32, FullMuon)])
def test_matrices_get_muon_and_the_rest_adamw(precision, kind):
    muon, adam = Learner.of(Toy(), SCHEDULE, Precision(precision)).solvers
    assert type(muon) is kind and [p.shape for p in muon.param_groups[0]["params"]] == [(40, 40)]
    assert isinstance(adam, torch.optim.AdamW) and [p.shape for p in adam.param_groups[0]["params"]] == [(40,)]


@pytest.mark.parametrize("shape", [(40, 64), (64, 40)])
def test_full_precision_muon_takes_the_steps_of_torchs(shape):
    found = []
    for kind in (torch.optim.Muon, FullMuon):
        matrix = nn.Parameter(torch.zeros(shape))
        solver = kind([matrix], lr=0.1, weight_decay=0.0)
        for step in range(3):
            matrix.grad = torch.randn(shape, generator=torch.Generator().manual_seed(step))
            solver.step()
        found.append(matrix.detach())
    assert (found[0] - found[1]).norm() < 0.02 * found[0].norm()  # torch's is in bfloat16


def test_orthogonal_matrices_keep_their_directions():
    matrix = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrix, (3.4445, -4.7750, 2.0315), 5)
    assert (torch.linalg.svdvals(found) - 1).abs().max() < 0.35
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert (found - left @ right).norm() < 0.3 * found.norm()


def test_precision_is_the_processors_or_the_recipes():
    cpu = torch.device("cpu")
    assert Precision.of(cpu, "bfloat16").half and not Precision.of(cpu, "float32").half
    assert not Precision.of(torch.device("meta")).half  # a device that nothing is known of
    for wish, kind in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        with Precision.of(cpu, wish).autocast(cpu):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is kind


def test_rates_warm_up_hold_and_fall():
    schedule = Schedule(steps=100, batch=1, warmup=10, cooldown=0.5)
    assert rate_factor(0, schedule) == pytest.approx(0.1)
    assert rate_factor(30, schedule) == 1
    assert rate_factor(75, schedule) == pytest.approx(0.5)
    assert rate_factor(99, schedule) == pytest.approx(0.02)

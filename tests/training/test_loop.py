import pytest
import torch
from torch import nn

from pqmim.models import transforms
from pqmim.models.prior import masked as masked_prior
from pqmim.training.loop import Unfinished, optimizers, rate_factor, run_stage
from pqmim.training.recipe import Schedule

SCHEDULE = Schedule(steps=8, batch=4, warmup=2, save_seconds=0, log_every=2, evaluate_every=4)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(40))
        self.bias = nn.Parameter(torch.zeros(40))

    def forward(self, x):
        return x @ self.matrix + self.bias


def run(folder, minutes=float("inf"), schedule=SCHEDULE):
    def batch(step):
        return torch.randn(4, 40, generator=torch.Generator().manual_seed(step))

    def loss(model, x, step):
        value = (model(x) + 0.1 * torch.randn(4, 40) - 1).square().mean()
        return value, {"loss": value.item()}

    torch.manual_seed(0)
    return run_stage("toy", Toy(), schedule, folder, batch, loss, seed=3, minutes=minutes)


def test_resumes_to_the_same_weights(tmp_path):
    whole = run(tmp_path / "whole")
    stops = 0
    while True:
        try:
            resumed = run(tmp_path / "parts", minutes=0)
            break
        except Unfinished:
            stops += 1
    assert stops == SCHEDULE.steps - 1
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


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
    def loss(model, x, step):
        value = model(x).square().mean()
        return (value / 0 if step == 3 else value), {"loss": value.item()}

    model = run_stage("toy", Toy(), SCHEDULE, tmp_path, lambda step: torch.ones(4, 40), loss)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert not torch.equal(model.matrix, torch.eye(40))


def test_matrices_get_muon_and_the_rest_adamw():
    muon, adam = optimizers(Toy(), SCHEDULE)
    assert isinstance(muon, torch.optim.Muon) and [p.shape for p in muon.param_groups[0]["params"]] == [(40, 40)]
    assert isinstance(adam, torch.optim.AdamW) and [p.shape for p in adam.param_groups[0]["params"]] == [(40,)]


def test_rates_warm_up_hold_and_fall():
    schedule = Schedule(steps=100, batch=1, warmup=10, cooldown=0.5)
    assert rate_factor(0, schedule) == pytest.approx(0.1)
    assert rate_factor(30, schedule) == 1
    assert rate_factor(75, schedule) == pytest.approx(0.5)
    assert rate_factor(99, schedule) == pytest.approx(0.02)

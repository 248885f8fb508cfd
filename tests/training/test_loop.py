import pytest
import torch
from torch import nn

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


def run(folder, minutes=float("inf")):
    def batch(step):
        return torch.randn(4, 40, generator=torch.Generator().manual_seed(step))

    def loss(model, x, step):
        value = (model(x) + 0.1 * torch.randn(4, 40) - 1).square().mean()
        return value, {"loss": value.item()}

    torch.manual_seed(0)
    return run_stage("toy", Toy(), SCHEDULE, folder, batch, loss, seed=3, minutes=minutes)


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

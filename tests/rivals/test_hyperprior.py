import math

import numpy as np
import pytest
import torch

from pqmim.rivals.hyperprior.model import logistic_bits


def image_of(photo):
    return torch.from_numpy(photo).permute(2, 0, 1)[None].float()


def test_bits_are_those_of_the_logistic_distribution():
    value = torch.tensor([0.0, 0.3, -1.0, 4.0, -9.0], dtype=torch.float64)
    scale = torch.tensor([0.05, 0.2, 0.5, 1.0, 30.0], dtype=torch.float64)
    mass = torch.sigmoid((value + 0.5) / scale) - torch.sigmoid((value - 0.5) / scale)
    assert torch.allclose(logistic_bits(value, scale), -mass.log2())


def test_outliers_have_finite_bits_and_a_gradient():
    value, scale = torch.tensor([100.0], requires_grad=True), torch.tensor([0.05], requires_grad=True)
    bits = logistic_bits(value, scale)
    bits.sum().backward()
    assert bits.item() == pytest.approx((100 - 0.5) / 0.05 / math.log(2), rel=1e-3)
    assert value.grad > 0 and scale.grad < 0


def test_starts_as_the_static_density_of_the_proxy(fresh, started, photo):
    analysis, _, proxy = started
    image = image_of(photo)
    for index in (0.0, 1.0, 2.0):
        level = torch.tensor([index])
        with torch.no_grad():
            y = fresh.scaled(analysis(image, level), level)
            hyper = torch.zeros(1, 8, 2, 3)
            mean, scale = fresh.expected(hyper, level, 6, 9)
            ours = logistic_bits(y.round() - mean, scale).mean().item()
            theirs = proxy.bits(y.round(), level).mean().item()
        assert mean.shape == scale.shape == y.shape == (1, 40, 6, 9)
        assert ours == pytest.approx(theirs, rel=0.1, abs=0.05)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 5), (4, 4), (6, 9)])
def test_any_size_of_latent(fresh, height, width):
    level = torch.zeros(2)
    with torch.no_grad():
        hyper = fresh.hyper_analysis(torch.randn(2, 40, height, width), level)
        mean, scale = fresh.expected(hyper, level, height, width)
    assert hyper.shape == (2, 8, -(-height // 4), -(-width // 4))
    assert mean.shape == scale.shape == (2, 40, height, width)
    assert (scale > 0).all()


def test_the_synthesis_sees_rounded_residuals_about_the_mean(hyperprior, photo, monkeypatch):
    seen = []
    monkeypatch.setattr(hyperprior, "restored", lambda y, level: seen.append(y) or torch.zeros(1, 40, 6, 9))
    means = []
    expected = hyperprior.expected
    monkeypatch.setattr(hyperprior, "expected", lambda *a: means.append(expected(*a)[0]) or expected(*a))
    with torch.no_grad():
        hyperprior(image_of(photo), torch.zeros(1))
    residual = seen[0] - means[0]
    assert torch.allclose(residual, residual.round(), atol=1e-3)
    assert not torch.allclose(means[0], means[0].round(), atol=1e-2)


def test_every_part_hears_the_loss(hyperprior, photo):
    model = hyperprior
    model.train().requires_grad_(True)
    try:
        torch.manual_seed(0)
        error, rate = model(image_of(photo), torch.tensor([0.5]))
        (error + 400 * rate).sum().backward()
        silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
        # branches of the transforms start at zero, so all but their last matrix hears nothing yet
        assert all(name.startswith(("analysis.", "synthesis.")) for name in silent)
    finally:
        model.zero_grad(set_to_none=True)
        model.eval().requires_grad_(False)


def test_rates_fall_and_errors_grow_with_the_level(hyperprior, photo):
    with torch.no_grad():
        rows = [hyperprior(image_of(photo), torch.tensor([level])) for level in (0.0, 0.5, 1.0, 2.0)]
    errors, rates = ([row[i].item() for row in rows] for i in (0, 1))
    assert rates == sorted(rates, reverse=True) and rates[0] > 2 * rates[-1]
    assert errors == sorted(errors) and np.isfinite(errors).all()

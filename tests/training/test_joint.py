"""The joint stage: codes are chosen as encoders do, synthesis and prior learn from them, and all else stands still."""

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from pqmim.coding.schedule import Group
from pqmim.models.masked_prior import LN2, MaskedPrior, PriorConfig
from pqmim.models.product_quantizer import ProductQuantizer, level_of_rate
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig, start_as_klt
from pqmim.training import joint, recipe
from pqmim.training.joint import JointCodec
from pqmim.training.quantizer import QuantizedCodec

RECIPES = Path(__file__).parents[2] / "recipes"
GROUPS = [Group(0, 2, 2), Group(2, 4, 1)]
PRICES = torch.tensor([40.0, 430.0, 4700.0])


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = TransformConfig(
        latent=6, levels=2, analysis_fine=1, analysis_coarse=1, synthesis_coarse=1, synthesis_fine=1
    )
    analysis, synthesis = Analysis(config), Synthesis(config)
    start_as_klt(analysis, synthesis, torch.rand(900, 3, 16, 16) * 255)
    quantizer = ProductQuantizer(torch.arange(6), [1, 1, 2, 2], 32, 2)
    quantizer.codebook.data.copy_(torch.randn_like(quantizer.codebook) * 3)
    quantizer.codebook.data[:2, :, 1] = 0
    quantizer.log_gain.data.fill_(-3.0)
    quantizer.log_step.data.fill_(3.0)
    quantizer.log2_probability.copy_(torch.randn(1, 4, 32).mul(3).log_softmax(-1) / LN2)
    codec = QuantizedCodec(analysis, quantizer, synthesis, PRICES)
    prior = MaskedPrior(
        PriorConfig(width=32, blocks=1, heads=2, hidden=32, rank=2), quantizer.codebook, [1, 1, 2, 2], 3
    )
    prior.start(quantizer.log2_probability)
    return JointCodec(codec, prior, GROUPS, torch.tensor([4, 4, 2]))


def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255


def run(model, number, rate=(0.0, 1.0, 2.0), seed=0):
    return model(images(), torch.tensor(rate), number, np.random.default_rng(seed))


def gradients(model, value):
    model.zero_grad()
    value.sum().backward()
    parts = {
        "analysis": model.codec.analysis.merge,
        "synthesis": model.codec.synthesis.head,
        "step": model.codec.quantizer.log_step,
        "codebook": model.codec.quantizer.codebook,
        "prior": model.prior.embed.weight,
    }
    return {name for name, part in parts.items() if part.grad is not None and part.grad.abs().sum() > 0}


def test_the_rate_teaches_the_prior_alone(model):
    assert gradients(model, run(model, 1)[1]) == {"prior"}


def test_the_distortion_teaches_the_synthesis_alone(model):
    assert gradients(model, run(model, 0)[0]) == {"synthesis", "step"}


def test_the_codes_are_those_of_all_efforts(model):
    model.codec.synthesis.head.data.mul_(1.5)
    rate = torch.tensor([0.0, 1.0, 2.0])
    z = model.codec.latent(images(), rate)
    fast = model.codec.quantizer.assign(z, rate, PRICES, model.active)
    codes = {effort: model.codes(images(), z, rate, effort) for effort in set(joint.EFFORTS)}
    assert torch.equal(codes[0], fast)
    assert all(not torch.equal(codes[a], codes[b]) for a, b in itertools.combinations(codes, 2))
    drawn = [run(model, 0, seed=seed)[2] for seed in range(40)]
    counts = [sum(torch.equal(found, expected) for found in drawn) for expected in codes.values()]
    assert sum(counts) == 40 and min(counts) > 1


def test_refined_codes_cost_less(model):
    model.codec.synthesis.head.data.mul_(1.5)  # no longer orthonormal, as the analysis believes it is
    rate = torch.tensor([0.0, 1.0, 2.0])
    z = model.codec.latent(images(), rate)
    costs = []
    for effort in (0, 8):
        codes = model.codes(images(), z, rate, effort)
        restored = model._decoded(model.codec.quantizer.lookup(codes), level_of_rate(rate), z.shape[2])
        error = (restored - images()).square().mean((1, 2, 3))
        table = model.codec.quantizer.log2_probability[rate.long()]  # (B, M, K)
        bits = -table.gather(2, codes.transpose(1, 2)) * (torch.arange(4) < model.active[:, None])[:, :, None]
        costs.append((error * 3 * 64**2 + PRICES * bits.sum((1, 2))).detach())
    assert (costs[1] < costs[0]).all()


def test_what_is_not_sent_costs_nothing_and_stays_zero(model):
    _, bits, codes = run(model, 2)  # the second group, of which the last rate sends nothing
    assert (bits[:2] > 0).all() and bits[2] == 0 and not codes[2, :, 2:].any() and codes[:2, :, 2:].any()
    nothing = run(model, 2, rate=(2.0, 2.0, 2.0))[1]
    assert not nothing.any()


def test_the_weights_it_began_with_keep_their_share(model, monkeypatch):
    def trained(name, model, *rest, **options):
        reached = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in reached.parameters():
                parameter += 1
        return reached

    monkeypatch.setattr(joint, "run_stage", trained)
    monkeypatch.setattr(joint, "held_back", lambda *photos: [])
    monkeypatch.setattr(joint, "recount", lambda *result: None)
    plan = recipe.load(RECIPES / "tiny.yaml")
    kept, cpu = plan.stages["joint"].keep, torch.device("cpu")
    found = joint.train_joint(plan, model.codec, model.prior, GROUPS, None, Path(), cpu, 1.0, 1.0)
    assert kept == 0.25
    for before, after in zip(model.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(after, before + 1 - kept)


def test_completing_teaches_the_prior_alone(model):
    codes, rate = torch.randint(0, 32, (2, 16, 4)), torch.tensor([0.0, 1.0])
    found = [model.completion(codes, rate, 4, np.random.default_rng(seed)) for seed in range(4)]
    assert all(torch.isfinite(cost) and cost >= 0 for cost in found) and any(cost > 0 for cost in found)
    sum(found).backward()
    assert model.prior.embed.weight.grad.abs().sum() > 0
    assert model.codec.analysis.merge.grad is None

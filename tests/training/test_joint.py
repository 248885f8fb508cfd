"""The joint stage: the rate reaches the analysis, through the prior, and codebooks stand still."""

import numpy as np
import pytest
import torch

from pqmim.coding.schedule import Group
from pqmim.models.masked_prior import LN2, MaskedPrior, PriorConfig
from pqmim.models.product_quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig, start_as_klt
from pqmim.training.joint import JointCodec
from pqmim.training.quantizer import QuantizedCodec

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


def run(model, number, rate=(0.0, 1.0, 2.0)):
    return model(images(), torch.tensor(rate), number, np.random.default_rng(0))


def test_the_rate_answers_to_the_analysis_and_to_the_prior(model):
    _, bits, _ = run(model, 1)
    bits.sum().backward()
    assert model.codec.analysis.merge.grad.abs().sum() > 0
    assert model.prior.embed.weight.grad.abs().sum() > 0
    assert model.codec.synthesis.head.grad is None
    assert model.codec.quantizer.codebook.grad is None


def test_the_distortion_answers_to_both_transforms(model):
    error, _, _ = run(model, 0)
    error.sum().backward()
    for parameter in (model.codec.analysis.merge, model.codec.synthesis.head, model.codec.quantizer.log_step):
        assert parameter.grad.abs().sum() > 0


def test_what_is_not_sent_costs_nothing(model):
    bits = run(model, 2)[1]  # the second group, of which the last rate sends nothing
    assert (bits[:2] > 0).all() and bits[2] == 0
    nothing = run(model, 2, rate=(2.0, 2.0, 2.0))[1]
    assert not nothing.any()


def test_the_latent_is_pulled_to_where_it_would_cost_less(model):
    tokens, scaled = torch.randn(1, 5, 32), (torch.randn(1, 5, 6) * 9).requires_grad_()
    pull = model._pull(tokens, slice(0, 4), scaled)
    assert pull.shape == (1, 5, 4) and not pull.any()
    pull.sum().backward()
    mean, _ = model.prior._moments(tokens[0], range(4))
    assert (scaled.grad[0] * (scaled[0] - mean) > 0).all()
    assert all(parameter.grad is None for parameter in model.prior.parameters())


def test_completing_teaches_the_prior_alone(model):
    codes, rate = torch.randint(0, 32, (2, 16, 4)), torch.tensor([0.0, 1.0])
    found = [model.completion(codes, rate, 4, np.random.default_rng(seed)) for seed in range(4)]
    assert all(torch.isfinite(cost) and cost >= 0 for cost in found) and any(cost > 0 for cost in found)
    sum(found).backward()
    assert model.prior.embed.weight.grad.abs().sum() > 0
    assert model.codec.analysis.merge.grad is None

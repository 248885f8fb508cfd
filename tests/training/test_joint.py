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


def run(model, number, softness=0.3, rate=(0.0, 1.0, 2.0)):
    return model(images(), torch.tensor(rate), number, softness, np.random.default_rng(0))


def test_the_rate_answers_to_the_analysis_and_to_the_prior(model):
    _, bits = run(model, 1)
    bits.sum().backward()
    assert model.codec.analysis.merge.grad.abs().sum() > 0
    assert model.prior.embed.weight.grad.abs().sum() > 0
    assert model.codec.synthesis.head.grad is None
    assert model.codec.quantizer.codebook.grad is None


def test_the_distortion_answers_to_both_transforms(model):
    error, _ = run(model, 0)
    error.sum().backward()
    for parameter in (model.codec.analysis.merge, model.codec.synthesis.head, model.codec.quantizer.log_step):
        assert parameter.grad.abs().sum() > 0


def test_what_is_not_sent_costs_nothing(model):
    bits = run(model, 2)[1]  # the second group, of which the last rate sends nothing
    assert (bits[:2] > 0).all() and bits[2] == 0
    nothing = run(model, 2, rate=(2.0, 2.0, 2.0))[1]
    assert not nothing.any()


def test_soft_bits_become_hard_ones(model):
    """At a low temperature the expected bits are those of the chosen codewords."""
    model.eval()
    hard, nearly, soft = (run(model, 0, softness)[1] for softness in (1e-4, 1e-3, 3.0))
    assert torch.allclose(hard, nearly, rtol=0.02)
    assert not torch.allclose(hard, soft, rtol=0.02)

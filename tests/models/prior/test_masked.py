"""The float form, against the integers that it is rounded to."""

import numpy as np
import pytest
import torch

from pqmim.models.prior.export import export
from pqmim.models.prior.integer import IntegerPrior
from pqmim.models.prior.masked import LN2, MaskedPrior, PriorConfig


def made(dimensions=(1, 1, 2, 3), rates=3, **sizes):
    codebook = torch.zeros(len(dimensions), 32, max(dimensions))
    for m, d in enumerate(dimensions):
        codebook[m, :, :d] = torch.randn(32, d) * 3
    config = PriorConfig(**{"width": 64, "blocks": 2, "heads": 2, "hidden": 64, **sizes})
    prior = MaskedPrior(config, codebook, list(dimensions), rates=rates).eval()
    with torch.no_grad():
        for block in prior.blocks:
            block.attended.weight.mul_(5)
            block.bias.normal_()
    prior.rounding = True
    return prior


def test_is_the_same_model_as_the_integers():
    torch.manual_seed(0)
    prior = made()
    codes, known = torch.randint(0, 32, (1, 120, 4)), torch.rand(1, 120, 4) < 0.5
    rates = torch.linspace(2, 0, 101)
    with torch.no_grad():
        hidden = prior.tokens(codes, known, rates[60:61], 12)
        wanted = torch.softmax(prior.logits(hidden.flatten(0, 2), range(4)) * LN2, -1)
    context = IntegerPrior(export(prior, rates)).context(12, 10, 60)
    for m in range(4):
        positions = known[0, :, m].nonzero()[:, 0].numpy()
        context.reveal(m, positions, codes[0, positions, m].to(torch.uint8).numpy())
    for m, _, frequencies in context.frequencies(range(4), np.arange(120)):
        p = wanted[:, m].clamp(min=1e-9)
        q = torch.from_numpy(np.diff(frequencies.cumulative()) / 65536)
        divergence = (p * (p.log2() - q.log2())).sum(-1).mean()
        assert -1e-4 < divergence < 0.01  # bits a symbol


@pytest.mark.parametrize("coded", [range(4), range(2, 4), range(1)])
def test_the_logits_of_some_codewords_are_those_of_all(coded):
    torch.manual_seed(1)
    prior = made((1, 2, 3, 2), rates=2, blocks=1)
    prior.static.data.normal_()
    tokens, codes = torch.randn(20, 64), torch.randint(0, 32, (5, 20, len(coded)))
    with torch.no_grad():
        expected = prior.logits(tokens, coded).expand(5, -1, -1, -1).gather(-1, codes[..., None])[..., 0]
        torch.testing.assert_close(prior.logits_of(tokens, coded, codes), expected, rtol=1e-4, atol=1e-3)

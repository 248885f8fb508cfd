"""The float form, against the integers that it is rounded to."""

import numpy as np
import pytest
import torch

from pqmim.models.prior.export import export, from_integers
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


@pytest.mark.parametrize("depths", [[2, 0, 1, 2], [0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2]])
def test_pictures_of_a_batch_may_run_as_many_blocks_each(depths):
    torch.manual_seed(2)
    prior = made()
    codes, known = torch.randint(0, 32, (4, 30, 4)), torch.rand(4, 30, 4) < 0.5
    rate = torch.rand(4) * 2
    with torch.no_grad():
        found = prior.tokens(codes, known, rate, 5, torch.tensor(depths))
        for row, depth in enumerate(depths):
            own = slice(row, row + 1)
            alone = prior.tokens(codes[own], known[own], rate[own], 5, depth)
            torch.testing.assert_close(found[own], alone, rtol=0, atol=1e-5)


def test_gradients_reach_the_blocks_that_ran_alone():
    torch.manual_seed(3)
    prior = made(blocks=3)
    codes, known = torch.randint(0, 32, (2, 30, 4)), torch.rand(2, 30, 4) < 0.5
    prior.tokens(codes, known, torch.ones(2), 5, torch.tensor([0, 2])).square().sum().backward()
    used = [any(p.grad is not None and bool(p.grad.any()) for p in block.parameters()) for block in prior.blocks]
    assert used == [True, True, False]


def test_some_blocks_are_those_of_the_integers():
    torch.manual_seed(4)
    prior, rates = made(blocks=3), torch.linspace(2, 0, 101)
    codes, known = torch.randint(0, 32, (1, 48, 4)), torch.rand(1, 48, 4) < 0.5
    context = IntegerPrior(export(prior, rates)).context(6, 8, 50)
    for m in range(4):
        positions = known[0, :, m].nonzero()[:, 0].numpy()
        context.reveal(m, positions, codes[0, positions, m].to(torch.uint8).numpy())
    for blocks in (0, 1, 2):
        with torch.no_grad():
            hidden = prior.tokens(codes, known, rates[50:51], 6, blocks)
            wanted = torch.softmax(prior.logits(hidden.flatten(0, 2), range(4)) * LN2, -1)
        for m, _, frequencies in context.frequencies(range(4), np.arange(48), blocks):
            difference = np.diff(frequencies.cumulative()) / 65536 - wanted[:, m].numpy()
            assert np.abs(difference).max() < 0.05


def test_goes_on_from_the_integers_of_a_release():
    torch.manual_seed(5)
    rates = torch.linspace(2, 0, 101)
    before = export(made(), rates)
    restored = from_integers(before, rates, 3)
    after = export(restored, rates)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        most = 1 if name == "level" else 0  # fitted anew
        assert np.abs(tensor.astype(int) - after[name].astype(int)).max() <= most, name
    assert restored.state_dict().keys() == made().state_dict().keys()

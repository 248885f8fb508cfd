import pytest
import torch

from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig
from pqmim.training.stages.quantizer import QuantizedCodec

CONFIG = TransformConfig(8, 2, 1, 1, 1, 1, 0.1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    quantizer = ProductQuantizer(torch.arange(8), [1, 3, 4], codewords=16, levels=2).requires_grad_(False)
    for m, d in enumerate(quantizer.dimensions):
        quantizer.codebook[m, 1:, :d] = torch.randn(15, d)
    found = QuantizedCodec(Analysis(CONFIG), quantizer, Synthesis(CONFIG), torch.tensor([0.1, 1.0, 10.0]))
    found.typical.fill_(1.0)
    return found


def latents(seed, count=4):
    z = torch.randn(count, 8, 6, 6, generator=torch.Generator().manual_seed(seed))
    return z, torch.arange(count).float() % 3


def test_prices_are_interpolated_in_the_logarithm(model):
    assert model.price(torch.tensor([0.0, 0.5, 1.0, 2.0])).tolist() == pytest.approx([0.1, 0.1**0.5, 1, 10])


def test_nearest_codewords_cost_nothing(model):
    model.nearest = True
    assert not model.price(torch.tensor([0.0, 0.5, 2.0])).any()


def test_codewords_move_to_the_mean_of_their_vectors(model):
    z, rate = latents(1)
    codes = model.quantizer.assign(z, rate, model.price(rate))
    model.observe(z, rate, codes, decay=1.0)
    vectors, chosen = model.quantizer.split(z, rate.clamp(max=0)).flatten(0, 1), codes.flatten(0, 1)
    for m, d in enumerate(model.quantizer.dimensions):
        for k in chosen[:, m].unique():
            mean = vectors[chosen[:, m] == k, m, :d].mean(0)
            assert torch.allclose(model.quantizer.codebook[m, k, :d], mean, atol=1e-4)


def test_codewords_that_no_one_uses_stay(model):
    z, rate = latents(1)
    before = model.quantizer.codebook.clone()
    codes = torch.zeros(4, 36, 3, dtype=torch.long)
    model.observe(z, rate, codes, decay=1.0)
    assert torch.equal(model.quantizer.codebook[:, 1:], before[:, 1:])


def test_frequencies_are_those_of_each_rate(model):
    z, rate = latents(1, count=3)
    codes = torch.zeros(3, 36, 3, dtype=torch.long)
    codes[1] = 5
    model.observe(z, rate, codes, decay=1.0)
    p = model.quantizer.log2_probability.exp2()
    assert torch.allclose(p.sum(-1), torch.ones(3, 3), atol=1e-5)
    assert (p[0, :, 0] > 0.98).all() and (p[1, :, 5] > 0.98).all()
    assert (model.entropies() < 0.2).all()


def test_revival_puts_unused_codewords_to_use(model):
    z, rate = latents(2)
    model.quantizer.codebook[:, 8:] += 50  # out of reach
    codes = model.quantizer.assign(z, rate, model.price(rate))
    model.observe(z, rate, codes, decay=1.0)
    unused = int((model.usage.sum(0)[:, 1:] < 0.5).sum())
    error = [(model.quantizer.lookup(codes) - model.quantizer.scaled(z, rate.clamp(max=0))).square().sum()]
    assert model.revive(z, rate, codes) == unused > 0
    assert (model.usage.sum(0)[:, 1:] >= 0.5).all()
    codes = model.quantizer.assign(z, rate, torch.zeros(4))
    error.append((model.quantizer.lookup(codes) - model.quantizer.scaled(z, rate.clamp(max=0))).square().sum())
    assert error[1] < error[0]


def test_fewer_sub_quantizers_are_active_where_they_carry_nothing(model):
    model.quantizer.log2_probability.fill_(-4.0)  # four bits each
    model.quantizer.log2_probability[2, 1:] = torch.tensor([0.0] + [-40.0] * 15)
    assert model.active().tolist() == [3, 3, 1]


def test_usage_report(model):
    z, rate = latents(3)
    model.observe(z, rate, model.quantizer.assign(z, rate, model.price(rate)), decay=1.0)
    report = model.usage_report()
    assert [row["dimensions"] for row in report] == [1, 3, 4]
    assert all(0 < row["used"] <= 1 and len(row["entropy"]) == 3 for row in report)

import pytest
import torch

from pqmim.models.quantizer import ProductQuantizer, allocate, level_of_rate


@pytest.fixture
def quantizer():
    torch.manual_seed(0)
    found = ProductQuantizer(torch.randperm(7), [1, 2, 4], codewords=8, levels=2)
    with torch.no_grad():
        for m, d in enumerate(found.dimensions):
            found.codebook[m, :, :d] = torch.randn(8, d)
        found.log_gain.normal_(std=0.3)
        found.log_step.copy_(-found.log_gain)
        found.log2_probability.copy_(torch.rand(3, 3, 8).softmax(-1).log2())
    return found.requires_grad_(False)


def test_split_and_merge_are_inverse(quantizer):
    z, level = torch.randn(2, 7, 3, 5), torch.tensor([0.0, 0.7])
    assert torch.allclose(quantizer.restored(quantizer.scaled(z, level), level, 3), z, atol=1e-5)


def test_free_bits_choose_the_nearest_codeword(quantizer):
    z, rate = torch.randn(2, 7, 3, 5), torch.tensor([0.5, 2.0])
    level = level_of_rate(rate)
    codes = quantizer.assign(z, rate, torch.zeros(2))
    vectors, weights = quantizer.split(z, level), quantizer.weights(level)
    distance = ((vectors[..., None, :] - quantizer.codebook).square() * weights[:, None, :, None]).sum(-1)
    assert torch.equal(codes, distance.argmin(-1))


def test_squared_errors_are_those_of_pixels(quantizer):
    z, level = torch.randn(1, 7, 2, 2), torch.tensor([0.4])
    vectors, weights = quantizer.split(z, level), quantizer.weights(level)
    codes = torch.randint(0, 8, (1, 4, 3))
    found = (
        quantizer.distances(vectors, weights).gather(-1, codes[..., None]).sum()
        + (weights[:, None] * vectors.square()).sum()
    )
    restored = quantizer.restored(quantizer.lookup(codes), level, 2)
    assert torch.allclose(found, (restored - z).square().sum(), rtol=1e-4)


def test_dear_bits_choose_the_likeliest_codeword(quantizer):
    z, level = torch.randn(1, 7, 3, 5), torch.zeros(1)
    codes = quantizer.assign(z, level, torch.tensor([1e9]))
    assert (codes == quantizer.log2_probability[0].argmax(-1)).all()


def test_dearer_bits_never_cost_more(quantizer):
    z, level = torch.randn(1, 7, 8, 8), torch.zeros(1)
    spent = []
    for price in (0.0, 0.1, 1.0, 10.0):
        codes = quantizer.assign(z, level, torch.tensor([price]))
        spent.append(-quantizer.log2_probability[0].gather(1, codes[0].T).sum().item())
    assert spent == sorted(spent, reverse=True) and spent[0] > spent[-1]


def test_what_is_not_active_is_not_sent(quantizer):
    codes = quantizer.assign(torch.randn(2, 7, 3, 5), torch.zeros(2), torch.zeros(2), torch.tensor([1, 3]))
    assert (codes[0, :, 1:] == 0).all() and (codes[1, :, 1:] != 0).any()


def test_candidates_begin_with_what_is_assigned(quantizer):
    z, rate, price = torch.randn(2, 7, 3, 5), torch.tensor([0.5, 2.0]), torch.tensor([0.3, 0.1])
    active = torch.tensor([3, 2])
    codes, bits = quantizer.candidates(z, rate, price, 3, active)
    assert codes.shape == bits.shape == (3, 2, 15, 3)
    assert torch.equal(codes[0], quantizer.assign(z, rate, price, active))
    assert not codes[:, 1, :, 2].any() and not bits[:, 1, :, 2].any()
    table = -quantizer.log2_probability[2].gather(1, codes[0, 1, :, :2].T)
    assert torch.allclose(bits[0, 1, :, :2], table[:2].T)
    sent = codes[:, 0]  # three different codewords each
    assert (sent[0] != sent[1]).all() and (sent[0] != sent[2]).all() and (sent[1] != sent[2]).all()


def test_a_level_is_one_below_its_rate():
    assert level_of_rate(torch.tensor([0.0, 0.5, 1.0, 1.5, 3.0])).tolist() == [-1, -0.5, 0, 0.5, 2]


def test_dimensions_follow_the_spectrum():
    assert allocate(torch.tensor([5.0, 3.0, 1.0, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2]), 3, 16) == [1, 1, 3, 4]
    assert allocate(torch.zeros(10), 3, 4) == [4, 4, 2]

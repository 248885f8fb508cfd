"""The encoder's soft choice: what it means, and that its form in C does as that in PyTorch."""

import pytest
import torch

from pqmim import native
from pqmim.models import choice as choices
from pqmim.models.choice import Aim, CompiledChoice, SoftChoice, choice_among, choice_of
from pqmim.models.quantizer import ProductQuantizer

compiled = pytest.mark.skipif(native.library() is None, reason="there is no library")


AIM = Aim(torch.tensor([0.3, 1.7]), torch.tensor([0.5, 3.0]), torch.tensor([4, 2]))


@pytest.fixture
def quantizer():
    """Of four sub-quantizers of one to three channels, 40 codewords each, for three levels."""
    found = ProductQuantizer(torch.tensor([2, 0, 1, 5, 3, 4, 6]), [1, 3, 1, 2], 40, 3)
    random = torch.Generator().manual_seed(4)
    for tensor in (found.log_gain, found.log_step):
        tensor.data = 0.2 * torch.randn(tensor.shape, generator=random)
    found.codebook.data = 3 * torch.randn(found.codebook.shape, generator=random)
    found.log2_probability = torch.randn(4, 4, 40, generator=random).log_softmax(-1) / choices.LN2
    return found


@pytest.fixture
def latent():
    return 2 * torch.randn(2, 7, 3, 5, generator=torch.Generator().manual_seed(5))


@compiled
@pytest.mark.parametrize("level", native.library().levels if native.library() else [])
@pytest.mark.parametrize("count", [3, 8])
def test_both_forms_agree(monkeypatch, quantizer, latent, level, count):
    own = CompiledChoice.cheapest(native.library(), level, quantizer, latent, AIM, count)
    monkeypatch.setattr(native, "library", lambda: None)
    plain = choice_of(quantizer, latent, AIM, count)
    assert isinstance(plain, SoftChoice)
    assert own.candidates.shape == (count, 2, 15, 4)
    assert own.candidates.tolist() == plain.candidates.tolist()
    aim = quantizer.scaled(latent, torch.tensor([0.0, 0.7])) + 0.3
    torch.testing.assert_close(own.mean(aim), plain.mean(aim))
    sent = quantizer.sent(AIM.active).expand(count, 2, 15, 4)
    torch.testing.assert_close(own.errors(aim)[sent], plain.errors(aim)[sent])


@compiled
def test_both_forms_agree_on_what_the_prior_says(monkeypatch, quantizer, latent):
    few = choice_of(quantizer, latent, AIM, 6).candidates
    bits = 9 * torch.rand(few.shape, generator=torch.Generator().manual_seed(6))
    own = choice_among(quantizer, few, bits.half(), AIM)
    assert isinstance(own, CompiledChoice) and own.candidates.tolist() == few.tolist()
    monkeypatch.setattr(native, "library", lambda: None)
    plain = choice_among(quantizer, few, bits.half(), AIM)
    assert isinstance(plain, SoftChoice)
    aim = quantizer.scaled(latent, torch.tensor([0.0, 0.7])) + 0.3
    torch.testing.assert_close(own.mean(aim), plain.mean(aim))


@pytest.mark.parametrize("in_c", [pytest.param(True, marks=compiled), False])
def test_a_candidate_that_the_prior_is_sure_of_stands_for_the_choice(monkeypatch, quantizer, latent, in_c):
    if not in_c:
        monkeypatch.setattr(native, "library", lambda: None)
    few = choice_of(quantizer, latent, AIM, 6).candidates
    bits = torch.full(few.shape, 1000.0)
    bits[5] = 0  # the dearest by static frequencies
    found = choice_among(quantizer, few, bits, AIM).mean(quantizer.scaled(latent, torch.tensor([0.0, 0.7])))
    expected = quantizer.lookup(few[5])
    torch.testing.assert_close(found[0], expected[0])  # the second picture sends two sub-quantizers alone
    torch.testing.assert_close(found[1, :, :4], expected[1, :, :4])


@compiled
def test_threads_share_the_positions(monkeypatch, quantizer, latent):
    alone = CompiledChoice.cheapest(native.library(), "scalar", quantizer, latent, AIM, 4)
    monkeypatch.setattr(choices, "FEWEST", 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    shared = CompiledChoice.cheapest(native.library(), "scalar", quantizer, latent, AIM, 4)
    assert torch.equal(shared.candidates, alone.candidates)
    aim = quantizer.scaled(latent, torch.tensor([0.0, 0.7]))
    assert torch.equal(shared.mean(aim), alone.mean(aim)) and torch.equal(shared.errors(aim), alone.errors(aim))


@compiled
def test_a_library_that_fails_its_test_leaves_the_choice_to_pytorch(monkeypatch, quantizer, latent):
    def fails():
        raise choices.Unavailable("it fails")

    assert isinstance(choice_of(quantizer, latent, AIM, 4), CompiledChoice)
    monkeypatch.setattr(choices, "serving", fails)
    assert isinstance(choice_of(quantizer, latent, AIM, 4), SoftChoice)


@compiled
def test_sizes_beyond_the_library_are_left_to_pytorch(quantizer, latent):
    assert isinstance(choice_of(quantizer, latent, AIM, choices.MOST_FEW), CompiledChoice)
    assert isinstance(choice_of(quantizer, latent, AIM, choices.MOST_FEW + 1), SoftChoice)


@pytest.fixture
def choice():
    """Of two sub-quantizers, of one channel and of two: the first costs the same either way, the second does not."""
    quantizer = ProductQuantizer(torch.arange(3), [1, 2], 4, 2)
    quantizer.codebook.data[0, :, 0] = torch.tensor([0.0, 2.0, 5.0, 9.0])
    quantizer.codebook.data[1] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [4.0, 4.0], [6.0, 6.0]])
    candidates = torch.tensor([[0, 3], [1, 1]])[:, None, None]  # (2, 1, 1, 2)
    bits = torch.tensor([[1.0, 40.0], [1.0, 2.0]])[:, None, None]
    return SoftChoice(quantizer, candidates, bits, torch.tensor([2.0]), torch.tensor([[1.0, 1.0, 3.0]]))


def test_errors_are_in_bits(choice):
    aim = torch.tensor([[[1.0, 6.0, 5.0]]])
    assert choice.errors(aim)[:, 0, 0].tolist() == [[0.5, 1.5], [0.5, (25 + 3 * 16) / 2]]


def test_a_soft_choice_weighs_candidates_by_their_cost(choice):
    even, dear = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[1.5, 5.0, 5.0]]])
    assert choice.mean(even)[0, 0].tolist() == pytest.approx([1.0, 1.0, 1.0])
    share = 1 / (1 + 2 ** -((1.5**2 - 0.5**2) / 2 / 0.64))  # of codeword 2, which is 0.5 away, where 0 is 1.5
    assert choice.mean(dear)[0, 0, 0].item() == pytest.approx(2 * share)
    errors, bits = choice.errors(dear)[:, 0, 0, 1] / 0.64, 0.33 * torch.tensor([40.0, 2.0])
    share = (2 ** -(errors + bits)).tolist()
    expected = (6 * share[0] + share[1]) / sum(share)
    assert choice.mean(dear)[0, 0, 1:].tolist() == pytest.approx([expected, expected])

"""The encoder's transforms in C: that they do as those in PyTorch, with the same bits at every level."""

import pytest
import torch

from pqmim import native
from pqmim.models import gradient as gradients
from pqmim.models.compiled import CompiledAnalysis, CompiledGradient, compiled
from pqmim.models.gradient import TorchGradient
from pqmim.models.prior.compiled import Unavailable
from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig

LIBRARY = native.library()
needs_library = pytest.mark.skipif(LIBRARY is None, reason="there is no library")
LEVEL = torch.tensor([0.4, 1.7])


def transform(kind, latent=21, coarse=2, fine=1, expansion=1.3):
    """A small one, of which an analysis and a synthesis keep about the range of a picture's values."""
    torch.manual_seed(3)
    made = kind(TransformConfig(latent, 3, fine, coarse, coarse, fine, expansion))
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(False)
        if name in ("split", "head", "stem", "merge"):
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        elif name.endswith("reduce"):
            torch.nn.init.normal_(parameter, std=0.05)
        elif name.endswith(("gain", "bias")):
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    for block in (*made.coarse, *made.fine):
        block.scale.uniform_(30, 90)
    return made


@pytest.fixture
def images():
    """Two of 173 x 103 pixels, with black and white in them."""
    torch.manual_seed(4)
    return (127 + 120 * torch.randn(2, 3, 103, 173)).clamp(0, 255)


@pytest.fixture
def latent():
    """Of more positions than are worked on together; some are beyond what branches see."""
    torch.manual_seed(5)
    made = 50 * torch.randn(2, 21, 7, 11)
    return torch.where(torch.rand(made.shape) < 0.03, 900, made)


def apart(found, expected):
    """How far a gradient is from another, of its size."""
    return float((found - expected).norm() / expected.norm())


@needs_library
def test_the_form_in_c_is_that_in_pytorch(images, latent):
    made = transform(Synthesis)
    expected = TorchGradient(made, half=False).of(images, LEVEL)(latent)
    found = CompiledGradient(made, 1).of(images, LEVEL)(latent)
    assert found.shape == expected.shape == latent.shape
    assert apart(found, expected) < 0.02
    halved = TorchGradient(made, half=True).of(images, LEVEL)(latent)
    assert apart(found, expected) < apart(halved, expected)


@needs_library
@pytest.mark.parametrize("coarse, fine, expansion", [(0, 2, 1.0), (1, 0, 0.52), (2, 1, 1.3)])
def test_every_level_and_number_of_threads_gives_the_same_bits(images, latent, coarse, fine, expansion):
    made = transform(Synthesis, coarse=coarse, fine=fine, expansion=expansion)
    found = {
        (level, threads): CompiledGradient(made, threads, (LIBRARY, level)).of(images, LEVEL)(latent)
        for level in LIBRARY.levels
        for threads in (1, 3)
    }
    first = found[LIBRARY.levels[0], 1]
    assert apart(first, TorchGradient(made, half=False).of(images, LEVEL)(latent)) < 0.02
    for each in found.values():
        assert torch.equal(each, first)


@needs_library
def test_both_forms_leave_alone_what_no_pixel_asks_for(images):
    """Where a branch is clipped, and where what is drawn is beyond white."""
    made, far = transform(Synthesis), torch.full((2, 21, 7, 11), 1e8)
    for form in (TorchGradient(made, half=False), CompiledGradient(made, 1)):
        drawn = made(far, LEVEL)[..., :103, :173]
        inside = (drawn > gradients.BLACK) & (drawn < gradients.WHITE)
        assert not inside.any()
        assert not form.of(images, LEVEL)(far).any()


@needs_library
@pytest.mark.parametrize("coarse, fine, expansion", [(0, 2, 1.0), (1, 0, 0.52), (2, 1, 1.3)])
def test_the_analysis_is_that_in_pytorch_at_every_level(images, coarse, fine, expansion):
    made, whole = transform(Analysis, coarse=coarse, fine=fine, expansion=expansion), images[..., :96, :160]
    found = [
        CompiledAnalysis(made, 1 + i % 2, (LIBRARY, level))(whole, LEVEL) for i, level in enumerate(LIBRARY.levels)
    ]
    assert apart(found[0], made(whole, LEVEL)) < 0.003
    for each in found:
        assert each.shape == (2, 21, 6, 10) and torch.equal(each, found[0])


@needs_library
def test_transforms_that_the_library_has_no_room_for_are_refused(monkeypatch):
    def both(**sizes):
        return compiled(transform(Analysis, **sizes), transform(Synthesis, **sizes), 1)

    assert len(both()) == 2
    for sizes in ({"latent": 1030}, {"expansion": 2.7}, {"latent": 1, "expansion": 0.5}):  # 2.7: 1036 before the gate
        with pytest.raises(Unavailable, match="the library has no"):
            both(**sizes)
    monkeypatch.setattr(native, "library", lambda: None)
    with pytest.raises(Unavailable):
        both()


@needs_library
def test_what_does_not_fit_is_refused(images, latent):
    with pytest.raises(ValueError, match="multiples of 16"):
        CompiledAnalysis(transform(Analysis), 1)(images, LEVEL)
    slope = CompiledGradient(transform(Synthesis), 1).of(images, LEVEL)
    with pytest.raises(ValueError, match="no latents"):
        slope(latent[..., :-1])
    assert torch.equal(slope(latent.double()), slope(latent))


def test_a_quantizer_turns_gradients_as_it_turns_codewords():
    made, level = ProductQuantizer(torch.tensor([2, 0, 1, 4, 3]), [1, 3, 1], 8, 3), torch.tensor([-0.4, 1.3])
    torch.manual_seed(6)
    made.log_step.data = torch.randn(made.log_step.shape)
    words, pulled = torch.randn(2, 6, 5, requires_grad=True), torch.randn(2, 5, 2, 3)
    (expected,) = torch.autograd.grad((made.restored(words, level, 2) * pulled).sum(), words)
    torch.testing.assert_close(made.slope(pulled, level), expected)

"""The lesson of the transforms: what is rounded, and what refinement moves before that."""

import pytest
import torch

from pqmim.models.proxy import ScalarProxy
from pqmim.models.transforms import TransformConfig
from pqmim.training.stages.transforms import FARTHEST, ProxyCodec, fixed

CONFIG = TransformConfig(24, 2, 1, 1, 1, 1, 1.0)
LEVEL = torch.tensor([0.0, 1.0])


def images(seed, side=32):
    smooth = torch.rand(2, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(smooth, (side, side), mode="bilinear")


@pytest.fixture
def codec():
    torch.manual_seed(0)
    model = ProxyCodec(CONFIG, torch.tensor([20.0, 300.0]))
    model.start([image.permute(1, 2, 0).byte().numpy() for image in images(1, 128)])
    with torch.no_grad():  # no orthonormal basis any more: refinement has something to find
        model.synthesis.head.mul_(0.8)
    return model


def test_the_cheapest_integer_is_the_nearest_or_the_next_towards_zero_by_exhaustion(codec):
    proxy: ScalarProxy = codec.proxy
    y = torch.randn(2, 24, 3, 3, generator=torch.Generator().manual_seed(2)) * 3
    price = torch.tensor([20.0, 300.0])
    found = proxy.cheapest(y, LEVEL, price)
    step = proxy.log_step.detach().exp()[:, :, None, None]

    def cost(integer):
        return step.square() * (y - integer).square() + price[:, None, None, None] * proxy.bits(integer, LEVEL)

    nearest = y.round()
    smaller = nearest - nearest.sign()
    assert torch.equal(found, torch.where(cost(smaller) < cost(nearest), smaller, nearest))
    assert 0 < (found != nearest).float().mean() < 1
    assert torch.equal(proxy.cheapest(y, LEVEL, price * 1e-6), nearest)


def test_refined_latents_cost_less_and_move_by_less_than_a_part_of_a_step(codec):
    image = images(3)

    def cost(refine):
        codec.refine = refine
        with torch.no_grad():
            _, symbols = codec.quantized(image, LEVEL)
            decoded = codec.synthesis(codec.proxy.dequantize(symbols, LEVEL), LEVEL)
            error = (decoded.clamp(0, 255) - image).square().mean((1, 2, 3))
            bits = codec.proxy.bits(symbols, LEVEL).sum((1, 2, 3)) / image[0].numel()
        return (error + codec.lambdas * bits).mean(), symbols

    (plain, rounded), (refined, moved) = cost(0.0), cost(0.3)
    assert refined < 0.95 * plain
    assert torch.equal(moved, moved.round())
    assert (moved - rounded).abs().max() <= 1 + FARTHEST


def test_gradients_pass_as_if_the_move_were_a_constant(codec):
    codec.refine = 0.3
    error, rate = codec(images(4), LEVEL)
    (error + codec.lambdas * rate).sum().backward()
    for part in (codec.analysis, codec.synthesis, codec.proxy):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())
    assert codec.analysis.stem.grad.abs().max() > 0


def test_the_rate_is_that_of_what_is_sent_and_the_latents_learn_by_its_smooth_form(codec):
    codec.refine = 0.3
    torch.manual_seed(5)
    _, rate = codec(images(4), LEVEL)
    _, symbols = codec.quantized(images(4), LEVEL)
    bits = codec.proxy.bits(symbols, LEVEL).sum((1, 2, 3)) / images(4)[0].numel()
    assert torch.allclose(rate, bits, rtol=1e-5)
    rate.sum().backward()
    sent = codec.proxy.log_width.grad.clone()
    codec.zero_grad()
    codec.proxy.bits(symbols.detach(), LEVEL).sum((1, 2, 3)).div(images(4)[0].numel()).sum().backward()
    assert torch.allclose(sent, codec.proxy.log_width.grad, rtol=1e-5)  # the noise teaches no density


def test_fixed_parameters_learn_again_afterwards(codec):
    codec.synthesis.split.requires_grad_(False)
    with fixed(codec.synthesis):
        assert not any(p.requires_grad for p in codec.synthesis.parameters())
    learning = {name for name, p in codec.synthesis.named_parameters() if p.requires_grad}
    assert "split" not in learning
    assert "head" in learning

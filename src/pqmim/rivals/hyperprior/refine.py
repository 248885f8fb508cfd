"""The encoder's refinement, for the hyperprior: what our own encoder does with codewords, with the integers of a latent.

What an integer aims at follows the pixels in a few steps; each step looks at the picture of a soft choice among the
integers nearby.  Prices and steps are those that our own encoder had before it asked its prior half way, and before they
were tuned rate by rate: an integer's bits depend on its place from the first step on here.
"""

import numpy as np
import torch
from torch import Tensor

from pqmim.models.choice import LN2
from pqmim.models.transforms import blend
from pqmim.rivals.hyperprior.model import MeanScaleHyperprior, logistic_bits

FIRST_STEP, LAST_STEP = 0.3, 0.1  # of the way to where the pixels pull
SOFT_PRICE, SOFT_PART, LIKELIEST = 2 / 3, 0.375, 4  # of a soft choice, see `models.choice.Softness`
FEW, LAST_PRICE = 8, 0.75  # integers that are looked at, and the price of a bit in the end
NEAR = (-3, -2, -1, 0, 1, 2, 3)  # integers about the rounded residual that are looked at, beside 0


@torch.no_grad()
def refined(
    model: MeanScaleHyperprior, image: Tensor, y: Tensor, known: tuple[Tensor, Tensor], how: tuple[Tensor, int]
) -> Tensor:
    """Residuals of a latent refined against the pixels: (1, C, h, w), integers.

    Args:
        model: Whose weights are frozen.
        image: (1, 3, H, W), sides by 16.
        y: Latent in quantization steps, (1, C, h, w).
        known: Mean and scale of the latent, which the hyper-latent tells.
        how: The rate level (1,), and how many steps.
    """
    (mean, scale), (level, steps) = known, how
    worth = blend(model.log_step, level).exp().square()  # squared pixel error of a squared step, (1, C, 1, 1)
    weight = worth / blend(model.lambdas.log()[:, None], level).exp()  # the same in bits
    candidates, bits = _candidates(y - mean, scale, weight)  # (F, 1, C, h, w) each
    aim = y - mean
    for step in np.linspace(FIRST_STEP, LAST_STEP, steps).tolist():
        few = candidates[:LIKELIEST]
        cost = (few - aim).square() * weight / SOFT_PRICE + SOFT_PART * bits[:LIKELIEST]
        soft = ((-LN2 * cost).softmax(0) * few).sum(0)
        aim = aim + step * (soft - _slope(model, image, soft + mean, level) / (2 * worth) - aim)
    cost = (candidates - aim).square() * weight / LAST_PRICE + bits
    return candidates.gather(0, cost.argmin(0, keepdim=True))[0]


def _candidates(residual: Tensor, scale: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The `FEW` integers that cost least, the best first, and their bits: (F, 1, C, h, w) each."""
    near = residual.round() + torch.tensor(NEAR, device=residual.device).view(-1, 1, 1, 1, 1)
    integers = torch.cat([near, torch.zeros_like(near[:1])])
    bits = logistic_bits(integers, scale.expand_as(integers))
    order = ((integers - residual).square() * weight + bits).argsort(0)[:FEW]
    return integers.gather(0, order), bits.gather(0, order)


def _slope(model: MeanScaleHyperprior, image: Tensor, y: Tensor, level: Tensor) -> Tensor:
    """Gradient of the picture's squared error with respect to a latent in quantization steps."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        decoded = model.synthesis(model.restored(y, level), level).clamp(-0.5, 255.5)
        (slope,) = torch.autograd.grad((decoded - image).square().sum(), y)
    return slope

"""HiFiC's losses and its discriminator (Mentzer, Toderici, Tschannen and Agustsson 2020), on the mean-scale hyperprior.

Constants are those of its published configuration (tensorflow/compression, `models/hific`), for pixels in 0..255 and
rates in bits a pixel: C (R / lambda + 0.75 D) + perceptual + 0.15 adversarial, with C = 0.1 x 2^-5 and lambda = 0.1 x
2^-6 above the target rate, 0.1 x 2 below it.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SQUARED = 0.075 * 2**-5  # weight of the mean squared error
ABOVE, BELOW = 2.0, 2.0**-6  # weights of a bit a pixel, above the target rate and below it
ADVERSARIAL = 0.15  # weight of the adversarial loss
CONDITION = 12  # channels that the discriminator sees of the latent
SLOPE = 0.2  # of leaky rectifiers


@dataclass(frozen=True)
class HificPoint:
    """What one model is for.

    Attributes:
        level: The rate level whose gains it starts with, and keeps.
        target: Bits a pixel that training steers to.
    """

    level: int = 5
    target: float = 0.14


class Discriminator(nn.Module):
    """Tells pictures from decoded ones, patch by patch, and knows the latent that they were decoded from.

    Args:
        latent: Channels of the latent.
        width: Channels of the first convolution; 64 in the paper.
    """

    def __init__(self, latent: int, width: int = 64) -> None:
        super().__init__()
        self.condition = spectral_norm(nn.Conv2d(latent, CONDITION, 3, padding=1))
        widths = 3 + CONDITION, width, 2 * width, 4 * width
        strided = [spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(widths)]
        same = nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), spectral_norm(nn.Conv2d(4 * width, 8 * width, 4)))
        self.layers = nn.ModuleList([*strided, same, spectral_norm(nn.Conv2d(8 * width, 1, 1))])

    def forward(self, image: Tensor, latent: Tensor) -> Tensor:
        """Logits (B, 1, H/8, W/8) of pictures (B, 3, H, W) in 0..255, and of latents (B, C, H/16, W/16).

        No gradient passes to the latent.
        """
        told = F.leaky_relu(self.condition(latent.detach()), SLOPE)
        told = F.interpolate(told, size=image.shape[2:], mode="nearest")
        x = torch.cat([image / 127.5 - 1, told.to(image.dtype)], 1)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), SLOPE)
        logits: Tensor = self.layers[-1](x)
        return logits.float()


def rate_loss(bpp: Tensor, target: float) -> Tensor:
    """The rate's part of the loss, of bits a pixel (B,): its weight depends on which side of the target their mean is."""
    mean = bpp.mean()
    return (ABOVE if mean.item() > target else BELOW) * mean


def judged_real(logits: Tensor) -> Tensor:
    """Cost of logits for pictures that should be judged real; that of the generator, too (non-saturating)."""
    return F.softplus(-logits).mean()


def judged_decoded(logits: Tensor) -> Tensor:
    """Cost of logits for pictures that should be judged decoded."""
    return F.softplus(logits).mean()

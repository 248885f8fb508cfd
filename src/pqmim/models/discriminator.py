"""A projected discriminator: small heads on features of a frozen network, which tell decoded pictures from originals.

After Sauer, Chitta, Mueller and Geiger, "Projected GANs Converge Faster" (2021): the features are frozen and mixed by
random 1x1 convolutions, so that a head cannot cling to a few channels, and one small convolutional head a depth is all
that is trained. The latent stands beside the features (Mentzer et al., HiFiC, 2020): a picture must look real *for
what was sent*, not real alone.

Features do not see everything: what a network of one kind takes for texture may be a pattern that only it likes. So one
more head may look at the pixels themselves, patch by patch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

CONDITION = 12  # channels that the latent is reduced to
SLOPE = 0.2  # of leaky rectifiers


@dataclass(frozen=True)
class Depth:
    """One depth of the frozen network.

    Attributes:
        channels: of its features.
        width: of the head, in channels.
        stride: of the head's first convolution, 1 or 2.
    """

    channels: int
    width: int
    stride: int


class Head(nn.Module):
    """Scores of one depth's features, given a condition."""

    mixing: Tensor

    def __init__(self, depth: Depth) -> None:
        super().__init__()
        mixing = torch.randn(depth.width, depth.channels) * depth.channels**-0.5
        self.register_buffer("mixing", mixing)
        self.first = spectral_norm(nn.Conv2d(depth.width + CONDITION, depth.width, 3, depth.stride, padding=1))
        self.second = spectral_norm(nn.Conv2d(depth.width, depth.width, 3, padding=1))
        self.last = spectral_norm(nn.Conv2d(depth.width, 1, 1))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Scores (B, 1, h', w') of features (B, C, h, w) and a condition (B, CONDITION, any, any)."""
        x = F.conv2d(features, self.mixing[:, :, None, None])
        x = torch.cat([x, F.interpolate(condition, x.shape[2:], mode="nearest")], 1)
        x = F.leaky_relu(self.first(x), SLOPE)
        x = F.leaky_relu(self.second(x), SLOPE)
        scores: Tensor = self.last(x)
        return scores


class Patches(nn.Module):
    """Scores of patches of 38 pixels, given a condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(3, width, 4, stride=2, padding=1))
        self.second = spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1))
        self.third = spectral_norm(nn.Conv2d(2 * width + CONDITION, 4 * width, 4, stride=2, padding=1))
        self.fourth = spectral_norm(nn.Conv2d(4 * width, 4 * width, 3, padding=1))
        self.last = spectral_norm(nn.Conv2d(4 * width, 1, 1))

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """Scores (B, 1, H/8, W/8) of pictures (B, 3, H, W) in 0..255 and a condition (B, CONDITION, any, any)."""
        x = F.leaky_relu(self.first(image / 127.5 - 1), SLOPE)
        x = F.leaky_relu(self.second(x), SLOPE)
        x = torch.cat([x, F.interpolate(condition, x.shape[2:], mode="nearest").to(x.dtype)], 1)
        x = F.leaky_relu(self.third(x), SLOPE)
        x = F.leaky_relu(self.fourth(x), SLOPE)
        scores: Tensor = self.last(x)
        return scores


class Discriminator(nn.Module):
    """A head a depth, and perhaps one for pixels; all share the condition.

    Args:
        depths: of the features.
        latent_scale: (C,) the deviation of each latent channel.
        pixels: width of the head that sees pixels; 0 for none.
    """

    scale: Tensor
    latent_scale: Tensor

    def __init__(self, depths: Sequence[Depth], latent_scale: Tensor, pixels: int = 0) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head(depth) for depth in depths)
        self.patches = Patches(pixels) if pixels else None
        self.register_buffer("latent_scale", latent_scale.clone())
        self.condition = spectral_norm(nn.Conv2d(len(latent_scale), CONDITION, 1))

    def forward(self, features: Sequence[Tensor], latent: Tensor, image: Tensor) -> list[Tensor]:
        """Scores of each depth, and of pixels last: above 0 where pictures look original.

        Args:
            features: one tensor (B, C, h, w) a depth, in units of their root energy.
            latent: (B, C, h, w), stretched over the features' field of view. The features may be those of a crop that
                leaves out up to one position of it. No gradient follows it.
            image: (B, 3, H, W) in 0..255, that the features are of.
        """
        units = (latent.detach() / self.latent_scale[:, None, None]).clamp(-3, 3)
        condition = F.leaky_relu(self.condition(units), SLOPE)
        scores = [head(found, condition) for head, found in zip(self.heads, features, strict=True)]
        return scores if self.patches is None else [*scores, self.patches(image, condition)]


def hinge(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Hinge loss of the discriminator, mean over heads."""
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def persuasion(fake: Sequence[Tensor]) -> Tensor:
    """What a generator lowers: minus the mean score, mean over heads."""
    return -torch.stack([scores.mean() for scores in fake]).mean()

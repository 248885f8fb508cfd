"""A projected discriminator: small heads on features of a frozen network, which tell decoded pictures from originals.

After Sauer, Chitta, Mueller and Geiger, "Projected GANs Converge Faster" (2021): the features are frozen and mixed by
random 1x1 convolutions, so that a head cannot cling to a few channels, and one small convolutional head a depth is all
that is trained. The latent stands beside the features (Mentzer et al., HiFiC, 2020): a picture must look real *for
what was sent*, not real alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

CONDITION = 12  # channels that the latent is reduced to


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
        x = F.leaky_relu(self.first(x), 0.2)
        x = F.leaky_relu(self.second(x), 0.2)
        scores: Tensor = self.last(x)
        return scores


class Discriminator(nn.Module):
    """A head a depth; all share the condition."""

    scale: Tensor
    latent_scale: Tensor

    def __init__(self, depths: Sequence[Depth], latent_scale: Tensor) -> None:
        """Make heads for features at `depths`; `latent_scale` (C,) is the deviation of each latent channel."""
        super().__init__()
        self.heads = nn.ModuleList(Head(depth) for depth in depths)
        self.register_buffer("latent_scale", latent_scale.clone())
        self.condition = spectral_norm(nn.Conv2d(len(latent_scale), CONDITION, 1))

    def forward(self, features: Sequence[Tensor], latent: Tensor) -> list[Tensor]:
        """Scores of each depth: above 0 where pictures look original.

        Args:
            features: one tensor (B, C, h, w) a depth, in units of their root energy.
            latent: (B, C, h, w), of the same field of view as the features. No gradient follows it.
        """
        units = (latent.detach() / self.latent_scale[:, None, None]).clamp(-3, 3)
        condition = F.leaky_relu(self.condition(units), 0.2)
        return [head(found, condition) for head, found in zip(self.heads, features, strict=True)]


def hinge(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Hinge loss of the discriminator, mean over depths."""
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def persuasion(fake: Sequence[Tensor]) -> Tensor:
    """What a generator lowers: minus the mean score, mean over depths."""
    return -torch.stack([scores.mean() for scores in fake]).mean()

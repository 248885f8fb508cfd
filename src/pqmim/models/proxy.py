"""Scalar proxy: what the transforms learn first under, before any product quantizer.

Per-channel gains for each rate level, straight-through rounding for what the synthesis sees,
additive uniform noise for the rate only, and a factorized mixture-of-logistics density a channel.
Noise on both paths would carry information to the synthesis that rounding destroys.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pqmim.models.transforms import blend

LARGEST = 127  # integers are kept within a codebook of 256 codewords


class ScalarProxy(nn.Module):
    """Uniform scalar quantizer with learned steps and a static density, for L levels and C channels."""

    def __init__(self, channels: int, levels: int, components: int = 3):
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(levels, channels))
        self.log_step = nn.Parameter(torch.zeros(levels, channels))
        self.weight = nn.Parameter(torch.zeros(components, levels, channels))
        self.mean = nn.Parameter(torch.zeros(components, levels, channels))
        self.log_width = nn.Parameter(torch.zeros(components, levels, channels))

    @torch.no_grad()
    def start(self, deviation: Tensor, lambdas: Tensor) -> None:
        """Start at the steps that are optimal at high rate, sqrt(8.7 lambda), for KLT channels of `deviation` (C,)."""
        step = (8.7 * lambdas).sqrt()[:, None].expand(-1, len(deviation)).clone()  # (L, C)
        # No sample of an orthonormal transform leaves four deviations often; the first (brightness) can reach 127.5 x sqrt(768).
        reach = torch.minimum(4 * deviation, torch.tensor(127.5 * math.sqrt(768)))
        step = torch.maximum(step, reach / LARGEST)
        self.log_step.copy_(step.log())
        self.log_gain.copy_(-step.log())
        spread = torch.tensor([0.25, 0.6, 1.2])[: len(self.weight), None, None]
        self.log_width.copy_((0.55 * spread * deviation / step).clamp(min=0.05).log())

    def quantize(self, z: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled latent (B, C, h, w) and its rounding, straight-through for the gradient."""
        y = z.float() * blend(self.log_gain, level).exp()
        rounded = y.round().clamp(-LARGEST, LARGEST)
        return y, y + (rounded - y).detach()

    def dequantize(self, symbols: Tensor, level: Tensor) -> Tensor:
        """Latents (B, C, h, w) of integers (B, C, h, w) at levels (B,)."""
        return symbols * blend(self.log_step, level).exp()

    def bits(self, y: Tensor, level: Tensor) -> Tensor:
        """Bits of each value (B, C, h, w) under the factorized density of its level."""
        weight = torch.stack([blend(w, level) for w in self.weight]).log_softmax(0).exp()  # (3, B, C, 1, 1)
        mean = torch.stack([blend(m, level) for m in self.mean])
        sharpness = torch.stack([blend(-w, level) for w in self.log_width]).exp()
        distance = (y - mean).abs()
        upper, lower = (0.5 - distance) * sharpness, (-0.5 - distance) * sharpness
        mass = (weight * (upper.sigmoid() - lower.sigmoid())).sum(0)
        return -mass.clamp(min=2**-24).log2()

    def forward(
        self, z: Tensor, level: Tensor, uniform: Callable[[Tensor], Tensor] = torch.rand_like
    ) -> tuple[Tensor, Tensor]:
        """What the synthesis sees (B, C, h, w) and the bits of each photo (B,); `uniform` draws noise in [0, 1)."""
        y, symbols = self.quantize(z, level)
        noisy = y + uniform(y) - 0.5
        return self.dequantize(symbols, level), self.bits(noisy, level).sum((1, 2, 3))

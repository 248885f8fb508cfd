"""The vivid look: a second synthesis of the same codes that draws texture where the faithful one blurs.

The faithful synthesis gives the picture of least error, which is soft where the bytes say little. The vivid one has
the same layers, other weights, and Gaussian noise that its fine blocks may turn into texture. `pqmim.looks` keeps it as
a small difference to the faithful one.

::

    latent z ── coarse blocks ── split ──► (B, 192, H/8, W/8) ── fine blocks ── head ──► pixels
                                                                    ▲
                              noise (B, 16, H/8, W/8) x gain(level) ┘  added before the gate of each fine block
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pqmim.models.noise import CHANNELS, gaussian
from pqmim.models.transforms import PATCH, REACH, STEM, STRIDE, Block, Synthesis, TransformConfig, blend, strips

FINE = STRIDE // PATCH  # positions of noise along each side of a latent position
FIRST_NOISE = 0.03  # deviation of the weights of the noise before training: small, but not nothing


class NoisyBlock(Block):
    """A residual block with noise at its gate; the content of the picture decides where noise becomes texture."""

    def __init__(self, channels: int, expansion: float, levels: int) -> None:
        super().__init__(channels, expansion, levels)
        self.noise = nn.Parameter(FIRST_NOISE * torch.randn(len(self.expand), CHANNELS))

    def forward(self, x: Tensor, level: Tensor, noise: Tensor | None = None) -> Tensor:
        """The block's output (B, C, h, w) for an input of that shape, levels (B,) and noise (B, 16, h, w)."""
        if noise is None:
            return super().forward(x, level)
        gain = blend(self.gain, level) / self.scale[:, None, None]
        h = F.hardtanh(x * gain.to(x.dtype), -REACH, REACH)
        h = F.conv2d(h, self.depthwise, padding=1, groups=len(self.scale))
        h = F.conv2d(h, self.expand[:, :, None, None], self.bias) + F.conv2d(noise, self.noise[:, :, None, None])
        a, b = h.chunk(2, dim=1)
        return x + F.conv2d(F.silu(a) * b, (self.scale.sqrt()[:, None] * self.reduce)[:, :, None, None])


class VividSynthesis(Synthesis):
    """A synthesis with noise. Without noise it is the plain synthesis of its own weights.

    Attributes:
        noise_gain: (levels, 16) gains of the noise channels at each rate level.
    """

    def __init__(self, config: TransformConfig) -> None:
        super().__init__(config)
        self.fine = nn.ModuleList(
            NoisyBlock(STEM, config.expansion, config.levels) for _ in range(config.synthesis_fine)
        )
        self.noise_gain = nn.Parameter(torch.ones(config.levels, CHANNELS))

    def forward(self, z: Tensor, level: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pixels (B, 3, 16 h, 16 w) in 0..255, not clamped, of latents (B, C, h, w) and noise (B, 16, 2 h, 2 w)."""
        x = z.contiguous(memory_format=torch.channels_last)
        for block in self.coarse:
            x = block(x, level)
        x = F.pixel_shuffle(F.conv2d(x, self.split[:, :, None, None]), 2)  # (B, 192, 2 h, 2 w)
        x = x.contiguous(memory_format=torch.channels_last)
        if noise is not None:
            noise = (noise * blend(self.noise_gain, level)).contiguous(memory_format=torch.channels_last)
        for block in self.fine:
            x = block(x, level, noise)
        x = F.conv2d(x, self.head[:, :, None, None])
        pixels: Tensor = F.pixel_shuffle(x.float(), PATCH) + 127.5  # in full precision, whatever the layers have
        return pixels  # (B, 3, H, W)

    @classmethod
    def of(cls, config: TransformConfig, tensors: Mapping[str, NDArray[Any]]) -> "VividSynthesis":
        """The synthesis of a look's tensors, in evaluation mode."""
        found = cls(config)
        found.load_state_dict({name: torch.from_numpy(np.asarray(tensor)) for name, tensor in tensors.items()})
        return found.eval().requires_grad_(False)

    def drawn(self, z: Tensor, level: Tensor, seed: int = 0, origin: tuple[int, int] = (0, 0)) -> Iterator[Tensor]:
        """Pixels of a picture, or of a tile of one, strip by strip.

        Args:
            z: (1, C, h, w) latent.
            level: (1,) rate level.
            seed: of the noise, from 0: the same seed draws the same texture.
            origin: absolute row and column of the first position.

        Yields:
            (1, 3, 16 k, 16 w) in 0..255, not clamped, of h rows of positions in all.
        """
        channels, (top, left) = z.shape[1], origin
        found = gaussian(seed, FINE * top, FINE * left, FINE * z.shape[2], FINE * z.shape[3])
        noise = F.pixel_unshuffle(torch.from_numpy(found).to(z)[None], FINE)  # (1, 64, h, w): strips cut both alike

        def synthesis(x: Tensor, level: Tensor) -> Tensor:
            pixels: Tensor = self(x[:, :channels], level, F.pixel_shuffle(x[:, channels:], FINE))
            return pixels

        yield from strips(synthesis, torch.cat([z, noise], 1), level, 1, STRIDE)

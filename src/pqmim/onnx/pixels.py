"""The synthesis as a torch module that ONNX can hold."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pqmim.models.transforms import PATCH, REACH, Block, Synthesis


class Pixels(nn.Module):
    """A synthesis whose rate level is a plain product, without indices: latents (1, C, h, w) to 0..255."""

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        """Pixels (1, 3, 16 h, 16 w) of latents at a level (1,), up to the last one; not clamped."""
        x, level = z, level.clamp(min=0)  # below level 0 only the steps of latents get finer
        for block in self.synthesis.coarse:
            x = _through(block, x, level)
        x = F.pixel_shuffle(F.conv2d(x, self.synthesis.split[:, :, None, None]), 2)
        for block in self.synthesis.fine:
            x = _through(block, x, level)
        return F.pixel_shuffle(F.conv2d(x, self.synthesis.head[:, :, None, None]), PATCH) + 127.5


def _through(block: nn.Module, x: Tensor, level: Tensor) -> Tensor:
    """See `models.transforms.Block`; the gain is interpolated by weights that fall off on both sides of the level."""
    assert isinstance(block, Block)
    rows = len(block.gain)
    weights = F.relu(1 - (level - torch.arange(rows, dtype=torch.float32)).abs())
    gain = (weights @ block.gain / block.scale)[None, :, None, None]
    h = F.hardtanh(x * gain, -REACH, REACH)
    h = F.conv2d(h, block.depthwise, padding=1, groups=len(block.scale))
    h = F.conv2d(h, block.expand[:, :, None, None], block.bias)
    a, b = h.chunk(2, dim=1)
    reduce = (block.scale.sqrt()[:, None] * block.reduce)[:, :, None, None]
    return x + F.conv2d(F.silu(a) * b, reduce)

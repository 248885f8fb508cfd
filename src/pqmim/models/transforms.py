"""Analysis and synthesis transforms: a KLT codec that learns.

The analysis turns an image into a latent at 1/16 resolution, the synthesis turns it back.  Both
start as the Karhunen-Loeve transform of the training photos, in two steps: an 8x8 basis in the
stem, then a 2x2 merge into the 16x16 basis at the stride.  Every residual branch starts at zero,
so the untrained pair *is* a transform codec, and training only ever improves on it.

::

    image (B, 3, H, W) ── unshuffle 8, stem ──► (B, 192, H/8, W/8) ── blocks ── merge 2x2 ──►
    (B, C, H/16, W/16) ── blocks ──► latent z            and the mirror image on the way back
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 16  # pixels a latent position spans on each side
PATCH = 8  # pixels the stem spans
MIDDLE = 127.5  # of the pixels: transforms work on the distance from it
STEM = 3 * PATCH * PATCH  # channels at 1/8 resolution: as many as a patch has samples, so that the stem loses nothing

POSITIONS = 1 << 12  # latent positions of a strip: larger ones leave the caches and fault in fresh pages
HALO = 8  # latent rows that strips overlap by: blocks reach 1 each at 1/16 and half a one at 1/8, 4 + 4 / 2 by default
REACH = 10.0  # standard deviations that a branch's input is clipped to: at low rates a step of a faint channel has a hundred


@dataclass(frozen=True)
class TransformConfig:
    """Sizes of both transforms.

    `latent` is the number of latent dimensions a position, `levels` the number of rates whose
    gains are learned, `fine` and `coarse` the blocks at 1/8 and 1/16 resolution on each side,
    `expansion` the width of a block's hidden layer relative to its channels.
    """

    latent: int = 320
    levels: int = 6
    analysis_fine: int = 3
    analysis_coarse: int = 4
    synthesis_coarse: int = 4
    synthesis_fine: int = 4
    expansion: float = 1.5

    def multiply_adds(self) -> float:
        """Multiply-adds a pixel for analysis and synthesis together."""
        fine = Block.multiply_adds(STEM, self.expansion) * (self.analysis_fine + self.synthesis_fine)
        coarse = Block.multiply_adds(self.latent, self.expansion) * (self.analysis_coarse + self.synthesis_coarse)
        return 2 * STEM * STEM / PATCH**2 + (fine / PATCH**2) + (coarse + 2 * 4 * STEM * self.latent) / STRIDE**2


def blend(table: Tensor, level: Tensor) -> Tensor:
    """Interpolate the rows of `table` (L, C) at fractional levels (B,): (B, C, 1, 1)."""
    level = level.clamp(0, len(table) - 1)
    low = level.floor().long().clamp(max=max(len(table) - 2, 0))
    high = (low + 1).clamp(max=len(table) - 1)
    weight = (level - low)[:, None].to(table.dtype)
    return torch.lerp(table[low], table[high], weight)[:, :, None, None]


class Block(nn.Module):
    """Residual block: depthwise 3x3, then a gated feed-forward layer, as in DCVC-RT.

    The branch sees its input divided by each channel's standard deviation, a static normalisation,
    so tiles give what the whole image gives, times a gain for the rate level.  It answers in units
    of that deviation's root, so that one learning rate suits channels whose energies span five
    orders of magnitude.
    """

    compiles = True  # see training.loop
    scale: Tensor

    def __init__(self, channels: int, expansion: float, levels: int):
        super().__init__()
        hidden = int(channels * expansion)
        self.register_buffer("scale", torch.ones(channels))
        self.gain = nn.Parameter(torch.ones(levels, channels))
        self.depthwise = nn.Parameter(torch.zeros(channels, 1, 3, 3))
        self.expand = nn.Parameter(torch.empty(2 * hidden, channels))
        self.bias = nn.Parameter(torch.zeros(2 * hidden))
        self.reduce = nn.Parameter(torch.zeros(channels, hidden))
        nn.init.normal_(self.expand, std=channels**-0.5)
        with torch.no_grad():
            self.depthwise[:, 0, 1, 1] = 1.0
            self.depthwise.add_(torch.randn_like(self.depthwise), alpha=0.1)

    @staticmethod
    def multiply_adds(channels: int, expansion: float) -> float:
        """Multiply-adds of one position."""
        return 3 * channels * int(channels * expansion) + 9 * channels

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Features (B, C, h, w) at levels (B,), plus what the branch makes of them: the same shape."""
        gain = blend(self.gain, level) / self.scale[:, None, None]
        h = x * gain.to(x.dtype)  # stays narrow where autocast made it so
        h = F.hardtanh(h, -REACH, REACH)
        h = F.conv2d(h, self.depthwise, padding=1, groups=len(self.scale))
        h = F.conv2d(h, self.expand[:, :, None, None], self.bias)
        a, b = h.chunk(2, dim=1)
        h = F.conv2d(F.silu(a) * b, (self.scale.sqrt()[:, None] * self.reduce)[:, :, None, None])
        return x + h  # (B, C, h, w)


class Analysis(nn.Module):
    """Image (B, 3, H, W) in 0..255 to latent (B, C, H/16, W/16); H and W are multiples of 16."""

    def __init__(self, config: TransformConfig):
        super().__init__()
        self.config = config
        self.stem = nn.Parameter(torch.empty(STEM, STEM))
        self.fine = nn.ModuleList(Block(STEM, config.expansion, config.levels) for _ in range(config.analysis_fine))
        self.merge = nn.Parameter(torch.empty(config.latent, 4 * STEM))
        self.coarse = nn.ModuleList(
            Block(config.latent, config.expansion, config.levels) for _ in range(config.analysis_coarse)
        )

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        """Latents (B, C, H/16, W/16) of images at levels (B,)."""
        x = F.pixel_unshuffle(image - MIDDLE, PATCH)  # (B, 192, H/8, W/8)
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, self.stem[:, :, None, None])
        for block in self.fine:
            x = block(x, level)
        x = F.conv2d(
            F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last), self.merge[:, :, None, None]
        )
        for block in self.coarse:
            x = block(x, level)
        return x  # (B, C, H/16, W/16)


class Synthesis(nn.Module):
    """Latent (B, C, h, w) to image (B, 3, 16 h, 16 w) in 0..255, not clamped."""

    def __init__(self, config: TransformConfig):
        super().__init__()
        self.config = config
        self.coarse = nn.ModuleList(
            Block(config.latent, config.expansion, config.levels) for _ in range(config.synthesis_coarse)
        )
        self.split = nn.Parameter(torch.empty(4 * STEM, config.latent))
        self.fine = nn.ModuleList(Block(STEM, config.expansion, config.levels) for _ in range(config.synthesis_fine))
        self.head = nn.Parameter(torch.empty(STEM, STEM))

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        """Images (B, 3, 16 h, 16 w) of latents at levels (B,)."""
        x = z.contiguous(memory_format=torch.channels_last)
        for block in self.coarse:
            x = block(x, level)
        x = F.pixel_shuffle(F.conv2d(x, self.split[:, :, None, None]), 2)  # (B, 192, H/8, W/8)
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.fine:
            x = block(x, level)
        x = F.conv2d(x, self.head[:, :, None, None])
        return F.pixel_shuffle(x, PATCH) + MIDDLE  # (B, 3, H, W)


def in_strips(
    transform: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    level: Tensor,
    inner: int,
    outer: int,
    positions: int = POSITIONS,
) -> Tensor:
    """The result of `strips` in one."""
    return torch.cat(list(strips(transform, x, level, inner, outer, positions)), 2)


def strips(
    transform: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    level: Tensor,
    inner: int,
    outer: int,
    positions: int = POSITIONS,
) -> Iterator[Tensor]:
    """Apply a transform to strips of `x` (1, C, H, W) of about `positions` latent positions each, to bound memory.

    A latent row is `inner` rows of the input and `outer` of the result.  Strips overlap by more than the
    receptive field, so the result is that of the whole, up to the rounding of floating-point sums.
    """
    height = x.shape[2] // inner
    rows = max(HALO, positions * inner // x.shape[3])
    if height <= rows + HALO:
        yield transform(x, level)
        return
    for top in range(0, height, rows):
        first, last = max(0, top - HALO), min(height, top + rows + HALO)
        strip = transform(x[:, :, first * inner : last * inner], level)
        yield strip[:, :, (top - first) * outer : (min(top + rows, height) - first) * outer].clone()


@torch.no_grad()
def start_as_klt(analysis: Analysis, synthesis: Synthesis, patches: Tensor) -> Tensor:
    """Set both transforms to the KLT of `patches` (N, 3, 16, 16) in 0..255.

    Returns the standard deviation of each latent dimension (C,), largest first.
    """
    x = F.pixel_unshuffle(patches.double() - MIDDLE, PATCH)  # (N, 192, 2, 2)
    basis, _ = _principal_axes(x.permute(0, 2, 3, 1).reshape(-1, STEM))
    fine = torch.einsum("nchw,kc->nkhw", x, basis)  # (N, 192, 2, 2)
    fine_scale = fine.square().mean((0, 2, 3)).sqrt()
    merged = F.pixel_unshuffle(fine, 2).flatten(1)  # (N, 768)
    axes, scale = _principal_axes(merged)
    axes, scale = axes[: len(analysis.merge)], scale[: len(analysis.merge)]

    analysis.stem.copy_(basis)
    analysis.merge.copy_(axes)
    synthesis.split.copy_(axes.T)
    synthesis.head.copy_(basis.T)
    _normalise(analysis, synthesis, fine_scale, scale)
    return scale.float()


@torch.no_grad()
def start_at_random(analysis: Analysis, synthesis: Synthesis, patches: Tensor) -> Tensor:
    """Set both transforms to random matrices that keep the energy of `patches` (N, 3, 16, 16), for comparison.

    Returns the standard deviation of each latent dimension (C,).
    """
    for matrix in (analysis.stem, analysis.merge, synthesis.split, synthesis.head):
        nn.init.normal_(matrix, std=matrix.shape[1] ** -0.5)
    x = F.pixel_unshuffle(patches - MIDDLE, PATCH)  # (N, 192, 2, 2)
    fine = torch.einsum("nchw,kc->nkhw", x, analysis.stem)
    fine_scale = fine.square().mean((0, 2, 3)).sqrt()
    scale = (F.pixel_unshuffle(fine, 2).flatten(1) @ analysis.merge.T).square().mean(0).sqrt()  # (C,)
    _normalise(analysis, synthesis, fine_scale, scale)
    return scale


def _normalise(analysis: Analysis, synthesis: Synthesis, fine: Tensor, coarse: Tensor) -> None:
    """Standard deviations of the channels of fine (192,) and coarse blocks (C,)."""
    for blocks, deviation in (
        (analysis.fine, fine),
        (synthesis.fine, fine),
        (analysis.coarse, coarse),
        (synthesis.coarse, coarse),
    ):
        for block in blocks:
            block.get_buffer("scale").copy_(deviation)


def _principal_axes(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors (rows) of the second moment of `samples` (N, D) and their root energies, largest first."""
    energy, axes = torch.linalg.eigh(samples.T @ samples / len(samples))
    return axes.T.flip(0), energy.flip(0).clamp(min=0).sqrt()

"""Statistics of textures: mean and deviation of features over windows, which two pictures of one texture share.

After Ding et al., "Comparison of full-reference image quality models" (2021), and the Wasserstein distortion of Qiu,
Wagner, Balle and Theis (2024) in blocks: where the bytes say little, a picture need not match the original's pixels,
only the statistics of what surrounds them.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, WINDOWS = 4, 3  # cells of the smallest window, and how many sizes there are, each twice the last
OCTAVES = 3  # sizes of detail, each twice the last
LEAST_ENERGY = 4.0  # of detail, in squared steps of 255: less is not told from none
FLOOR = 1e-4  # of a variance, before its root: the slope of the root has to stay finite


def moments(features: Tensor, offset: tuple[int, int] = (0, 0)) -> list[tuple[Tensor, Tensor]]:
    """Mean and deviation (B, C, h', w') of features (B, C, h, w) in windows of 4, 8 and 16 cells.

    `offset` is the row and column of the first window, so that windows need not stand at the same place in each step.
    """
    top, left = (min(start, side - WINDOW) for start, side in zip(offset, features.shape[2:], strict=True))
    part = features[..., top:, left:].float()  # at least one window
    mean, square = F.avg_pool2d(part, WINDOW), F.avg_pool2d(part.square(), WINDOW)
    found = []
    for size in range(WINDOWS):
        found.append((mean, (square - mean.square()).clamp(min=FLOOR).sqrt()))
        if min(mean.shape[2:]) < 2 or size + 1 == WINDOWS:
            break
        mean, square = F.avg_pool2d(mean, 2), F.avg_pool2d(square, 2)
    return found


def detail(image: Tensor) -> list[Tensor]:
    """Logarithms of the energies of fine detail of pictures (B, 3, H, W) in 0..255, in windows of 4 and 8 cells.

    Detail is the three Haar bands of 2 x 2 pixels, then of twice and four times their size. No network is asked: what
    a network overlooks has its energy all the same.
    """
    found, x = [], image
    for _ in range(OCTAVES):
        x = x[..., : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
        a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
        bands = 0.5 * torch.cat([a + b - c - d, a - b + c - d, a - b - c + d], 1)
        energy = F.avg_pool2d(bands.square(), WINDOW)
        found += [torch.log(part + LEAST_ENERGY) for part in (energy, F.avg_pool2d(energy, 2))]
        x = (a + b + c + d) / 4
    return found


def apart(a: Sequence[Tensor], b: Sequence[Tensor], offset: tuple[int, int] = (0, 0)) -> Tensor:
    """How far textures of two batches of pictures are apart: 0 for equal features, in units of their root energy."""
    gaps = []
    for one, other in zip(a, b, strict=True):
        for (mean, deviation), (mean_, deviation_) in zip(moments(one, offset), moments(other, offset), strict=True):
            gaps.append((mean - mean_).square().mean() + (deviation - deviation_).square().mean())
    return torch.stack(gaps).mean()

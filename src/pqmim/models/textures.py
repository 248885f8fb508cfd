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


def apart(a: Sequence[Tensor], b: Sequence[Tensor], offset: tuple[int, int] = (0, 0)) -> Tensor:
    """How far textures of two batches of pictures are apart: 0 for equal features, in units of their root energy."""
    gaps = []
    for one, other in zip(a, b, strict=True):
        for (mean, deviation), (mean_, deviation_) in zip(moments(one, offset), moments(other, offset), strict=True):
            gaps.append((mean - mean_).square().mean() + (deviation - deviation_).square().mean())
    return torch.stack(gaps).mean()

"""Held-back photos, and what is measured on them."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pqmim.training.data import Photos

COUNT, LARGEST = 12, 384  # photos that most stages are measured on, and pixels a side of each


def to_images(crops: NDArray[np.uint8] | Tensor, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in 0..255."""
    if isinstance(crops, np.ndarray):
        crops = torch.from_numpy(np.require(crops, requirements=["C", "W"]))
    return crops.to(device).permute(0, 3, 1, 2).float()


def held_back(photos: Photos, device: torch.device, count: int = COUNT, largest: int = LARGEST) -> list[Tensor]:
    """The middles of the `count` largest held-back photos: (1, 3, h, w) each, sides at most `largest`."""
    by_area = sorted(photos.held_back, key=lambda photo: -photo.shape[0] * photo.shape[1])
    return [to_images(center(photo, largest)[None], device) for photo in by_area[:count]]


def center(photo: NDArray[np.uint8], largest: int = LARGEST) -> NDArray[np.uint8]:
    """The middle of a photo (H, W, 3): sides a multiple of 16, at most `largest`."""
    height, width = (min(side, largest) // 16 * 16 for side in photo.shape[:2])
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return photo[top : top + height, left : left + width]


def psnr(mse: float) -> float:
    """Decibels of a mean squared error on the 0..255 scale."""
    return 10 * math.log10(255**2 / mse)


def mse_of(decibels: float) -> float:
    """Inverse of `psnr`."""
    return float(255**2 / 10 ** (decibels / 10))


def point(rows: Sequence[tuple[float, float]], suffix: str = "") -> dict[str, float]:
    """Mean `psnr` and `bpp` of photos, each given by its mean squared error and its bits a sample."""
    return {
        f"psnr{suffix}": float(np.mean([psnr(mse) for mse, _ in rows])),
        f"bpp{suffix}": float(np.mean([3 * bits for _, bits in rows])),
    }

"""Smaller pictures for very small files, and back."""

import numpy as np
from PIL import Image


def shrink(rgb: np.ndarray, scale: int) -> np.ndarray:
    """A picture (H, W, 3) uint8 at 1/2**scale of its size, rounded up."""
    if not scale:
        return rgb
    height, width = (-(-side // 2**scale) for side in rgb.shape[:2])
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))


def enlarge(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture (h, w, 3) uint8 at another size: (height, width, 3)."""
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))

"""SqueezeNet feature distance: how far two pictures are apart for a network that learnt to name what is in them.

The form is that of Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric" (2018), without the calibration on human judgements: it is no LPIPS, and its values compare with
none of that name.
"""

import os

import numpy as np
import torch

from pqmim.models.features import LEAST_SIDE, SqueezeNet, distance


class SqueezeNetDistance:
    """The distance between two pictures at seven depths of a SqueezeNet 1.1 (see `models.features.distance`).

    `weights` is a safetensors file with torchvision's names (`features.0.weight`, ...) in any floating-point type;
    `sha256` is its hexadecimal digest. Raises PqmimError where it cannot be read or holds something else.
    """

    min_side = LEAST_SIDE

    def __init__(self, weights: str | os.PathLike[str], *, device: str = "cpu", threads: int | None = None) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.network = SqueezeNet.read(weights).to(device)
        self.sha256 = self.network.sha256
        self.device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        """The distance of two uint8 sRGB pictures (H, W, 3); raises ValueError where shapes differ or a side < 17."""
        if a.shape != b.shape:
            raise ValueError(f"Only pictures of one shape can be compared, not {a.shape} and {b.shape}.")
        if min(a.shape[:2]) < self.min_side:
            raise ValueError(
                f"The distance needs sides of {self.min_side} pixels or more, not {a.shape[1]}x{a.shape[0]}."
            )
        pair = torch.from_numpy(np.stack([a, b])).to(self.device).permute(0, 3, 1, 2)  # (2, 3, H, W)
        features = self.network(pair)
        return float(distance([part[:1] for part in features], [part[1:] for part in features]))

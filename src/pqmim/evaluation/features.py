"""SqueezeNet feature distance: how far two pictures are apart for a network that learnt to name what is in them.

The form is that of Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric" (2018), without the calibration on human judgements: it is no LPIPS, and its values compare with
none of that name. The network is SqueezeNet 1.1 (Iandola et al., 2016); its weights are a file of the user's.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from pqmim.errors import PqmimError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, from 0 to 1

# The Fire modules by their place in `features`: channels in, squeezed, and of each of the two expansions.
FIRES = {
    3: (64, 16, 64),
    4: (128, 16, 64),
    6: (128, 32, 128),
    7: (256, 32, 128),
    9: (256, 48, 192),
    10: (384, 48, 192),
    11: (384, 64, 256),
    12: (512, 64, 256),
}
AFTER_POOLING = (3, 6, 9)
DEPTHS = (4, 7, 9, 10, 11, 12)  # the Fire modules whose outputs are compared, beside the first convolution's


class SqueezeNetDistance:
    """The distance between two pictures at seven depths of a SqueezeNet 1.1.

    Features are taken after the ReLU of the first convolution and after those of the Fire modules at `features.4`,
    7, 9, 10, 11 and 12. At each depth, the vectors of the two pictures at each position are scaled to unit length,
    and their squared differences summed over channels and averaged over positions; the distance is the mean over the
    seven depths: 0 for equal pictures, at most 2 (features are not negative).

    `weights` is a safetensors file with torchvision's names (`features.0.weight`, ...) in any floating-point type;
    `sha256` is its hexadecimal digest. Raises PqmimError where it cannot be read or holds something else.
    """

    min_side = 17  # a shorter side leaves the last pooling nothing

    def __init__(self, weights: str | os.PathLike, *, device: str = "cpu", threads: int | None = None) -> None:
        if threads:
            torch.set_num_threads(threads)
        try:
            data = Path(weights).read_bytes()
        except OSError as error:
            raise PqmimError(f"{weights} cannot be read: {error.strerror}.") from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.device = torch.device(device)
        self._weights = {name: tensor.float().to(self.device) for name, tensor in _checked(data, weights).items()}
        self._mean, self._std = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in (MEAN, STD))

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
        distances = []
        for features in self._features((pair / 255 - self._mean) / self._std):  # (2, C, h, w)
            unit = F.normalize(features, dim=1)
            distances.append((unit[0] - unit[1]).square().sum(0).mean())
        return float(torch.stack(distances).mean())

    def _features(self, x: Tensor) -> Iterator[Tensor]:
        x = F.relu(self._convolved(x, "features.0", stride=2))
        yield x
        for place in FIRES:
            if place in AFTER_POOLING:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            squeezed = F.relu(self._convolved(x, f"features.{place}.squeeze"))
            narrow = self._convolved(squeezed, f"features.{place}.expand1x1")
            wide = self._convolved(squeezed, f"features.{place}.expand3x3", padding=1)
            x = F.relu(torch.cat([narrow, wide], 1))
            if place in DEPTHS:
                yield x

    def _convolved(self, x: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], **options)


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors that the weights file has to hold."""
    kernels = {"features.0": (64, 3, 3, 3)}
    for place, (channels, squeezed, expanded) in FIRES.items():
        kernels[f"features.{place}.squeeze"] = (squeezed, channels, 1, 1)
        kernels[f"features.{place}.expand1x1"] = (expanded, squeezed, 1, 1)
        kernels[f"features.{place}.expand3x3"] = (expanded, squeezed, 3, 3)
    shapes = {f"{name}.weight": shape for name, shape in kernels.items()}
    return shapes | {f"{name}.bias": shape[:1] for name, shape in kernels.items()}


def _checked(data: bytes, path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of `weight_shapes` in a file that may hold others, such as those of the classifier."""
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise PqmimError(f"{path} is not a safetensors file, or damaged.") from error
    for name, shape in weight_shapes().items():
        if name not in tensors or tensors[name].shape != shape or not tensors[name].is_floating_point():
            raise PqmimError(
                f"{path} does not hold the weights of SqueezeNet 1.1: {name} is missing or of another kind."
            )
    return {name: tensors[name] for name in weight_shapes()}

"""SqueezeNet 1.1 (Iandola et al. 2016), frozen: the features that losses of training and distances compare.

The package holds no weights: a file of the user's does, with torchvision's names.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

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
LEAST_SIDE = 17  # pixels: a shorter side leaves the last pooling nothing


class SqueezeNet(nn.Module):
    """The convolutions of SqueezeNet 1.1, up to its last Fire module; gradients pass to the pictures, not to the weights.

    Args:
        weights: The tensors of `weight_shapes`, of any floating-point type.

    Attributes:
        sha256: Hexadecimal digest of the file that the weights came from; empty if they came from none.
    """

    mean: Tensor
    std: Tensor

    sha256: str = ""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for name in weight_shapes():
            self.register_buffer(_attribute(name), weights[name].float())
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "SqueezeNet":
        """The network of a safetensors file, which may hold other tensors too, such as those of the classifier.

        Raises:
            PqmimError: The file cannot be read, or holds something else.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise PqmimError(f"cannot be read: {error.strerror}", path) from error
        try:
            tensors = load_tensors(data)
        except (SafetensorError, ValueError, KeyError) as error:
            raise PqmimError("not a safetensors file, or damaged", path) from error
        for name, shape in weight_shapes().items():
            if name not in tensors or tensors[name].shape != shape or not tensors[name].is_floating_point():
                why = f"{name} is missing or of another kind"
                raise PqmimError(f"does not hold the weights of SqueezeNet 1.1: {why}", path)
        network = cls(tensors)
        network.sha256 = hashlib.sha256(data).hexdigest()
        return network.eval()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features (B, C, h, w) at seven depths of pictures (B, 3, H, W) in 0..255, sides of `LEAST_SIDE` or more.

        They are taken after the ReLU of the first convolution and after the Fire modules of `DEPTHS`.
        """
        return list(self._features((image / 255 - self.mean) / self.std))

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

    def _convolved(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = (getattr(self, _attribute(f"{name}.{part}")) for part in ("weight", "bias"))
        return F.conv2d(x, weight, bias, stride, padding)


def distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """How far the features of two batches of pictures are apart, (B,): 0 for equal ones, at most 2.

    At each depth, the vectors of the two pictures at each position are scaled to unit length, and their squared
    differences summed over channels and averaged over positions; the distance is the mean over the depths.  The form is
    that of Zhang et al. 2018 (LPIPS), without its calibration on human judgements.
    """
    squares = [(F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean((1, 2)) for x, y in zip(a, b)]
    return torch.stack(squares).mean(0)


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors that the weights file has to hold, by torchvision's names."""
    kernels = {"features.0": (64, 3, 3, 3)}
    for place, (channels, squeezed, expanded) in FIRES.items():
        kernels[f"features.{place}.squeeze"] = (squeezed, channels, 1, 1)
        kernels[f"features.{place}.expand1x1"] = (expanded, squeezed, 1, 1)
        kernels[f"features.{place}.expand3x3"] = (expanded, squeezed, 3, 3)
    weights: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in kernels.items()}
    return weights | {f"{name}.bias": shape[:1] for name, shape in kernels.items()}


def _attribute(name: str) -> str:
    """A tensor's name as that of a buffer, which may hold no dots."""
    return name.replace(".", "_")

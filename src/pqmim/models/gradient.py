"""How the squared error of a picture changes with the latent that it is drawn from: what the encoder's refinement follows."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from pqmim.models.transforms import Synthesis

BLACK, WHITE = -0.5, 255.5  # decoded values beyond these round to what the picture can hold: no error is left to mend

Slope = Callable[[Tensor], Tensor]
"""The gradient of the squared error of some pictures by latents (B, C, h, w), of the same shape."""


class Gradient(Protocol):
    """The gradient of a synthesis."""

    def of(self, images: Tensor, level: Tensor) -> Slope:
        """That for pictures (B, 3, H, W) in 0..255 at levels (B,); decoded values beyond black and white count as those."""
        ...


class TorchGradient:
    """A `Gradient` in PyTorch, on any device.

    Args:
        synthesis: latents to pictures.
        half: whether it runs in bfloat16.
    """

    def __init__(self, synthesis: Synthesis, half: bool) -> None:
        self._synthesis, self.half = synthesis, half

    def of(self, images: Tensor, level: Tensor) -> Slope:
        """See `Gradient`."""
        height, width = images.shape[2:]

        def slope(latent: Tensor) -> Tensor:
            latent = latent.detach().requires_grad_()
            with torch.enable_grad():
                with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half):
                    decoded = self._synthesis(latent, level).float()
                error = (decoded[..., :height, :width].clamp(BLACK, WHITE) - images).square().sum()
                (found,) = torch.autograd.grad(error, latent)
            return found

        return slope

"""Photos in the memory of a GPU (or of the CPU): crops are cut and scaled there, a batch at a time."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pqmim.training import graphics
from pqmim.training.data import Photos


class ResidentPhotos(Photos):
    """`Photos` whose pixels lie on `device`, for training where decoded crops come too slowly from the host.

    The same seed draws the same crops; where they are scaled, pixels differ from the host's by its rounding between
    rows and columns.
    """

    def __init__(self, source: str | Path, device: torch.device | str, **options: Any) -> None:
        super().__init__(source, **options)
        areas = torch.tensor([photo.shape[0] * photo.shape[1] for photo in self.train])
        self.starts = (areas.cumsum(0) - areas).tolist()  # of each photo in the row of all pixels
        self.pixels = torch.empty((int(areas.sum()), 3), dtype=torch.uint8, device=device)
        for photo, start in zip(self.train, self.starts):
            rows = torch.tensor(photo).flatten(0, 1)  # a copy: decoded arrays may be read-only
            self.pixels[start : start + len(rows)] = rows.to(device)

    def crops(  # type: ignore[override]  # both are what `to_images` takes
        self, count: int, size: int, seed: tuple[int, ...], part: slice = slice(None)
    ) -> Tensor:
        """`part` of `count` random crops, augmented, as `Photos.crops` cuts them: uint8 (B, size, size, 3)."""
        chosen, device = self.draw(count, size, seed, part), self.pixels.device
        widths = [self.train[crop.photo].shape[1] for crop in chosen]
        corners = [self.starts[c.photo] + c.top * width + c.left for c, width in zip(chosen, widths)]
        span = torch.tensor([crop.span for crop in chosen], device=device)  # (B,)
        largest = max(crop.span for crop in chosen)
        inside = torch.arange(largest, device=device).minimum(
            span[:, None] - 1
        )  # (B, S): smaller squares repeat an edge
        row = torch.tensor(corners, device=device)[:, None] + inside * torch.tensor(widths, device=device)[:, None]
        x = self.pixels[row[:, :, None] + inside[:, None]].float()  # (B, S, S, 3)

        weights = bicubic(span, largest, size)  # (B, size, S)
        flipped = torch.tensor([crop.flip for crop in chosen], device=device)[:, None, None]
        x = torch.einsum("brs,bstc->brtc", weights, x)
        x = torch.einsum("brtc,bqt->brqc", x, torch.where(flipped, weights.flip(1), weights)).round().clamp(0, 255)
        for number, crop in enumerate(chosen):
            if crop.colour is not None:
                colour = torch.from_numpy(crop.colour).to(device, torch.float32)
                x[number] = x[number] @ colour[:, :3].T + colour[:, 3]
            if crop.drawing is not None:
                x[number] = torch.tensor(graphics.draw(size, crop.drawing)).to(device)
        return x.round().clamp(0, 255).to(torch.uint8)


def bicubic(span: Tensor, largest: int, size: int) -> Tensor:
    """Weights (B, size, largest) that scale rows of `span` (B,) pixels, at most `largest`, to `size`.

    Keys's cubic kernel with a = -1/2, stretched by the scale where pixels become fewer (antialiasing), its sum one
    where it leaves the row: Pillow's bicubic filter.
    """
    scale = span[:, None, None] / size  # (B, 1, 1)
    source = torch.arange(largest, device=span.device)
    centre = (torch.arange(size, device=span.device)[:, None] + 0.5) * scale  # (B, size, 1)
    x = ((source + 0.5 - centre) / scale.clamp(min=1)).abs()
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weight = torch.where(x < 1, near, torch.where(x < 2, far, 0.0)) * (source < span[:, None, None])
    return weight / weight.sum(-1, keepdim=True)

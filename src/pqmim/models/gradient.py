"""How the squared error of a picture changes with the latent that it is drawn from, in PyTorch and in C.

The encoder's refinement follows it. The C form rounds what it multiplies to some 11 bits, is faster than float32, and
gives the same bits at every level of instructions; the forms differ by less than a search notices.
"""

import ctypes
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pqmim import native
from pqmim.models.prior.compiled import Unavailable, chosen_level
from pqmim.models.transforms import PATCH, REACH, STRIDE, Synthesis, blend
from pqmim.native.loader import Library
from pqmim.native.loader import Transform as Struct

BLACK, WHITE = -0.5, 255.5  # decoded values beyond these round to what the picture can hold: no error is left to mend
MIDDLE = 127.5  # of the pixels: what the head draws is the distance from it
MOST_INPUTS, MOST_BLOCKS = 1024, 64  # that the library has room for

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
        self._synthesis, self._half = synthesis, half

    def of(self, images: Tensor, level: Tensor) -> Slope:
        """See `Gradient`."""
        height, width = images.shape[2:]

        def slope(latent: Tensor) -> Tensor:
            latent = latent.detach().requires_grad_()
            with torch.enable_grad():
                with torch.autocast(images.device.type, torch.bfloat16, enabled=self._half):
                    decoded = self._synthesis(latent, level).float()
                error = (decoded[..., :height, :width].clamp(BLACK, WHITE) - images).square().sum()
                (found,) = torch.autograd.grad(error, latent)
            return found

        return slope


class CompiledGradient:
    """A `Gradient` in C, on the processor. Its weights are those that the synthesis has now.

    Args:
        library: that has the functions.
        level: of instructions.
        synthesis: latents to pictures.
        threads: that share the work on one picture. They sleep while there is nothing to do.
    """

    def __init__(self, library: Library, level: str, synthesis: Synthesis, threads: int) -> None:
        self._functions, self._blocks = library.functions, [*synthesis.coarse, *synthesis.fine]
        tensors = []
        for block in self._blocks:
            reduce = block.scale.sqrt()[:, None] * block.reduce
            tensors += [block.depthwise, block.expand, block.bias, reduce]
        tensors = [x.detach().float().contiguous() for x in (*tensors, synthesis.split, synthesis.head)]
        addresses = (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))
        sizes = ctypes.byref(_sizes(synthesis))
        self._handle = self._functions.pq_gradient_new(sizes, addresses, library.known.index(level), max(1, threads))
        if not self._handle:
            raise MemoryError("no memory for the gradient of the synthesis")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._functions.pq_gradient_free(self._handle)

    def of(self, images: Tensor, level: Tensor) -> Slope:
        """See `Gradient`."""
        height, width = (-(-side // STRIDE) for side in images.shape[2:])
        missing = STRIDE * width - images.shape[3], STRIDE * height - images.shape[2]
        whole = F.pad(images, (0, missing[0], 0, missing[1]), value=torch.nan)
        target = F.pixel_unshuffle(whole, PATCH).permute(0, 2, 3, 1).contiguous()  # (B, 2 h, 2 w, 192)
        gains = [blend(block.gain, level)[..., 0, 0] / block.scale for block in self._blocks]
        gain = torch.cat(gains, 1).detach().float().contiguous()  # (B, channels of all blocks)
        room = torch.empty(self._functions.pq_gradient_room(self._handle, height, width), dtype=torch.uint8)

        def slope(latent: Tensor) -> Tensor:
            rows = latent.detach().permute(0, 2, 3, 1).contiguous()
            found = torch.empty_like(rows)
            for each in zip(gain, rows, target, found, strict=True):
                addresses = (x.data_ptr() for x in (*each, room))
                self._functions.pq_gradient_slope(self._handle, height, width, *addresses)
            return found.permute(0, 3, 1, 2)

        return slope


def compiled(synthesis: Synthesis, threads: int) -> CompiledGradient | None:
    """The gradient in C, where there is a library that passes its test and has room for the synthesis."""
    library, sizes = native.library(), _sizes(synthesis)
    widest = max(sizes.latent, 4 * sizes.stem, sizes.pixels, 2 * sizes.hidden_coarse + 64, 2 * sizes.hidden_fine + 64)
    if library is None or widest > MOST_INPUTS or sizes.coarse + sizes.fine > MOST_BLOCKS:
        return None
    with suppress(Unavailable):
        return CompiledGradient(library, chosen_level(), synthesis, threads)
    return None


def _sizes(synthesis: Synthesis) -> Struct:
    stem, latent = len(synthesis.split) // 4, synthesis.split.shape[1]
    return Struct(
        latent=latent,
        stem=stem,
        pixels=len(synthesis.head),
        coarse=len(synthesis.coarse),
        fine=len(synthesis.fine),
        hidden_coarse=_hidden(synthesis.coarse),
        hidden_fine=_hidden(synthesis.fine),
        reach=REACH,
        middle=MIDDLE,
        black=BLACK,
        white=WHITE,
    )


def _hidden(blocks: Iterable[nn.Module]) -> int:
    return max((block.get_parameter("reduce").shape[1] for block in blocks), default=0)

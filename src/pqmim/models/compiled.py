"""The encoder's transforms in C, on the processor: latents of pictures, and gradients by them.

Products are those of numbers rounded to some 11 bits, as fine as a search for codes needs. All levels of instructions give
the same bits.
"""

import ctypes
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pqmim.models.gradient import BLACK, WHITE, Slope
from pqmim.models.prior.compiled import Unavailable, serving
from pqmim.models.transforms import MIDDLE, PATCH, REACH, STRIDE, Analysis, Synthesis, blend
from pqmim.native.loader import Library, TransformSizes

MOST_INPUTS, MOST_BLOCKS = 1024, 64  # that the library has room for
PADDING = 64  # numbers that a gate is padded by at most


class CompiledTransform:
    """A transform in C. Its weights are those that the module had when it was made.

    Args:
        module: a transform.
        threads: that share the work on one picture. They sleep while there is nothing to do.
        library: with its level of instructions; None: the library there is, at the level that serves the prior.

    Attributes:
        instructions: the level in use.

    Raises:
        Unavailable: there is no library, or no room in it for a transform of this size.
    """

    def __init__(self, module: Analysis | Synthesis, threads: int, library: tuple[Library, str] | None = None) -> None:
        found, self.instructions = library or serving()
        sizes = _sizes(module)
        gates = (2 * hidden + PADDING for hidden in (sizes.hidden_coarse, sizes.hidden_fine))
        widest = max(sizes.latent, 4 * sizes.stem, sizes.pixels, *gates)
        if widest > MOST_INPUTS or sizes.coarse + sizes.fine > MOST_BLOCKS:
            raise Unavailable(f"the library has no room for layers of {widest} inputs, or for so many blocks")
        if min((block.reduce.shape[1] for block in (*module.coarse, *module.fine)), default=1) < 1:
            raise Unavailable("the library has no gates without units")
        self._functions, self._blocks = found.functions, [*module.coarse, *module.fine]
        self._latent = sizes.latent
        tensors = []
        for block in self._blocks:
            tensors += [block.depthwise, block.expand, block.bias, block.scale.sqrt()[:, None] * block.reduce]
        tensors += [module.merge, module.stem] if isinstance(module, Analysis) else [module.split, module.head]
        kept = [x.detach().float().contiguous() for x in tensors]
        addresses = (ctypes.c_void_p * len(kept))(*(x.data_ptr() for x in kept))
        index = found.known.index(self.instructions)
        self._handle = self._functions.pq_transform_new(ctypes.byref(sizes), addresses, index, max(1, threads))
        if not self._handle:
            raise MemoryError("no memory for a transform")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._functions.pq_transform_free(self._handle)

    def _gains(self, level: Tensor) -> Tensor:
        """Gains (B, channels of all blocks) at levels (B,); see `gain_of` for why in float64."""
        gains = [blend(block.gain.double(), level.double())[..., 0, 0] / block.scale for block in self._blocks]
        return torch.cat(gains, 1).detach().float().contiguous()

    def _room(self, height: int, width: int) -> Tensor:
        """Memory that a call works in."""
        size = self._functions.pq_transform_room(self._handle, height, width)
        return torch.empty(size, dtype=torch.uint8, device="cpu")


class CompiledAnalysis(CompiledTransform):
    """An analysis: to be called as the module is."""

    def __call__(self, image: Tensor, level: Tensor) -> Tensor:
        """Latents (B, C, H/16, W/16) of images (B, 3, H, W) at levels (B,).

        Raises:
            ValueError: sides are no multiples of 16.
        """
        if image.shape[2] % STRIDE or image.shape[3] % STRIDE:
            raise ValueError(f"sides must be multiples of {STRIDE}, not {tuple(image.shape[2:])}")
        patches = _patches(image.float() - MIDDLE)
        height, width = (side // STRIDE for side in image.shape[2:])
        found = torch.empty(len(image), height, width, self._latent, dtype=torch.float32, device="cpu")
        room = self._room(height, width)
        for each in zip(self._gains(level), patches, found, strict=True):
            addresses = (x.data_ptr() for x in (*each, room))
            self._functions.pq_analysis_latent(self._handle, height, width, *addresses)
        return found.permute(0, 3, 1, 2)


class CompiledGradient(CompiledTransform):
    """A `models.gradient.Gradient` of a synthesis."""

    def of(self, images: Tensor, level: Tensor) -> Slope:
        """See `Gradient`."""
        height, width = (-(-side // STRIDE) for side in images.shape[2:])
        missing = STRIDE * width - images.shape[3], STRIDE * height - images.shape[2]
        target = _patches(F.pad(images.float(), (0, missing[0], 0, missing[1]), value=torch.nan))
        gains, room = self._gains(level), self._room(height, width)

        def slope(latent: Tensor) -> Tensor:
            rows = latent.detach().float().permute(0, 2, 3, 1).contiguous()
            if rows.shape[1:] != (height, width, self._latent):
                raise ValueError(f"no latents of these pictures: {tuple(latent.shape)}")
            found = torch.empty_like(rows)
            for each in zip(gains, rows, target, found, strict=True):
                addresses = (x.data_ptr() for x in (*each, room))
                self._functions.pq_synthesis_slope(self._handle, height, width, *addresses)
            return found.permute(0, 3, 1, 2)

        return slope


def compiled(analysis: Analysis, synthesis: Synthesis, threads: int) -> tuple[CompiledAnalysis, CompiledGradient]:
    """Both transforms in C.

    Raises:
        Unavailable: there is no library that passes the test of its products, or no room in it for them.
    """
    return CompiledAnalysis(analysis, threads), CompiledGradient(synthesis, threads)


def _patches(images: Tensor) -> Tensor:
    """Images (B, 3, 16 h, 16 w) in patches (B, 2 h, 2 w, 192)."""
    return F.pixel_unshuffle(images, PATCH).permute(0, 2, 3, 1).contiguous()


def _sizes(module: Analysis | Synthesis) -> TransformSizes:
    if isinstance(module, Analysis):
        latent, (stem, pixels) = len(module.merge), module.stem.shape
    else:
        latent, (pixels, stem) = module.split.shape[1], module.head.shape
    return TransformSizes(
        latent=latent,
        stem=stem,
        pixels=pixels,
        coarse=len(module.coarse),
        fine=len(module.fine),
        hidden_coarse=_hidden(module.coarse),
        hidden_fine=_hidden(module.fine),
        analysis=int(isinstance(module, Analysis)),
        reach=REACH,
        middle=MIDDLE,
        black=BLACK,
        white=WHITE,
    )


def _hidden(blocks: Iterable[nn.Module]) -> int:
    """Units of the gates of blocks."""
    return max((block.get_parameter("reduce").shape[1] for block in blocks), default=0)

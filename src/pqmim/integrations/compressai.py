"""The codec in the shape of CompressAI's models, for benchmarks that know those. Does not need CompressAI.

    model = Model(quality=50)
    out = model.compress(x)              # {"strings": [[file, ...]], "shape": (h, w)}, x (B, 3, H, W) in 0..1
    model.decompress(**out)["x_hat"]     # (B, 3, H, W) in 0..1
    model(x)["likelihoods"]              # of which benchmarks make an estimated rate

The strings are whole .pqm files: a rate counted from them is the size on disk, header and check included. Rates that
are counted from likelihoods are ideal bits, and stand beside that rate, never in place of it.
"""

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pqmim.bitstream.header import Kind
from pqmim.codec import Codec
from pqmim.errors import BadArgument
from pqmim.models.modules import Modules
from pqmim.results import STRIDE


class Model(nn.Module):
    """One release at one quality.

    Args:
        quality: 0 to 100.
        effort: steps of refinement, see `Codec.encode`.
        weights: a file; None: the packaged release.
        device: where networks run, and where `decompress` puts pictures. Tensors may come from any device, and what
            `forward` gives goes back there.

    Attributes:
        analysis: pictures (B, 3, H, W) in 0..255 and levels (B,) to latents (B, C, H / 16, W / 16).
        quantizer: the codebooks.
        synthesis: the way back.
        codec: all of it, exact.
    """

    def __init__(
        self,
        quality: int = 50,
        *,
        effort: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.quality, self.effort = quality, effort
        self.codec = Codec(weights, device=device)
        record, release = self.codec.release.record, self.codec.release
        parts = {name: release.part(name) for name in ("analysis", "quantizer", "synthesis")}
        modules = Modules.build(record.transforms, record.dimensions, record.codewords, parts, device)
        self.analysis, self.quantizer, self.synthesis = modules.analysis, modules.quantizer, modules.synthesis

    def compress(self, x: Tensor) -> dict[str, Any]:
        """Compress pictures.

        Args:
            x: (B, 3, H, W) in 0..1, rounded to 8 bits.

        Returns:
            `strings`: a list that holds the list of B files. `shape`: (H / 16, W / 16), rounded up. A file has codes of
            that shape, or of a smaller one where it is coded at a smaller scale, or none where it is of one colour.
        """
        files = [self.codec.encode(picture, self.quality, effort=self.effort).data for picture in _bytes(x)]
        return {"strings": [files], "shape": _grid(*x.shape[2:])}

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """Pictures of what `compress` gave.

        Returns:
            `x_hat`: (B, 3, H, W) in 0..1.

        Raises:
            BadArgument: the shape is not that of the files.
        """
        pictures = []
        for file in strings[0]:
            received = self.codec.receive(file)
            found = _grid(received.header.height, received.header.width)
            if found != tuple(shape):
                raise BadArgument(f"a file has a picture of shape {found}, not {tuple(shape)}")
            pictures.append(np.asarray(self.codec.render(received).image.convert("RGB")))
        device = next(self.parameters()).device
        return {"x_hat": torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2) / 255}

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Compress, decompress, and tell how likely the codes were.

        Returns:
            `x_hat`: (B, 3, H, W) in 0..1. `likelihoods`: {"codes": (B, M, *shape) float64}, where the information of a
            sub-quantizer's codes is spread evenly: the product over positions is exact, one alone is not.
        """
        out = self.compress(x)
        height, width = out["shape"]
        likelihoods = []
        for file in out["strings"][0]:
            mean = torch.from_numpy(self._bits(file)) / (height * width)
            likelihoods.append(torch.exp2(-mean)[:, None, None].expand(-1, height, width))
        x_hat = self.decompress(**out)["x_hat"].to(x.device)
        return {"x_hat": x_hat, "likelihoods": {"codes": torch.stack(likelihoods).to(x.device)}}

    def _bits(self, file: bytes) -> NDArray[np.float64]:
        """Ideal bits (M,) of a file's codes, by sub-quantizer."""
        received = self.codec.receive(file)
        if received.header.kind == Kind.FLAT:
            return np.zeros(len(self.codec.release.record.dimensions))
        return self.codec.ideal_bits(received.codes.reshape(-1, *received.shape), received.header.quality)


def _grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of 16 x 16 pixels."""
    return -(-height // STRIDE), -(-width // STRIDE)


def _bytes(x: Tensor) -> list[Any]:
    """Pictures (H, W, 3) uint8 of a batch."""
    if x.ndim != 4 or x.shape[1] != 3:
        raise BadArgument(f"pictures are a tensor (B, 3, H, W), not {tuple(x.shape)}")
    pictures = (x.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return list(np.ascontiguousarray(pictures))

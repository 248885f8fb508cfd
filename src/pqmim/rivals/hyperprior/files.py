"""Files of the mean-scale hyperprior.

The frequencies of a hyperprior hang on floating-point means and scales.  They are computed in double precision, so
that machines seldom part, but nothing more is promised: files decode to the encoder's symbols on the machine, the
library versions and the number of threads that wrote them, and elsewhere either so or to an error of the check.  That
is the weakness for which our own prior is made of integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pqmim.coding.range_coder import RangeDecoder, RangeEncoder
from pqmim.dial import EFFORT
from pqmim.errors import UnsupportedFile, WeightsError
from pqmim.models.proxy import LARGEST
from pqmim.models.transforms import STRIDE, in_strips
from pqmim.rivals import weights
from pqmim.rivals.container import check_room, digest, pack, padded, pixels, positions, unpack, verify
from pqmim.rivals.hyperprior import model as models
from pqmim.rivals.hyperprior.refine import refined
from pqmim.rivals.tables import FURTHEST, ScaleTables, cumulative_frequencies, decode_rows, encode_rows

KIND = "hyperprior"
FINE = 16  # steps of a file's level between two rate levels

Real = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Symbols:
    """What a file codes, (N, h', w') and (C, h, w), and what the decoder expects of the latter.

    Attributes:
        hyper: The hyper-latent.
        residual: The latent less its mean, rounded.
        mean: Mean of the latent.
        scale: Scale of the latent.
    """

    hyper: Integers
    residual: Integers
    mean: Real
    scale: Real


class HyperpriorFiles:
    """The mean-scale hyperprior as a codec of files: a setting is the rate level counted from the lowest rate.

    Settings go from 0 to L - 1 in steps of 1/16.

    Args:
        path: A file of weights.
        device: Where the networks run.
        effort: Steps that refine the latent against the pixels, as our own encoder does; 0 rounds it.
        kind: Of the weights.

    Raises:
        WeightsError: The file holds no weights of that kind.
    """

    magic = b"\xd0\x12"

    def __init__(self, path: str | Path, device: str = "cpu", effort: int = 0, kind: str = KIND) -> None:
        self.device, self.effort, self.name = torch.device(device), effort, kind
        self.model, tables = weights.load(path, kind, build, self.device)
        self.tables = tables
        for exact in (self.model.hyper, self.model.hyper_synthesis):
            exact.double()
        self.hyper_tables: Integers = tables["hyper"].astype(np.int64)  # (L, N, 256)
        self.scale_tables = ScaleTables.of(tables)
        self.highest = len(self.hyper_tables) - 1
        self.settings: Sequence[float] = tuple(step / 2 for step in range(2 * self.highest + 1))
        self.digest = digest([path])

    def encode(self, rgb: NDArray[np.uint8], setting: float) -> bytes:
        """A file of a picture (H, W, 3).  Raises `ValueError` if the setting is out of range."""
        if not 0 <= setting <= self.highest:
            raise ValueError(f"a setting of {self.name} is from 0 to {self.highest}, not {setting}")
        level = round(FINE * (self.highest - setting))
        symbols = self.symbols(rgb, level)
        numbers = (level, rgb.shape[1], rgb.shape[0])
        return pack(self.magic, numbers, self.payload(symbols, level), symbols.hyper, symbols.residual)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The picture (H, W, 3) of a file.  Raises `DamagedFile`, `UnsupportedFile` or `InvalidImage`."""
        (level, width, height), payload = unpack(self.magic, self.name, data, 3)
        if level > FINE * self.highest:
            raise UnsupportedFile(f"it has rate level {level / FINE:g}, these weights end at {self.highest}")
        symbols = self.read(payload, level, height, width)
        verify(data, symbols.hyper, symbols.residual)
        return self.picture(symbols.residual + symbols.mean, level, height, width)

    @torch.no_grad()  # refinement follows gradients
    def symbols(self, rgb: NDArray[np.uint8], level: int) -> Symbols:
        """What a file of a picture codes at a rate level in steps of 1 / `FINE`."""
        model, at, image = self.model, self.level(level), padded(rgb).to(self.device)
        y = model.scaled(in_strips(model.analysis, image, at, STRIDE, 1), at)
        hyper = model.hyper.quantize(model.hyper_analysis(y, at), at)[1][0].round().long().cpu().numpy()
        mean, scale = self.expected(hyper, level, y.shape[2:])
        if self.effort:
            known = torch.from_numpy(mean)[None].to(y), torch.from_numpy(scale)[None].to(y)
            residual = refined(model, image, y, known, (at, self.effort))[0].cpu().numpy()
        else:
            residual = np.rint(y[0].double().cpu().numpy() - mean)
        return Symbols(hyper, residual.clip(-FURTHEST, FURTHEST).astype(np.int64), mean, scale)

    def payload(self, symbols: Symbols, level: int) -> bytes:
        """The bytes that code the symbols."""
        encoder = RangeEncoder()
        encode_rows(encoder, symbols.hyper.ravel() + LARGEST, *self.hyper_rows(level, symbols.hyper.shape))
        self.scale_tables.encode(encoder, symbols.residual.ravel(), symbols.scale.ravel())
        return encoder.finish()

    def read(self, payload: bytes, level: int, height: int, width: int) -> Symbols:
        """The symbols of a payload, for a picture of that size.  Raises `DamagedFile`."""
        latent = positions(height), positions(width)
        coarse = tuple(-(-side // models.STRIDE) for side in latent)
        cumulative, _ = self.hyper_rows(level, (len(self.hyper_tables[0]), 1, 1))
        check_room(payload, cumulative, coarse[0] * coarse[1])
        decoder = RangeDecoder(payload)
        cumulative, row = self.hyper_rows(level, (len(cumulative), *coarse))
        hyper = (decode_rows(decoder, cumulative, row) - LARGEST).reshape(-1, *coarse)
        mean, scale = self.expected(hyper, level, latent)
        residual = self.scale_tables.decode(decoder, scale.ravel()).reshape(scale.shape)
        return Symbols(hyper, residual, mean, scale)

    @torch.inference_mode()
    def picture(self, y: Real, level: int, height: int, width: int) -> NDArray[np.uint8]:
        """The picture (height, width, 3) of a latent (C, h, w) in quantization steps."""
        at = self.level(level)
        z = self.model.restored(torch.from_numpy(y)[None].to(self.device), at)
        return pixels(in_strips(self.model.synthesis, z, at, 1, STRIDE), height, width)

    @torch.inference_mode()
    def expected(self, hyper: Integers, level: int, size: Sequence[int]) -> tuple[Real, Real]:
        """Mean and scale (C, h, w) of the latent, given the hyper-latent (N, h', w')."""
        symbols = torch.from_numpy(hyper)[None].to(self.device).double()
        mean, scale = self.model.expected(symbols, self.level(level), *size)
        return mean[0].cpu().numpy(), scale[0].cpu().numpy()

    def hyper_rows(self, level: int, shape: Sequence[int]) -> tuple[Integers, Integers]:
        """Tables of a level, interpolated in integers, and the row of each hyper-latent element of (N, h', w').

        Either neighbour's neighbouring bounds differ by at least 1, so theirs, `FINE` times blended, do too.
        """
        low, part = divmod(level, FINE)
        high = min(low + 1, self.highest)
        cumulative = ((FINE - part) * self.hyper_tables[low] + part * self.hyper_tables[high]) // FINE
        return cumulative, np.arange(shape[0]).repeat(shape[1] * shape[2])

    def level(self, level: int) -> Tensor:
        """A file's level as the model takes it, (1,)."""
        return torch.tensor([level / FINE], device=self.device)


def open_codec(name: str, paths: Sequence[Path], device: str = "cpu") -> HyperpriorFiles:
    """The codec `hyperprior`, or `hyperprior-refined`, whose encoder refines its latent as ours does its codes."""
    if len(paths) != 1:
        raise WeightsError("one file of weights serves every rate: name one", name)
    found = HyperpriorFiles(paths[0], device, EFFORT if name == f"{KIND}-refined" else 0)
    found.name = name
    return found


@torch.no_grad()
def tables_of(model: models.MeanScaleHyperprior) -> weights.Tables:
    """Tables that the weights hold: of the hyper-latent's integers, -127 to 127, (L, N, 256), and of the scales."""
    device = model.lambdas.device
    grid = torch.arange(-LARGEST, LARGEST + 1, device=device)[None, None, :, None].float()  # (1, 1, 255, 1)
    levels = torch.arange(len(model.lambdas), device=device).float()
    bits = torch.cat([model.hyper.bits(grid, level[None])[..., 0] for level in levels])  # (L, N, 255)
    hyper = cumulative_frequencies(np.exp2(-bits.double().cpu().numpy()))
    return ScaleTables.build().tensors() | {"hyper": hyper.astype(np.int32)}


def build(record: weights.Record) -> models.MeanScaleHyperprior:
    """A model of the sizes that weights record, for `weights.load` to fill."""
    lambdas = torch.zeros(record.transforms.levels)
    return models.MeanScaleHyperprior(record.transforms, models.HyperpriorConfig(**record.sizes), lambdas)

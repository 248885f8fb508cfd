"""Files of the vanilla VQ-VAE: one code a position, by static frequencies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pqmim.coding.range_coder import RangeDecoder, RangeEncoder
from pqmim.errors import UnsupportedFile, WeightsError
from pqmim.models.transforms import STRIDE, in_strips
from pqmim.rivals import weights
from pqmim.rivals.container import check_room, digest, pack, padded, pixels, positions, unpack, verify
from pqmim.rivals.tables import cumulative_frequencies, decode_rows, encode_rows
from pqmim.rivals.vq.model import VanillaVq, VqConfig

KIND = "vq"


class VqFiles:
    """Vanilla VQ-VAEs as one codec of files, a model a rate: a setting is the bits of a code, log2 K.

    Args:
        paths: A file of weights a rate.
        device: Where the networks run.

    Raises:
        WeightsError: A file holds no weights of a VQ-VAE, or two are of one rate.
    """

    name = KIND
    magic = b"\xd0\x13"

    def __init__(self, paths: Sequence[str | Path], device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.models: dict[float, tuple[VanillaVq, NDArray[np.int64]]] = {}
        for path in paths:
            model, tables = weights.load(path, KIND, _build, self.device)
            bits = len(model.codebook).bit_length() - 1
            if bits in self.models:
                raise WeightsError(f"a second model of {bits} bits; name one a rate", path)
            self.models[bits] = model, tables["codes"].astype(np.int64)[None]
        self.settings: Sequence[float] = tuple(sorted(self.models))
        self.digest = digest(paths)

    def encode(self, rgb: NDArray[np.uint8], setting: float) -> bytes:
        """A file of a picture (H, W, 3).  Raises `ValueError` if no model has that setting."""
        if setting not in self.models:
            raise ValueError(f"a setting of {self.name} is one of {self.settings}, not {setting}")
        codes = self.codes(rgb, int(setting))
        encoder = RangeEncoder()
        encode_rows(encoder, codes.ravel(), self.models[setting][1], np.zeros(codes.size, np.int64))
        return pack(self.magic, (int(setting), rgb.shape[1], rgb.shape[0]), encoder.finish(), codes)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The picture (H, W, 3) of a file.  Raises `DamagedFile`, `UnsupportedFile` or `InvalidImage`."""
        (bits, width, height), payload = unpack(self.magic, self.name, data, 3)
        if bits not in self.models:
            raise UnsupportedFile(f"it needs weights of vq with codes of {bits} bits, which are not given")
        rows, columns = positions(height), positions(width)
        table = self.models[bits][1]
        check_room(payload, table, rows * columns)
        codes = decode_rows(RangeDecoder(payload), table, np.zeros(rows * columns, np.int64)).reshape(rows, columns)
        verify(data, codes)
        return self.picture(codes, bits, height, width)

    @torch.inference_mode()
    def codes(self, rgb: NDArray[np.uint8], bits: int) -> NDArray[np.int64]:
        """Codes (h, w) of a picture."""
        model = self.models[bits][0]
        image = padded(rgb).to(self.device)
        z = in_strips(model.analysis, image, model.levels(image), STRIDE, 1)
        vectors = model.projected(z)  # (1, h, w, D)
        codes: NDArray[np.int64] = model.assign(vectors.flatten(0, 2)).view(vectors.shape[1:3]).cpu().numpy()
        return codes

    @torch.inference_mode()
    def picture(self, codes: NDArray[np.int64], bits: int, height: int, width: int) -> NDArray[np.uint8]:
        """The picture (height, width, 3) of codes (h, w)."""
        model = self.models[bits][0]
        z = model.lifted(model.codebook[torch.from_numpy(codes).to(self.device)][None])
        return pixels(in_strips(model.synthesis, z, model.levels(z), 1, STRIDE), height, width)


def open_codec(name: str, paths: Sequence[Path], device: str = "cpu") -> VqFiles:
    """The codec `vq`, of a file of weights a rate."""
    if not paths:
        raise WeightsError("the package holds none: train them and name their files", name)
    return VqFiles(paths, device)


def tables_of(model: VanillaVq) -> weights.Tables:
    """The static table (K + 1,) of the codewords, which the weights hold."""
    used = model.usage.double().cpu().numpy() + 0.01
    return {"codes": cumulative_frequencies(used).astype(np.int32)}


def _build(record: weights.Record) -> VanillaVq:
    return VanillaVq(record.transforms, VqConfig(**record.sizes))

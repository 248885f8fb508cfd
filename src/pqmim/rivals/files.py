"""Files of the rivals: where their models, the range coder and bytes meet.

A file is a magic number, a few LEB128 numbers, the payload of the range coder, and a CRC-16 over all of that and then
over the symbols, so that it proves the bytes and the decoder at once, as in our own files.

The frequencies of a hyperprior hang on floating-point means and scales.  They are computed in double precision, so
that machines seldom part, but nothing more is promised: files decode to the encoder's symbols on the machine, the
library versions and the number of threads that wrote them, and elsewhere either so or to an error of the check.  That
is the weakness for which our own prior is made of integers.
"""

from binascii import crc_hqx
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pqmim.bitstream import varint
from pqmim.coding.range_coder import PRECISION, RangeDecoder, RangeEncoder
from pqmim.errors import DamagedFile, PqmimError, TooShort, UnsupportedFile
from pqmim.image.limits import check_size
from pqmim.models.proxy import LARGEST
from pqmim.models.transforms import STRIDE, in_strips
from pqmim.rivals import hyperprior
from pqmim.rivals.tables import FURTHEST, ScaleTables, decode_rows, encode_rows
from pqmim.rivals.weights import load_hyperprior, load_vq

FINE = 16  # steps of a file's level between two rate levels


class HyperpriorFiles:
    """The mean-scale hyperprior as a codec of files.

    A setting is the rate level counted from the lowest rate, 0 to L - 1, in steps of 1/16.
    """

    name = "hyperprior"
    magic = b"\xd0\x12"

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.model, tables = load_hyperprior(path, self.device)
        for exact in (self.model.hyper, self.model.hyper_synthesis):
            exact.double()
        self.hyper_tables = tables["hyper"].astype(np.int64)  # (L, N, 256)
        self.scale_tables = ScaleTables.of(tables)
        self.highest = len(self.hyper_tables) - 1
        self.settings: Sequence[float] = tuple(step / 2 for step in range(2 * self.highest + 1))
        self.digest = _digest(path)

    def encode(self, rgb: np.ndarray, setting: float) -> bytes:
        """A file of a picture (H, W, 3) uint8.  Raises ``ValueError`` if the setting is out of range."""
        if not 0 <= setting <= self.highest:
            raise ValueError(f"a setting of {self.name} is from 0 to {self.highest}, not {setting}")
        level = round(FINE * (self.highest - setting))
        hyper, residual, _, scale = self.symbols(rgb, level)
        encoder = RangeEncoder()
        encode_rows(encoder, hyper.ravel() + LARGEST, *self._hyper_rows(level, hyper.shape))
        self.scale_tables.encode(encoder, residual.ravel(), scale.ravel())
        numbers = (level, rgb.shape[1], rgb.shape[0])
        return _packed(self.magic, numbers, encoder.finish(), hyper, residual)

    def decode(self, data: bytes) -> np.ndarray:
        """The picture (H, W, 3) uint8 of a file.  Raises ``DamagedFile`` or ``UnsupportedFile``."""
        (level, width, height), payload = _unpacked(self.magic, self.name, data, 3)
        if level > FINE * self.highest:
            raise UnsupportedFile(f"the file has rate level {level / FINE:g}, these weights end at {self.highest}")
        latent = -(-height // STRIDE), -(-width // STRIDE)
        coarse = tuple(-(-side // hyperprior.STRIDE) for side in latent)
        cumulative, row = self._hyper_rows(level, (len(self.hyper_tables[0]), 1, 1))
        _check_room(payload, _least_bits(cumulative).sum() * coarse[0] * coarse[1])
        decoder = RangeDecoder(payload)
        cumulative, row = self._hyper_rows(level, (len(cumulative), *coarse))
        hyper = (decode_rows(decoder, cumulative, row) - LARGEST).reshape(-1, *coarse)
        mean, scale = self._expected(hyper, level, latent)
        residual = self.scale_tables.decode(decoder, scale.ravel()).reshape(scale.shape)
        _verify(data, hyper, residual)
        return self.picture(residual + mean, level, height, width)

    @torch.inference_mode()
    def symbols(self, rgb: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Hyper-latent (N, h', w') and residual of the latent (C, h, w), int64, with the latent's mean and scale.

        ``level`` is the rate level in steps of 1 / ``FINE``.
        """
        model, at = self.model, self._level(level)
        y = model.scaled(in_strips(model.analysis, _padded(rgb).to(self.device), at, STRIDE, 1), at)
        hyper = model.hyper.quantize(model.hyper_analysis(y, at), at)[1][0].round().long().cpu().numpy()
        mean, scale = self._expected(hyper, level, y.shape[2:])
        residual = np.rint(y[0].double().cpu().numpy() - mean).clip(-FURTHEST, FURTHEST)
        return hyper, residual.astype(np.int64), mean, scale

    @torch.inference_mode()
    def picture(self, y: np.ndarray, level: int, height: int, width: int) -> np.ndarray:
        """The picture (height, width, 3) uint8 of a latent (C, h, w) in quantization steps."""
        at = self._level(level)
        z = self.model.restored(torch.from_numpy(y)[None].to(self.device), at)
        return _pixels(in_strips(self.model.synthesis, z, at, 1, STRIDE), height, width)

    @torch.inference_mode()
    def _expected(self, hyper: np.ndarray, level: int, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and scale (C, h, w) float64 of the latent."""
        symbols = torch.from_numpy(hyper)[None].to(self.device).double()
        mean, scale = self.model.expected(symbols, self._level(level), *size)
        return mean[0].cpu().numpy(), scale[0].cpu().numpy()

    def _hyper_rows(self, level: int, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Tables of a level, interpolated in integers, and the row of each hyper-latent element of (N, h', w').

        Either neighbour's neighbouring bounds differ by at least 1, so theirs, ``FINE`` times blended, do too.
        """
        low, part = divmod(level, FINE)
        high = min(low + 1, self.highest)
        cumulative = ((FINE - part) * self.hyper_tables[low] + part * self.hyper_tables[high]) // FINE
        return cumulative, np.arange(shape[0]).repeat(shape[1] * shape[2])

    def _level(self, level: int) -> Tensor:
        return torch.tensor([level / FINE], device=self.device)


class VqFiles:
    """Vanilla VQ-VAEs as one codec of files, a model a rate: a setting is the bits of a code, log2 K."""

    name = "vq"
    magic = b"\xd0\x13"

    def __init__(self, paths: Sequence[str | Path], device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.models = {}
        for path in paths:
            model, tables = load_vq(path, self.device)
            bits = len(model.codebook).bit_length() - 1
            if bits in self.models:
                raise PqmimError(f"{path}: a second model of {bits} bits; name one a rate")
            self.models[bits] = model, tables["codes"].astype(np.int64)[None]
        self.settings: Sequence[float] = tuple(sorted(self.models))
        self.digest = " ".join(_digest(path) for path in paths)

    def encode(self, rgb: np.ndarray, setting: float) -> bytes:
        """A file of a picture (H, W, 3) uint8.  Raises ``ValueError`` if no model has that setting."""
        if setting not in self.models:
            raise ValueError(f"a setting of {self.name} is one of {self.settings}, not {setting}")
        codes = self.codes(rgb, int(setting))
        encoder = RangeEncoder()
        encode_rows(encoder, codes.ravel(), self.models[setting][1], np.zeros(codes.size, np.int64))
        return _packed(self.magic, (int(setting), rgb.shape[1], rgb.shape[0]), encoder.finish(), codes)

    def decode(self, data: bytes) -> np.ndarray:
        """The picture (H, W, 3) uint8 of a file.  Raises ``DamagedFile`` or ``UnsupportedFile``."""
        (bits, width, height), payload = _unpacked(self.magic, self.name, data, 3)
        if bits not in self.models:
            raise UnsupportedFile(f"the file needs weights of vq with codes of {bits} bits, which are not given")
        rows, columns = -(-height // STRIDE), -(-width // STRIDE)
        table = self.models[bits][1]
        _check_room(payload, _least_bits(table).sum() * rows * columns)
        codes = decode_rows(RangeDecoder(payload), table, np.zeros(rows * columns, np.int64)).reshape(rows, columns)
        _verify(data, codes)
        return self.picture(codes, bits, height, width)

    @torch.inference_mode()
    def codes(self, rgb: np.ndarray, bits: int) -> np.ndarray:
        """Codes (h, w) int64 of a picture."""
        model = self.models[bits][0]
        image = _padded(rgb).to(self.device)
        z = in_strips(model.analysis, image, model.levels(image), STRIDE, 1)
        vectors = model.projected(z)  # (1, h, w, D)
        return model.assign(vectors.flatten(0, 2)).view(vectors.shape[1:3]).cpu().numpy()

    @torch.inference_mode()
    def picture(self, codes: np.ndarray, bits: int, height: int, width: int) -> np.ndarray:
        """The picture (height, width, 3) uint8 of codes (h, w)."""
        model = self.models[bits][0]
        z = model.lifted(model.codebook[torch.from_numpy(codes).to(self.device)][None])
        return _pixels(in_strips(model.synthesis, z, model.levels(z), 1, STRIDE), height, width)


def _padded(rgb: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) to float (1, 3, H', W'), edges repeated up to multiples of 16."""
    height, width = rgb.shape[:2]
    rgb = np.pad(rgb, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float()


def _pixels(image: Tensor, height: int, width: int) -> np.ndarray:
    """Image (1, 3, H', W') to uint8 (height, width, 3)."""
    image = image[0, :, :height, :width].round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def _packed(magic: bytes, numbers: Sequence[int], payload: bytes, *symbols: np.ndarray) -> bytes:
    data = bytearray(magic)
    for number in numbers:
        data += varint.pack(number)
    data += payload
    return bytes(data) + _check(data, symbols).to_bytes(2, "big")


def _unpacked(magic: bytes, name: str, data: bytes, count: int) -> tuple[list[int], bytes]:
    """Numbers and payload; the last two numbers are sides of the picture, which are checked."""
    if data[:2] != magic:
        raise UnsupportedFile(f"this is not a file of {name}: it does not start with the bytes {magic.hex(' ')}")
    numbers, place, end = [], 2, max(len(data) - 2, 2)
    for _ in range(count):
        try:
            number, place = varint.parse(data[:end], place)
        except EOFError:
            raise TooShort("the file ends inside its header") from None
        numbers.append(number)
    check_size(*numbers[-2:])
    return numbers, data[place:end]


def _check(data: bytes, symbols: Sequence[np.ndarray]) -> int:
    crc = crc_hqx(data, 0xFFFF)
    for array in symbols:
        crc = crc_hqx(array.astype("<i2").tobytes(), crc)
    return crc


def _verify(data: bytes, *symbols: np.ndarray) -> None:
    if _check(data[:-2], symbols) != int.from_bytes(data[-2:], "big"):
        raise DamagedFile("the file is damaged, or this machine's arithmetic is not that of its encoder")


def _least_bits(cumulative: np.ndarray) -> np.ndarray:
    """Bits (R,) of the likeliest symbol of each table (R, K + 1)."""
    return PRECISION - np.log2(np.diff(cumulative).max(-1))


def _check_room(payload: bytes, least: float) -> None:
    if 8 * len(payload) + 16 < least:
        raise DamagedFile("the file is damaged: its header claims more pixels than its bytes can hold")


def _digest(path: str | Path) -> str:
    """What tells weights apart in results: the first eight digits of their SHA-256."""
    return sha256(Path(path).read_bytes()).hexdigest()[:8]

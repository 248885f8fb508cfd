"""Files of the rivals: a magic number, a few LEB128 numbers, the payload of the range coder, and a check.

The check is a CRC-16 over all bytes before it and then over the symbols, so that it proves the bytes and the decoder
at once, as the proof of our own files does, which have a seal beside it.
"""

from binascii import crc_hqx
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pqmim.bitstream import varint
from pqmim.coding.range_coder import PRECISION
from pqmim.errors import DamagedFile, TooShort, UnsupportedFile
from pqmim.image.limits import check_size
from pqmim.models.transforms import STRIDE

Integers = NDArray[np.int64]


def pack(magic: bytes, numbers: Sequence[int], payload: bytes, *symbols: Integers) -> bytes:
    """A file of a header's numbers and a payload, with a check over it and the symbols that it codes."""
    data = bytearray(magic)
    for number in numbers:
        data += varint.pack(number)
    data += payload
    return bytes(data) + _check(data, symbols).to_bytes(2, "big")


def unpack(magic: bytes, name: str, data: bytes, count: int) -> tuple[list[int], bytes]:
    """The `count` numbers of a header, of which the last two are width and height, and the payload.

    Raises:
        UnsupportedFile: Another magic number than that of the rival `name`.
        TooShort: The file ends inside its header.
        DamagedFile: A number of the header is not one.
        InvalidImage: The picture's size is absurd.
    """
    if data[:2] != magic:
        raise UnsupportedFile(f"not a file of {name}: it does not start with the bytes {magic.hex(' ')}")
    numbers, place, end = [], 2, max(len(data) - 2, 2)
    for _ in range(count):
        try:
            number, place = varint.parse(data[:end], place)
        except EOFError:
            raise TooShort("the file ends inside its header") from None
        numbers.append(number)
    width, height = numbers[-2:]
    check_size(width, height)
    return numbers, data[place:end]


def verify(data: bytes, *symbols: Integers) -> None:
    """Raise `DamagedFile` if the file's check is not that of its bytes and of these symbols."""
    if _check(data[:-2], symbols) != int.from_bytes(data[-2:], "big"):
        raise DamagedFile("damaged, or this machine's arithmetic is not that of its encoder")


def check_room(payload: bytes, cumulative: Integers, count: int) -> None:
    """Raise `DamagedFile` if a payload cannot hold `count` symbols of each table (R, K + 1)."""
    least = PRECISION - np.log2(np.diff(cumulative).max(-1))  # bits of each table's likeliest symbol
    if 8 * len(payload) + 16 < least.sum() * count:
        raise DamagedFile("damaged: its header claims more pixels than its bytes can hold")


def positions(side: int) -> int:
    """Latent positions along a side, given in pixels."""
    return -(-side // STRIDE)


def padded(rgb: NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, 3) to float (1, 3, H', W'), edges repeated up to multiples of 16."""
    height, width = rgb.shape[:2]
    rgb = np.pad(rgb, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float()


def pixels(image: Tensor, height: int, width: int) -> NDArray[np.uint8]:
    """Image (1, 3, H', W') to uint8 (height, width, 3)."""
    image = image[0, :, :height, :width].round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def digest(paths: Sequence[str | Path]) -> str:
    """What tells weights apart in results: the first eight digits of the SHA-256 of each file."""
    return " ".join(sha256(Path(path).read_bytes()).hexdigest()[:8] for path in paths)


def _check(data: bytes | bytearray, symbols: Sequence[Integers]) -> int:
    crc = crc_hqx(data, 0xFFFF)
    for array in symbols:
        crc = crc_hqx(array.astype("<i2").tobytes(), crc)
    return crc

"""Files of HiFiC: those of the hyperprior, at the one level of a model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pqmim.errors import UnsupportedFile, WeightsError
from pqmim.rivals import weights
from pqmim.rivals.container import digest, pack, unpack, verify
from pqmim.rivals.hific.model import HificPoint
from pqmim.rivals.hyperprior import files as hyperprior
from pqmim.rivals.hyperprior.model import MeanScaleHyperprior

KIND = "hific"
THOUSANDTHS = 1000  # of a bit a pixel: what tells models apart in a file


class HificFiles:
    """HiFiC models as one codec of files, a model a rate: a setting is the target, in bits a pixel.

    Args:
        paths: A file of weights a rate.
        device: Where the networks run.

    Raises:
        WeightsError: A file holds no weights of HiFiC, or two are of one target.
    """

    name = KIND
    magic = b"\xd0\x14"

    def __init__(self, paths: Sequence[str | Path], device: str = "cpu") -> None:
        self.models: dict[int, tuple[hyperprior.HyperpriorFiles, int]] = {}
        for path in paths:
            files = hyperprior.HyperpriorFiles(path, device, kind=KIND)
            level, target = (int(number) for number in files.tables["point"])
            if target in self.models:
                raise WeightsError(f"a second model for {target / THOUSANDTHS} bits a pixel; name one a rate", path)
            self.models[target] = files, level * hyperprior.FINE
        self.settings: Sequence[float] = tuple(target / THOUSANDTHS for target in sorted(self.models))
        self.digest = digest(paths)

    def encode(self, rgb: NDArray[np.uint8], setting: float) -> bytes:
        """A file of a picture (H, W, 3).  Raises `ValueError` if no model has that target."""
        target = round(THOUSANDTHS * setting)
        if target not in self.models:
            raise ValueError(f"a setting of {self.name} is one of {self.settings}, not {setting}")
        files, level = self.models[target]
        symbols = files.symbols(rgb, level)
        numbers = (target, rgb.shape[1], rgb.shape[0])
        return pack(self.magic, numbers, files.payload(symbols, level), symbols.hyper, symbols.residual)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The picture (H, W, 3) of a file.  Raises `DamagedFile`, `UnsupportedFile` or `InvalidImage`."""
        (target, width, height), payload = unpack(self.magic, self.name, data, 3)
        if target not in self.models:
            raise UnsupportedFile(f"it needs weights for {target / THOUSANDTHS} bits a pixel, which are not given")
        files, level = self.models[target]
        symbols = files.read(payload, level, height, width)
        verify(data, symbols.hyper, symbols.residual)
        return files.picture(symbols.residual + symbols.mean, level, height, width)


def open_codec(name: str, paths: Sequence[Path], device: str = "cpu") -> HificFiles:
    """The codec `hific`, of a file of weights a rate."""
    if not paths:
        raise WeightsError("the package holds none: train them and name their files", name)
    return HificFiles(paths, device)


def tables_of(model: MeanScaleHyperprior, point: HificPoint) -> weights.Tables:
    """What the weights hold beside the model: the hyperprior's tables, and the model's level and target."""
    told = np.array([point.level, round(THOUSANDTHS * point.target)], np.int32)
    return hyperprior.tables_of(model) | {"point": told}

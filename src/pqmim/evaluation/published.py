"""Published rate-distortion curves, to stand beside measured ones."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pqmim.bitstream.errors import PqmimError


@dataclass(frozen=True)
class PublishedCurve:
    """The means of one codec over a data set, one entry a setting."""

    bpp: tuple[float, ...]
    psnr: tuple[float, ...]  # dB over RGB
    ms_ssim: tuple[float, ...] | None
    source: str


def read_published(path: str | os.PathLike) -> dict[str, PublishedCurve]:
    """Curves by the codec's name, in the file's order; raises PqmimError where it holds something else.

    The file is JSON: {"codecs": {name: {"source": "...", "bpp": [...], "psnr-rgb": [...], "ms-ssim-rgb": [...]}}},
    the last of them optional, other keys ignored.
    """
    try:
        codecs = json.loads(Path(path).read_text(encoding="utf-8"))["codecs"]
        return {name: _curve(codec) for name, codec in codecs.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PqmimError(f"{path} is not a file of published curves.") from error


def _curve(codec: dict) -> PublishedCurve:
    bpp, psnr = (tuple(map(float, codec[key])) for key in ("bpp", "psnr-rgb"))
    ms_ssim = tuple(map(float, codec["ms-ssim-rgb"])) if "ms-ssim-rgb" in codec else None
    if len(psnr) != len(bpp) or ms_ssim is not None and len(ms_ssim) != len(bpp):
        raise ValueError("every rate needs its quality")
    return PublishedCurve(bpp, psnr, ms_ssim, str(codec["source"]))

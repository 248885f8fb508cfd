"""Published rate-distortion curves, to stand beside measured ones."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pqmim.errors import PqmimError
from pqmim.evaluation.bdrate import Curve
from pqmim.evaluation.metrics import ms_ssim_db

LANDMARKS = ("bmshj2018-hyperprior", "mbt2018-mean", "VTM (VVC)")  # few enough for a plot
REFERENCES = ("bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-anchor", "BPG 4:4:4", "AV1", "VTM (VVC)")
"""The learned codecs that this one is measured by, and the best of the hand-made."""


@dataclass(frozen=True)
class PublishedCurve:
    """The means of one codec over a data set, one entry a setting."""

    bpp: tuple[float, ...]
    psnr: tuple[float, ...]  # dB over RGB
    ms_ssim: tuple[float, ...] | None
    source: str

    def points(self, measure: str = "psnr") -> Curve:
        """Rates and qualities as `results.curve` gives them of a measured codec; none where they were not published."""
        if measure == "psnr":
            return self.bpp, self.psnr
        if measure == "ms_ssim" and self.ms_ssim is not None:
            return self.bpp, tuple(map(ms_ssim_db, self.ms_ssim))
        return (), ()


def read_published(path: str | os.PathLike[str]) -> dict[str, PublishedCurve]:
    """Curves by the codec's name, in the file's order; raises PqmimError where it cannot be read or holds something else.

    The file is JSON: {"codecs": {name: {"source": "...", "bpp": [...], "psnr-rgb": [...], "ms-ssim-rgb": [...]}}},
    the last of them optional, other keys ignored.
    """
    try:
        return published_curves(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise PqmimError(f"cannot be read: {error.strerror}", path) from error
    except ValueError as error:
        raise PqmimError("not a file of published curves", path) from error


def published_curves(record: Any) -> dict[str, PublishedCurve]:
    """The curves in what such a file holds; raises ValueError where it holds something else."""
    try:
        return {name: _curve(codec) for name, codec in record["codecs"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no published curves") from error


def chosen(published: Mapping[str, PublishedCurve], names: Sequence[str] = LANDMARKS) -> dict[str, PublishedCurve]:
    """The curves of these names, in this order, or all where there are none of these."""
    return {name: published[name] for name in names if name in published} or dict(published)


def _curve(codec: Mapping[str, Any]) -> PublishedCurve:
    bpp, psnr = (tuple(map(float, codec[key])) for key in ("bpp", "psnr-rgb"))
    ms_ssim = tuple(map(float, codec["ms-ssim-rgb"])) if "ms-ssim-rgb" in codec else None
    if len(psnr) != len(bpp) or ms_ssim is not None and len(ms_ssim) != len(bpp):
        raise ValueError("every rate needs its quality")
    return PublishedCurve(bpp, psnr, ms_ssim, str(codec["source"]))

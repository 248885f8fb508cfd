"""Published rate-distortion curves, to stand beside measured ones."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pqmim.errors import PqmimError
from pqmim.evaluation.bdrate import Curve, bd_rate
from pqmim.evaluation.metrics import ms_ssim_db
from pqmim.evaluation.results import curve

LANDMARKS = ("bmshj2018-hyperprior", "mbt2018-mean", "VTM (VVC)")
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


def read_published(path: str | os.PathLike) -> dict[str, PublishedCurve]:
    """Curves by the codec's name, in the file's order; raises PqmimError where it holds something else.

    The file is JSON: {"codecs": {name: {"source": "...", "bpp": [...], "psnr-rgb": [...], "ms-ssim-rgb": [...]}}},
    the last of them optional, other keys ignored.
    """
    try:
        return published_curves(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise PqmimError(f"{path} is not a file of published curves.") from error


def published_curves(record: object) -> dict[str, PublishedCurve]:
    """The curves in what such a file holds; raises ValueError where it holds something else."""
    try:
        return {name: _curve(codec) for name, codec in record["codecs"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no published curves") from error


def landmarks(published: Mapping[str, PublishedCurve]) -> dict[str, PublishedCurve]:
    """Few enough curves for a plot: those of `LANDMARKS`, or all where there are none of these."""
    return {name: known for name, known in published.items() if name in LANDMARKS} or dict(published)


def published_bd_rates(
    codecs: Mapping[str, Mapping], published: Mapping[str, PublishedCurve], measure: str = "psnr"
) -> dict[str, dict]:
    """BD-rates of measured codecs against published ones, over all the qualities that both of a pair reach.

    `codecs` are those of an evaluation, `measure` is psnr or ms_ssim. Returns {published name: {"percent":
    {codec: ...}, measure: {codec: [low, high]}, "bpp": {codec: [low, high]}}}: percent of the published codec's rate,
    the qualities that the mean was taken over, in dB, and the published codec's rates there; null where the curves do
    not meet.
    """
    tables = {}
    for reference, known in published.items():
        if not known.points(measure)[0]:
            continue
        table: dict[str, dict] = {"percent": {}, measure: {}, "bpp": {}}
        for name, codec in codecs.items():
            try:
                result = bd_rate(known.points(measure), curve(codec, measure))
            except ValueError:  # too few settings, or curves that do not meet
                cells = (None, None, None)
            else:
                qualities = [round(result.low, 3), round(result.high, 3)]
                cells = (round(result.percent, 2), qualities, [round(rate, 4) for rate in result.reference_rates])
            for column, cell in zip(table.values(), cells):
                column[name] = cell
        tables[reference] = table
    return tables


def _curve(codec: dict) -> PublishedCurve:
    bpp, psnr = (tuple(map(float, codec[key])) for key in ("bpp", "psnr-rgb"))
    ms_ssim = tuple(map(float, codec["ms-ssim-rgb"])) if "ms-ssim-rgb" in codec else None
    if len(psnr) != len(bpp) or ms_ssim is not None and len(ms_ssim) != len(bpp):
        raise ValueError("every rate needs its quality")
    return PublishedCurve(bpp, psnr, ms_ssim, str(codec["source"]))

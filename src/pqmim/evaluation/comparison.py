"""Codecs compared at equal quality: BD-rates in bands of rate, with intervals over the photos."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pqmim.evaluation.bdrate import Curve, Row, bd_rate, compare
from pqmim.evaluation.metrics import ms_ssim_db
from pqmim.evaluation.published import PublishedCurve
from pqmim.evaluation.results import curve

BANDS = {"low": (0.13, 0.3), "middle": (0.3, 0.6), "high": (0.6, 1.17), "whole": (0.13, 1.17)}  # the reference's bpp
OWN = "pqmim"
ALL = "all"  # the band where rates lie outside of the others
MEASURES = ("psnr", "ms_ssim")
REFERENCES = ("jpeg", "webp", "avif", "avif-444", "jxl", "hyperprior")  # of the measured codecs, in a table's order
RESAMPLES = 200

Table = dict[str, dict[str, Row]]  # reference, band


def bd_tables(codecs: Mapping[str, Any], published: Mapping[str, PublishedCurve], measure: str = "psnr") -> Table:
    """BD-rates of all measured codecs against measured and published references, in every band of `BANDS`.

    Args:
        codecs: The codecs of an evaluation, see `run.evaluate`.
        published: Curves of the same photos by their names.
        measure: psnr or ms_ssim.

    Returns:
        Rows by reference and band. Rows that no codec reaches are left out, as are references without rows. Where no
        band is reached, as on small drawings, `ALL` holds the row over all the qualities in common.
    """
    order = sorted(codecs, key=lambda name: name != OWN)  # ours first: rows are told over what it reaches
    curves = {name: curve(codecs[name], measure) for name in order}
    known: dict[str, Curve] = {name: curves[name] for name in REFERENCES if name in curves}
    known |= {name: found.points(measure) for name, found in published.items() if found.points(measure)[0]}
    table: Table = {}
    for reference, points in known.items():
        tests = {name: test for name, test in curves.items() if name != reference}
        rows = {band: compare(points, tests, rates) for band, rates in BANDS.items()}
        found = {band: row for band, row in rows.items() if row is not None}
        anywhere = None if found else compare(points, tests, (1e-9, 1e9))
        if anywhere is not None:
            found = {ALL: anywhere}
        if found:
            table[reference] = found
    return table


def recorded(table: Table, measure: str) -> dict[str, dict[str, dict[str, Any]]]:
    """A table as it stands in a file of results: {reference: {band: {"bpp", measure, "percent"}}}, rounded."""
    return {
        reference: {
            band: {
                "bpp": [round(rate, 4) for rate in row.rates],
                measure: [round(quality, 3) for quality in row.qualities],
                "percent": {name: None if value is None else round(value, 2) for name, value in row.percent.items()},
            }
            for band, row in rows.items()
        }
        for reference, rows in table.items()
    }


def bd_interval(
    codecs: Mapping[str, Any], pair: tuple[str, str], row: Row, measure: str = "psnr", resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """The middle 95 % of the BD-rate of a measured codec against another, over photos drawn with replacement.

    Each draw takes the same photos for both codecs, the mean curves of these photos, and the qualities of the row
    that both curves reach.

    Args:
        codecs: The codecs of an evaluation, with their measures of every photo.
        pair: The names of the reference and of the codec that is compared with it.
        row: The row whose interval of qualities counts.
        measure: psnr or ms_ssim.
        resamples: The number of draws, from a fixed seed.

    Returns:
        The interval in percent, or None where fewer than half of the draws can be compared.
    """
    photos = [name for name in codecs[pair[0]]["per_image"] if name in codecs[pair[1]]["per_image"]]
    tables = [_per_photo(codecs[name], photos, measure) for name in pair]
    rng, found = np.random.default_rng(0), []
    for _ in range(resamples):
        drawn = rng.integers(0, len(photos), len(photos))
        reference, test = (_mean_curve(bpp[drawn], values[drawn], measure) for bpp, values in tables)
        low = max(row.qualities[0], min(reference[1]), min(test[1]))
        high = min(row.qualities[1], max(reference[1]), max(test[1]))
        try:
            found.append(bd_rate(reference, test, (low, high)))
        except ValueError:
            continue
    if 2 * len(found) < resamples:
        return None
    least, most = np.percentile(found, (2.5, 97.5))
    return float(least), float(most)


def per_photo_bd_rates(
    codecs: Mapping[str, Any], pair: tuple[str, str], measure: str = "psnr"
) -> dict[str, float | None]:
    """BD-rates photo by photo, over all the qualities that both codecs reach on it; None where they do not meet.

    Args:
        codecs: The codecs of an evaluation, with their measures of every photo.
        pair: The names of the reference and of the codec that is compared with it.
        measure: psnr or ms_ssim.
    """
    found: dict[str, float | None] = {}
    for photo in codecs[pair[0]]["per_image"]:
        curves = []
        for name in pair:
            measures = codecs[name]["per_image"].get(photo, {"bpp": [], measure: []})
            rows = [{"bpp": bpp, measure: value} for bpp, value in zip(measures["bpp"], measures[measure], strict=True)]
            curves.append(_rising(curve({"settings": rows}, measure)))
        try:
            found[photo] = bd_rate(curves[0], curves[1])
        except ValueError:
            found[photo] = None
    return found


def _per_photo(codec: Mapping[str, Any], photos: Sequence[str], measure: str) -> tuple[np.ndarray, np.ndarray]:
    """Rates and values (photos, settings), without the settings that some photo has no value for."""
    bpp, values = (
        np.array([codec["per_image"][photo][key] for photo in photos], np.float64) for key in ("bpp", measure)
    )
    kept = np.isfinite(values).all(0)
    return bpp[:, kept], values[:, kept]


def _mean_curve(bpp: np.ndarray, values: np.ndarray, measure: str) -> Curve:
    means = values.mean(0)
    qualities = [ms_ssim_db(value) for value in means] if measure == "ms_ssim" else means.tolist()
    return bpp.mean(0).tolist(), qualities


def _rising(points: Curve) -> Curve:
    """A curve without the settings that cost more than a better one: single photos have such."""
    rates, qualities = points
    best, kept = -np.inf, []
    for rate, quality in zip(rates, qualities, strict=True):
        if quality > best:
            best = quality
            kept.append((rate, quality))
    return [rate for rate, _ in kept], [quality for _, quality in kept]

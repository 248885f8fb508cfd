"""Perceptual measures of codecs with their intervals over photos, and codecs compared at equal rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pqmim.evaluation.bdrate import at_rate, rate_for
from pqmim.evaluation.distances import KernelSums, draws, frechet_distance, interval, kernel_distance
from pqmim.evaluation.perceptual import Measured, Photos

RATES = (0.07, 0.15, 0.30)  # bits a pixel at which codecs are compared
CURVE = 3  # settings that make a curve; codecs of fewer are compared at their own rates
DRAWS = 400  # of photos, for intervals
FRECHET_DRAWS = 40  # a Fréchet distance of a draw costs a decomposition
KERNEL_UNIT = 1000.0  # kernel distances are told in thousandths

Values = NDArray[np.float64]


def summary(photos: Photos, measured: Measured, frechet_draws: int = FRECHET_DRAWS) -> "Summary":
    """Every measure of a codec at every setting.

    Args:
        photos: The photos and the features of their patches.
        measured: The same of a codec.
        frechet_draws: The number of draws of photos for intervals of Fréchet distances. They are the first of those
            for the other measures, and the same for all codecs.
    """
    drawn = np.stack(list(draws(len(photos.paths), DRAWS)))
    means: dict[str, Values] = {}
    samples: dict[str, Values] = {}
    for name, values in measured.values.items():
        kept = np.isfinite(values).all(0)
        weights = drawn[:, kept].astype(np.float64)
        means[name] = values[:, kept].mean(1)
        samples[name] = values[:, kept] @ (weights / np.maximum(weights.sum(1, keepdims=True), 1)).T
    for name, real in photos.features.items():
        kernel, frechet = ("KID", "FID") if name == "Inception" else (f"KD-{name}", f"FD-{name}")
        count = len(photos.paths)  # those without a patch, too, since they are drawn
        sums = [KernelSums.of(real, coded, photos.patch_photo, count) for coded in measured.features[name]]
        means[kernel] = KERNEL_UNIT * np.array([one.distance() for one in sums])
        samples[kernel] = KERNEL_UNIT * np.array([[one.distance(weights) for weights in drawn] for one in sums])
        if kernel == "KID":  # as others have it, with our intervals around it
            usual = KERNEL_UNIT * np.array([kernel_distance(real, coded) for coded in measured.features[name]])
            samples[kernel] += (usual - means[kernel])[:, None]
            means[kernel] = usual
        rows = [np.repeat(np.arange(len(real)), weights[photos.patch_photo]) for weights in drawn[:frechet_draws]]
        means[frechet] = np.array([frechet_distance(real, coded) for coded in measured.features[name]])
        samples[frechet] = np.array(
            [[frechet_distance(real[i], coded[i]) for i in rows] for coded in measured.features[name]]
        )
    return Summary(measured.settings, means, samples)


@dataclass(frozen=True)
class Summary:
    """A codec's measures: means (settings,) and bootstrapped values (settings, draws) by name, bpp among them."""

    settings: Sequence[float]
    means: Mapping[str, Values]
    samples: Mapping[str, Values]

    @property
    def measures(self) -> list[str]:
        """All measures but the rate."""
        return [name for name in self.means if name != "bpp"]

    def at(self, name: str, rate: float) -> float | None:
        """A measure at a rate, see `bdrate.at_rate`; None too where it was not measured of any photo."""
        value = at_rate((self.means["bpp"].tolist(), self.means[name].tolist()), rate)
        return value if value is not None and np.isfinite(value) else None

    def drawn_at(self, name: str, rate: float | Values) -> Values:
        """Its bootstrapped values there (draws,), each by the rates of its own draw; NaN where these do not reach it.

        `rate` may be another one for each draw, (draws,).
        """
        wanted = np.broadcast_to(np.asarray(rate, float), len(self.samples["bpp"].T))
        curves = zip(self.samples["bpp"].T, self.samples[name].T, wanted, strict=False)  # fewer draws of some measures
        found = [at_rate((rates.tolist(), values.tolist()), float(at)) for rates, values, at in curves]
        return np.array([np.nan if value is None else value for value in found])


def record(summaries: Mapping[str, Summary], reference: str | None = None) -> dict[str, Any]:
    """What a file of results holds of several codecs.

    {"codecs": {name: {"settings": [{"setting", "bpp", measure: mean, ...}], "intervals": the same with pairs}},
     "at": {rate: {name: {measure: {"value", "interval"}}}},
     "against": {"reference", rate: {name: {measure: {"percent", "interval", "bits"}}}},
     "beside": {name of a codec of too few settings for a curve: for each of them
                {"setting", "bpp", name: {measure: {"value", "percent", "interval", "bits"}}}}}

    Args:
        summaries: Codecs by name.
        reference: The codec that "against" compares the others with; None leaves that out. Draws of photos are the
            same for both, so that an interval below 0 says that the codec is better on photos like these.
    """
    found: dict[str, Any] = {"codecs": {}, "at": {}}
    for name, one in summaries.items():
        rows, ranges = [], []
        for i, setting in enumerate(one.settings):
            means: dict[str, float | None] = {"setting": setting}
            means |= {measure: _round(float(values[i])) for measure, values in one.means.items()}
            rows.append(means)
            drawn = {measure: _pair(one.samples[measure][i]) for measure in one.measures}
            ranges.append({"setting": setting} | drawn)
        found["codecs"][name] = {"settings": rows, "intervals": ranges}
    for rate in RATES:
        cells = {name: _cells(one, rate) for name, one in summaries.items()}
        found["at"][f"{rate:.2f}"] = {name: cell for name, cell in cells.items() if cell}
    if reference is not None:
        found["against"] = {"reference": reference} | {
            f"{rate:.2f}": {
                name: _against(summaries[reference], one, rate) for name, one in summaries.items() if name != reference
            }
            for rate in RATES
        }
    found["beside"] = {
        name: [
            {"setting": setting, "bpp": _round(float(one.means["bpp"][i]))}
            | {other: _beside(one, i, curve) for other, curve in summaries.items() if len(curve.settings) >= CURVE}
            for i, setting in enumerate(one.settings)
        ]
        for name, one in summaries.items()
        if len(one.settings) < CURVE
    }
    return found


def _cells(one: Summary, rate: float) -> dict[str, Any]:
    cells = {}
    for measure in one.measures:
        value = one.at(measure, rate)
        if value is not None:
            cells[measure] = {"value": _round(value), "interval": _pair(one.drawn_at(measure, rate))}
    return cells


def _against(reference: Summary, one: Summary, rate: float) -> dict[str, Any]:
    """Differences at a rate in percent of the reference's, of PSNR in dB; and the bits for equal values, in percent."""
    cells = {}
    for measure in (name for name in one.measures if name in reference.means):
        first, second = reference.at(measure, rate), one.at(measure, rate)
        if first is None or second is None:
            continue
        drawn = reference.drawn_at(measure, rate), one.drawn_at(measure, rate)
        equal = rate_for((one.means["bpp"].tolist(), one.means[measure].tolist()), first)
        bits = {"bits": None if equal is None else _round(100 * (equal / rate - 1))}
        cells[measure] = _difference(measure, (first, second), drawn) | bits
    return cells


def _beside(single: Summary, i: int, one: Summary) -> dict[str, Any]:
    """The same of a codec, at the rate of another one's setting number `i`, draw by draw at the rate of that draw."""
    rate, cells = float(single.means["bpp"][i]), {}
    for measure in (name for name in one.measures if name in single.means):
        first, second = float(single.means[measure][i]), one.at(measure, rate)
        if second is None or not np.isfinite(first):
            continue
        values = single.samples[measure][i]
        drawn = values, one.drawn_at(measure, single.samples["bpp"][i])[: len(values)]
        equal = rate_for((one.means["bpp"].tolist(), one.means[measure].tolist()), first)
        bits = {"bits": None if equal is None else _round(100 * (equal / rate - 1))}
        cells[measure] = {"value": _round(second)} | _difference(measure, (first, second), drawn) | bits
    return cells


def _difference(measure: str, values: tuple[float, float], drawn: tuple[Values, Values]) -> dict[str, Any]:
    """What the second value is beyond the first, in percent or dB, with the interval of the draws of both."""
    if measure == "PSNR":
        return {"dB": _round(values[1] - values[0]), "interval": _pair(drawn[1] - drawn[0])}
    percent = 100 * (drawn[1] / drawn[0] - 1)
    return {"percent": _round(100 * (values[1] / values[0] - 1)), "interval": _pair(percent)}


def _round(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def _pair(values: Values) -> list[float | None] | None:
    """The interval of the draws that reach the rate; None where fewer than half of them do."""
    kept = values[np.isfinite(values)]
    return [_round(value) for value in interval(kept)] if 2 * len(kept) >= max(len(values), 1) else None

"""BD-rates in bands, over one interval a row, with intervals over photos."""

import numpy as np
import pytest

from pqmim.evaluation.comparison import ALL, BANDS, bd_interval, bd_tables, per_photo_bd_rates, recorded
from pqmim.evaluation.published import PublishedCurve

BPP = np.array([0.1, 0.2, 0.4, 0.8, 1.4])
PSNR = np.array([26.0, 28.0, 30.0, 32.0, 33.0])
MS_SSIM = np.array([0.9, 0.95, 0.97, 0.99, 0.995])


def codec(factor: float, spread: float = 0.0, photos: int = 12) -> dict:
    """Needs `factor` times the rates of the curve above; single photos differ from that by up to `spread`."""
    factors = factor * (1 + spread * np.linspace(-1, 1, photos))
    per_image = {
        f"{i}.png": {"bpp": list(BPP * f), "psnr": list(PSNR), "ms_ssim": list(MS_SSIM)} for i, f in enumerate(factors)
    }
    rows = zip(BPP * factor, PSNR, MS_SSIM, strict=True)
    settings = [{"bpp": bpp, "psnr": psnr, "ms_ssim": ms_ssim} for bpp, psnr, ms_ssim in rows]
    return {"settings": settings, "per_image": per_image}


CURVE = PublishedCurve(tuple(BPP), tuple(PSNR), tuple(MS_SSIM), "a paper")


@pytest.mark.parametrize("measure", ["psnr", "ms_ssim"])
def test_every_band_of_every_reference(measure):
    codecs = {"pqmim": codec(0.8), "avif": codec(1.0), "mine": codec(1.1)}
    without = PublishedCurve(CURVE.bpp, CURVE.psnr, None, "")
    tables = bd_tables(codecs, {"One": CURVE, "Bare": without}, measure)
    assert list(tables) == ["avif", "One", *(["Bare"] if measure == "psnr" else [])]
    assert list(tables["avif"]) == list(BANDS)
    for row in tables["avif"].values():
        assert row.percent == {"pqmim": pytest.approx(-20), "mine": pytest.approx(10)}
    for band, row in tables["One"].items():
        assert row.percent == {"pqmim": pytest.approx(-20), "avif": pytest.approx(0), "mine": pytest.approx(10)}
        assert row.rates == pytest.approx(BANDS[band])
    written = recorded(tables, measure)["One"]["low"]
    assert written["percent"]["pqmim"] == -20 and written["bpp"] == [0.13, 0.3] and len(written[measure]) == 2


def test_a_codec_has_no_cell_in_a_band_that_it_does_not_reach():
    low = {"settings": [*codec(1.0)["settings"][:3], {"bpp": 0.65, "psnr": 31.4, "ms_ssim": 0.98}]}
    tables = bd_tables({"avif": codec(1.0), "same": codec(1.0), "low": low}, {})
    assert list(tables["avif"]) == list(BANDS)
    assert [band for band, row in tables["avif"].items() if row.percent["low"] is None] == ["high", "whole"]


def test_the_interval_holds_the_mean_and_widens_with_the_spread():
    intervals = []
    for spread in (0.0, 0.2, 0.5):
        codecs = {"avif": codec(1.0), "pqmim": codec(0.8, spread)}
        row = bd_tables(codecs, {})["avif"]["whole"]
        found = bd_interval(codecs, ("avif", "pqmim"), row)
        assert found is not None and found[0] - 0.1 <= -20 <= found[1] + 0.1
        assert found == bd_interval(codecs, ("avif", "pqmim"), row)  # from a fixed seed
        intervals.append(found[1] - found[0])
    assert intervals[0] == pytest.approx(0, abs=1e-6) and intervals[0] < intervals[1] < intervals[2]


def test_photo_by_photo():
    codecs = {"avif": codec(1.0, photos=3), "pqmim": codec(0.8, 0.5, photos=3)}
    codecs["pqmim"]["per_image"]["1.png"]["psnr"][0] = None  # lossless
    codecs["avif"]["per_image"]["2.png"]["psnr"] = [60, 61, 62, 63, 64]
    found = per_photo_bd_rates(codecs, ("avif", "pqmim"))
    assert found == {"0.png": pytest.approx(-60), "1.png": pytest.approx(-20), "2.png": None}


def test_rates_outside_of_all_bands():
    tables = bd_tables({"avif": codec(20.0), "pqmim": codec(10.0)}, {})
    assert list(tables["avif"]) == [ALL] and tables["avif"][ALL].percent == {"pqmim": pytest.approx(-50)}

import json
from pathlib import Path

import numpy as np
import pytest

from pqmim.errors import PqmimError
from pqmim.evaluation.bdrate import bd_rate
from pqmim.evaluation.metrics import ms_ssim_db
from pqmim.evaluation.published import LANDMARKS, PublishedCurve, landmarks, published_bd_rates, read_published

KODAK = Path(__file__).parents[2] / "results" / "published" / "kodak.json"
BPP = (0.1, 0.2, 0.4, 0.8, 1.2)
CURVE = PublishedCurve(BPP, (26.0, 28.0, 30.0, 32.0, 33.0), (0.9, 0.95, 0.97, 0.99, 0.995), "a paper")


def measured(factor: float, points: slice = slice(None), shift: float = 0) -> dict:
    """A codec that takes `factor` times the rates of CURVE for its qualities, or those `shift` dB better."""
    rows = zip(BPP[points], CURVE.psnr[points], CURVE.ms_ssim[points])
    settings = [{"bpp": factor * bpp, "psnr": psnr + shift, "ms_ssim": ms_ssim} for bpp, psnr, ms_ssim in rows]
    return {"settings": [*settings, {"bpp": 9, "psnr": None, "ms_ssim": 1}]}


def test_it_reads_curves(tmp_path):
    path = tmp_path / "curves.json"
    one = {"source": "a paper", "bpp": [0.1, 0.2], "psnr-rgb": [28, 30.5], "ms-ssim-rgb": [0.9, 0.95], "extra": [1]}
    two = {"source": "another", "bpp": [0.3], "psnr-rgb": [33]}
    path.write_text(json.dumps({"dataset": "a set", "codecs": {"One": one, "Two": two}}))
    curves = read_published(path)
    assert list(curves) == ["One", "Two"]
    assert curves["One"].bpp == (0.1, 0.2) and curves["One"].psnr == (28, 30.5)
    assert curves["One"].ms_ssim == (0.9, 0.95) and curves["One"].source == "a paper"
    assert curves["Two"].ms_ssim is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"codecs": {"One": {"bpp": [1]}}}',
        '{"codecs": {"One": {"source": "", "bpp": [1, 2], "psnr-rgb": [30]}}}',
        '{"codecs": {"One": {"source": "", "bpp": ["x"], "psnr-rgb": [30]}}}',
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "curves.json"
    path.write_text(content)
    with pytest.raises(PqmimError, match=r"curves\.json is not a file of published curves"):
        read_published(path)
    with pytest.raises(PqmimError):
        read_published(tmp_path / "none.json")


def test_bd_rates_are_over_what_both_curves_reach():
    codecs = {"less": measured(0.9), "part": measured(1.2, slice(0, 4)), "far": measured(1, shift=50)}
    tables = published_bd_rates(codecs, {"One": CURVE, "No MS-SSIM": PublishedCurve(BPP, CURVE.psnr, None, "")})
    assert list(tables) == ["One", "No MS-SSIM"]
    assert tables["One"]["percent"]["less"] == pytest.approx(-10)
    assert tables["One"]["psnr"] == {"less": [26, 33], "part": [26, 32], "far": None}
    assert tables["One"]["bpp"] == {"less": [0.1, 1.2], "part": [0.1, 0.8], "far": None}
    assert tables["One"]["percent"]["far"] is None
    part = [[1.2 * bpp for bpp in BPP[:4]], CURVE.psnr[:4]]
    assert tables["One"]["percent"]["part"] == pytest.approx(bd_rate((BPP, CURVE.psnr), part).percent, abs=0.01)


def test_bd_rates_over_ms_ssim_are_in_db():
    published = {"One": CURVE, "No MS-SSIM": PublishedCurve(BPP, CURVE.psnr, None, "")}
    tables = published_bd_rates({"more": measured(1.5)}, published, "ms_ssim")
    assert list(tables) == ["One"]
    assert tables["One"]["percent"]["more"] == pytest.approx(50)
    assert tables["One"]["ms_ssim"]["more"] == pytest.approx([10, ms_ssim_db(0.995)], abs=1e-3)


def test_a_curve_too_short_is_no_error():
    tables = published_bd_rates({"one": measured(1)}, {"Short": PublishedCurve(BPP[:3], CURVE.psnr[:3], None, "")})
    assert tables["Short"] == {"percent": {"one": None}, "psnr": {"one": None}, "bpp": {"one": None}}


def test_landmarks_stand_for_many_curves():
    assert landmarks({"mine": CURVE}) == {"mine": CURVE}
    assert list(landmarks({"mine": CURVE, LANDMARKS[1]: CURVE})) == [LANDMARKS[1]]


def test_the_curves_on_kodak():
    curves = read_published(KODAK)
    assert set(LANDMARKS) <= set(curves)
    assert list(curves) == sorted(curves, key=str.casefold)
    for curve in curves.values():
        assert curve.source.startswith("github:InterDigitalInc/CompressAI@")
        for values in (curve.bpp, curve.psnr, curve.ms_ssim or (0, 1)):
            assert np.all(np.diff(values) > 0)
    assert curves["bmshj2018-hyperprior"].psnr[:2] == (27.58154, 29.1967)
    assert json.loads(KODAK.read_text())["dataset"] == "kodak"

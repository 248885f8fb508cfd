import json
from pathlib import Path

import numpy as np
import pytest

from pqmim.errors import PqmimError
from pqmim.evaluation.published import LANDMARKS, REFERENCES, PublishedCurve, chosen, read_published

KODAK = Path(__file__).parents[2] / "results" / "published" / "kodak.json"
BPP = (0.1, 0.2, 0.4, 0.8, 1.2)
CURVE = PublishedCurve(BPP, (26.0, 28.0, 30.0, 32.0, 33.0), (0.9, 0.95, 0.97, 0.99, 0.995), "a paper")


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
    with pytest.raises(PqmimError, match=r"curves\.json: not a file of published curves"):
        read_published(path)
    with pytest.raises(PqmimError, match=r"none\.json: cannot be read"):
        read_published(tmp_path / "none.json")


def test_landmarks_stand_for_many_curves():
    assert chosen({"mine": CURVE}) == {"mine": CURVE}
    assert list(chosen({"mine": CURVE, LANDMARKS[1]: CURVE})) == [LANDMARKS[1]]
    assert list(chosen({"b": CURVE, "a": CURVE}, ("a", "b", "c"))) == ["a", "b"]


def test_the_curves_on_kodak():
    curves = read_published(KODAK)
    assert {*LANDMARKS, *REFERENCES} <= set(curves)
    assert list(curves) == sorted(curves, key=str.casefold)
    for curve in curves.values():
        assert curve.source.startswith("github:InterDigitalInc/CompressAI@")
        for values in (curve.bpp, curve.psnr, curve.ms_ssim or (0, 1)):
            assert np.all(np.diff(values) > 0)
    assert curves["bmshj2018-hyperprior"].psnr[:2] == (27.58154, 29.1967)
    assert json.loads(KODAK.read_text())["dataset"] == "kodak"

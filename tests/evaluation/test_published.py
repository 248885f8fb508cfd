import json

import pytest

from pqmim.bitstream.errors import PqmimError
from pqmim.evaluation.published import read_published


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

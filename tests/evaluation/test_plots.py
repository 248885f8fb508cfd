import numpy as np
import pytest
from PIL import Image

from pqmim.errors import OutputError, PqmimError
from pqmim.evaluation.published import PublishedCurve
from pqmim.evaluation.report.plots import draw_rd, rd_plot, spread_apart


def results(*names: str) -> dict:
    codecs = {}
    for i, name in enumerate(names):
        rows = [{"setting": s, "bpp": 0.1 * s * (1 + i / 5), "psnr": 25.0 + s + i} for s in range(1, 15)]
        codecs[name] = {"settings": rows + [{"setting": 99, "bpp": 20, "psnr": None}]}
    return {"dataset": "kodak", "codecs": codecs}


PUBLISHED = {"hyperprior": PublishedCurve((0.1, 0.5, 0.8), (28, 32, 35), None, "a paper")}


def test_png(tmp_path):
    path = tmp_path / "plot.png"
    rd_plot([results("pqmim", "jpeg"), results("webp")], path, PUBLISHED)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int) @ (1 << 16, 1 << 8, 1)
        assert image.width > 1000
    assert {0xD6336C, 0x868E96, 0x2B8A3E, 0xFFFFFF} <= set(np.unique(pixels).tolist())


def test_svg_is_the_same_every_time(tmp_path):
    for name in ("a.svg", "b.svg"):
        rd_plot([results("pqmim", "avif")], tmp_path / name, PUBLISHED)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    for label in ("pqmim", "AVIF", "hyperprior", "Kodak: PSNR over RGB (dB)"):
        assert f"<!-- {label} -->" in text


def test_other_measures():
    rows = [{"bpp": 0.1 * s, "psnr": 20 + s, "ms_ssim": 1 - 0.3 / s, "squeezenet": 0.5 / s} for s in range(1, 9)]
    record = {"dataset": "kodak", "codecs": {"pqmim": {"settings": rows}, **results("jpeg")["codecs"]}}
    published = {"one": PublishedCurve((0.1, 0.5), (28, 32), (0.9, 0.98), ""), **PUBLISHED}
    ms_ssim = draw_rd([record], published, measure="ms_ssim").decode()
    for label, there in (("pqmim", True), ("JPEG", False), ("one", True), ("hyperprior", False)):
        assert (f"<!-- {label} -->" in ms_ssim) == there
    squeezenet = draw_rd([record], published, measure="squeezenet").decode()
    assert "<!-- Kodak: SqueezeNet feature distance (less is closer) -->" in squeezenet
    assert "<!-- one -->" not in squeezenet and "<!-- pqmim -->" in squeezenet


def test_nothing_to_draw():
    with pytest.raises(PqmimError, match="no curve of squeezenet"):
        draw_rd([results("jpeg")], PUBLISHED, measure="squeezenet")


def test_targets(tmp_path):
    with pytest.raises(OutputError, match=r"ends in \.svg or \.png"):
        rd_plot([results("jpeg")], tmp_path / "plot.jpg")
    (tmp_path / "plot.svg").write_text("old")
    with pytest.raises(OutputError, match="exists already"):
        rd_plot([results("jpeg")], tmp_path / "plot.svg")
    rd_plot([results("jpeg")], tmp_path / "plot.svg", force=True)
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_labels_are_pushed_apart_and_no_further():
    assert spread_apart([1.0, 5.0, 3.0], 1) == [1, 5, 3]
    assert spread_apart([2.0, 2.0], 1) == [1.5, 2.5]
    assert spread_apart([2.2, 2.0, 2.1], 1) == pytest.approx([3.1, 1.1, 2.1])
    spread = spread_apart([3.0, 1.0, 1.5, 1.2, 9.0], 1)
    assert np.all(np.diff(sorted(spread)) >= 1 - 1e-9) and spread[4] == 9

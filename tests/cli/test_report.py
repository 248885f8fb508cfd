import json
import os

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def results(run, here):
    (here / "photos").mkdir()
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    coarse.resize((64, 48), Image.Resampling.BICUBIC).save(here / "photos" / "a.png")
    (here / "results").mkdir()
    words = "evaluate photos --codec jpeg --codec webp --json results/r.json"
    assert run(*words.split())[0] == 0
    return here / "results"


def test_a_page_from_results(run, results):
    words = "report results -o report"
    status, out, err = run(*words.split())
    assert (status, err) == (0, "")
    assert out.decode() == f"{os.path.join('report', 'index.html')}: r.json\n"
    page = (results.parent / "report" / "index.html").read_text()
    assert 'src="plots/1-r-psnr.svg"' in page and "Side by side" not in page
    assert sorted(os.listdir("report")) == ["index.html", "plots"]


def test_photos_side_by_side(run, results, codec, monkeypatch):
    monkeypatch.setattr(codec, "decompress", lambda self, data, **options: Image.new("RGB", (64, 48)))
    words = "report results -o report --photos photos --weights w.bin --threads 1"
    status, _, err = run(*words.split())
    assert (status, err) == (0, "")
    assert codec.opened[0]["threads"] == 1 and codec.opened[0]["weights"].name == "w.bin"
    page = (results.parent / "report" / "index.html").read_text()
    shown = os.listdir(results.parent / "report" / "crops")
    assert "1-a.png" in shown and "1-a-3-pqmim.png" in shown
    assert all(f'src="crops/{name}"' in page for name in shown)


@pytest.mark.parametrize(
    "words, complaint",
    [
        ("report none -o report", "none: not a folder"),
        ("report photos -o report", "photos: holds no results"),
        ("report results -o photos", "photos: not empty: choose another folder"),
        ("report results -o results/r.json --force", "it is a file"),
        ("report results -o report --photos none", "none: not a folder"),
    ],
)
def test_errors_are_one_sentence(run, results, words, complaint):
    status, out, err = run(*words.split())
    assert (status, out, err.count("\n")) == (1, b"", 1)
    assert complaint in err
    assert sorted(os.listdir()) == ["photos", "results"]


def test_evaluate_compares_with_published_curves(run, results):
    rows = json.loads((results / "r.json").read_text())["codecs"]["jpeg"]["settings"]
    curve = {"source": "a paper", "bpp": [row["bpp"] for row in rows], "psnr-rgb": [row["psnr"] for row in rows]}
    far = {**curve, "psnr-rgb": [row["psnr"] + 90 for row in rows]}
    (results / "p.json").write_text(json.dumps({"codecs": {"Same": curve, "Far": far}}))
    words = "evaluate photos --codec jpeg --published results/p.json --json results/s.json"
    status, out, _ = run(*words.split())
    assert status == 0
    lines = out.decode().splitlines()
    told = [line for line in lines if line.startswith("BD-rate over PSNR, ")]
    assert told and all(line.endswith(" against Same: jpeg +0.0 %") for line in told)
    tables = json.loads((results / "s.json").read_text())["bd_rate"]["psnr"]
    assert list(tables) == ["Same"] and {row["percent"]["jpeg"] for row in tables["Same"].values()} == {0}


def test_evaluate_refuses_other_weights_for_features(run, results):
    (results / "w.bin").write_text("no weights")
    words = "evaluate photos --codec jpeg --features results/w.bin"
    status, out, err = run(*words.split())
    assert (status, out) == (1, b"")
    assert "w.bin: not a safetensors file" in err


def test_an_evaluation_takes_the_place_of_its_part_of_earlier_ones(run, results):
    before = json.loads((results / "r.json").read_text())["codecs"]
    words = "evaluate photos --codec webp --json results/r.json"
    status, _, err = run(*words.split())
    assert status == 1 and "exists already" in err
    assert run(*words.split(), "--update")[0] == 0
    after = json.loads((results / "r.json").read_text())["codecs"]
    assert list(after) == ["jpeg", "webp"] and after["jpeg"] == before["jpeg"]
    status, _, err = run("evaluate", "photos", "--codec", "webp", "--update")
    assert status == 1 and "--json" in err

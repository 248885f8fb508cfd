"""benchmarks/blind_pairs.py: a page of pairs, and the sum of answers."""

import base64
import io
import json
import runpy
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "blind_pairs.py"


@pytest.fixture
def module():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(5):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8))
        coarse.resize((360, 330), Image.Resampling.BICUBIC).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


class Pairs(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.pairs, self.images = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("class") == "pair":
            self.pairs.append(found)
        elif tag == "img":
            self.images.append(found["src"])


def size(address: str) -> tuple[int, int]:
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def run(monkeypatch, capsys, *words: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["blind_pairs.py", *map(str, words)])
    return runpy.run_path(str(SCRIPT))["main"](), capsys.readouterr().out


def test_a_page_holds_all_it_needs(photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "pairs.html"
    words = [photos, "--codec", "jpeg", "--codec", "webp", "--bpp", "0.5", "--pairs", "4", "--seed", "3", "--out", out]
    assert run(monkeypatch, capsys, *words)[0] == 0
    html = out.read_text()
    page = Pairs(html)
    assert len(page.pairs) == 4 and len(page.images) == 8
    assert {size(address) for address in page.images} == {(320, 320)}
    for pair in page.pairs:
        assert {pair["data-left"], pair["data-right"]} == {"jpeg", "webp"}
        assert size(pair["data-original"]) == (320, 320)
    assert "http" not in html.replace("http-equiv", "")  # nothing is fetched
    visible = html.split("<script>")[0].split("<section")[0]
    assert "jpeg" not in visible and "webp" not in visible
    assert run(monkeypatch, capsys, *words)[0] == 0 and out.read_text() == html  # the same pairs for a seed
    other = [*words[:-3], 4, "--out", out]
    assert run(monkeypatch, capsys, *other)[0] == 0 and out.read_text() != html


def test_answers_are_summed(module, tmp_path, monkeypatch, capsys):
    votes = ["pqmim"] * 9 + ["avif"] + ["none"] * 2
    for i, part in enumerate((votes[:5], votes[5:])):
        (tmp_path / f"{i}.json").write_text(json.dumps({"answers": [{"preferred": name} for name in part]}))
    status, out = run(monkeypatch, capsys, "--count", *sorted(tmp_path.glob("*.json")))
    assert status == 0
    lines = out.splitlines()
    assert lines[:3] == ["pqmim: 9 of 10", "avif: 1 of 10", "no difference seen: 2"]
    assert lines[3] == "a fair coin does as much in 2.1% of all cases"  # 2 (10 + 1) / 1024
    assert module["counted"]([{"answers": []}]) == "no difference seen: 0"


def test_photos_are_spread(module):
    paths = [Path(str(i)) for i in range(9)]
    assert [path.name for path in module["spread"](paths, 3)] == ["0", "4", "8"]
    assert module["spread"](paths, 20) == paths


def test_what_is_missing_is_told(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "--codec", "jpeg")[0] == 2

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from pqmim.errors import OutputError, PqmimError
from pqmim.evaluation.report.build import check_folder, collect, render, write_report
from pqmim.evaluation.report.crops import RATES, Crop, Example
from pqmim.evaluation.report.page import Evaluation

VOID = {"img", "meta"}


def evaluation(dataset: str = "kodak", *, squeezenet: bool = False) -> dict:
    codecs = {}
    for name, factor in (("pqmim", 0.5), ("jpeg", 1.0)):
        rows = [
            {
                "setting": s,
                "bytes": round(4000 * s * factor),
                "bpp": round(0.08 * s * factor, 5),
                "psnr": 24.0 + s,
                "ms_ssim": 1 - 0.2 / s,
                "encode_s": 0.25 * s,
                "decode_s": 0.01,
                **({"squeezenet": 0.1 / s} if squeezenet else {}),
            }
            for s in range(1, 12)
        ]
        codecs[name] = {"versions": {f"lib{name}": "1.2"}, "settings": rows, "per_image": {}}
    return {
        "dataset": dataset,
        "images": [{"name": "a.png", "width": 1000, "height": 2000}],
        "machine": {"cpu": "A <fast> & small CPU", "device": "cpu", "threads": 1},
        "versions": {"pqmim": "0.1.0"},
        "codecs": codecs,
        **({"features": {"squeezenet": "5ha"}} if squeezenet else {}),
    }


def published(dataset: str = "Kodak") -> dict:
    curve = {"bpp": [0.1, 0.3, 0.5, 0.7], "psnr-rgb": [27, 30, 32, 34]}
    link = "github:someone/codecs@0123456789abcdef:results/a b.json"
    codecs = {"mbt2018-mean": {"source": link, **curve}, "Far <b>": {"source": "a <i>paper</i>", **curve}}
    return {"dataset": dataset, "codecs": codecs}


def crops(photo: str) -> Example:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    row = [Crop("pqmim", 1234, 31.236, rgb), Crop("jpeg", 1240, np.inf, 255 - rgb)]
    return Example(photo, 640, 480, rgb, [row] * len(RATES))


class Page(HTMLParser):
    """Elements by their tags, the text in all of them; asserts that they are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data + " "

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    files = {
        "kodak/codecs.json": evaluation(),
        "kodak/deep/other & more.json": evaluation("Set <2>", squeezenet=True),
        "published/kodak.json": published(),
        "published/other.json": published("another set"),
        "speed.json": {"rows": [{"codec": "pqmim"}]},
        "list.json": [1, 2],
        "kodak/entropy.json": {"dataset": "kodak", "codecs": 3},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def test_evaluations_are_collected_with_the_curves_of_their_photos(results):
    kodak, other = collect(results)
    assert (kodak.name, other.name) == ("kodak/codecs.json", "kodak/deep/other & more.json")
    assert kodak.record == evaluation()
    assert list(kodak.published) == ["mbt2018-mean", "Far <b>"]
    assert not other.published


def test_folders_without_results(tmp_path):
    with pytest.raises(PqmimError, match="none: not a folder"):
        collect(tmp_path / "none")
    (tmp_path / "speed.json").write_text("{}")
    with pytest.raises(PqmimError, match="holds no results"):
        collect(tmp_path)
    (tmp_path / "broken.json").write_text('{"codecs": ')
    with pytest.raises(PqmimError, match=r"broken\.json: not JSON"):
        collect(tmp_path)


@pytest.fixture
def content(results):
    return render(collect(results), [crops("a photo #1.png"), crops("<b>.jpg")])


def test_every_link_resolves_and_nothing_is_left_over(content):
    page = Page(content["index.html"].decode())
    identities = page.values("id")
    assert len(identities) == len(set(identities)) == 3
    anchors = [link.removeprefix("#") for link in page.values("href") if link.startswith("#")]
    assert anchors == identities
    assert set(page.values("src")) == set(content) - {"index.html"}
    assert [link for link in page.values("href") if not link.startswith("#")] == [
        "https://github.com/someone/codecs/blob/0123456789abcdef/results/a%20b.json"
    ]
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}
    assert b"@import" not in content["index.html"] and b"url(" not in content["index.html"]
    assert list(content)[-1] == "index.html"


def test_plots_of_what_was_measured(content):
    plots = [name for name in content if name.startswith("plots/")]
    assert plots == [
        "plots/1-kodak-codecs-psnr.svg",
        "plots/1-kodak-codecs-ms_ssim.svg",
        "plots/2-kodak-deep-other-more-psnr.svg",
        "plots/2-kodak-deep-other-more-ms_ssim.svg",
        "plots/2-kodak-deep-other-more-squeezenet.svg",
    ]
    drawn = content[plots[0]].decode()
    assert "<!-- mbt2018-mean -->" in drawn and "Far" not in drawn  # landmarks alone


def test_text_is_escaped(content):
    html = content["index.html"].decode()
    assert "<fast>" not in html and "A &lt;fast&gt; &amp; small CPU" in html
    assert "a &lt;i&gt;paper&lt;/i&gt;" in html and "Far &lt;b&gt;" in html
    text = Page(html).text
    for words in ("Set <2>", "Far <b>", "<b>.jpg", "kodak/deep/other & more.json", "SHA-256 of the weights"):
        assert words in text


def test_tables_say_what_was_found(content):
    text = " ".join(Page(content["index.html"].decode()).text.split())
    assert "1 photo, 2.0 megapixels in all" in text and "1 thread" in text
    # pqmim has half of JPEG's rates at every quality; JPEG's rate rises by 0.08 bpp with every dB from 25 on
    assert "JPEG 0.13 to 0.30 bpp low: 25.6 to 27.7 dB −50.0 %" in text
    assert "mbt2018-mean 0.13 to 0.70 bpp whole: 27.6 to 34.0 dB −" in text
    assert "pqmim 0.250 to 2.750 0.010 to 0.010" in text
    assert "1 2,000 0.040 25.00 0.8000 0.250 0.010" in text
    assert "SqueezeNet" in text and "0.1000" in text
    assert "pqmim 1,234 bytes, 31.24 dB" in text and "JPEG 1,240 bytes, no loss" in text


def test_a_codec_alone_has_no_tables_of_comparison():
    record = evaluation()
    del record["codecs"]["jpeg"]
    html = render([Evaluation("one.json", record, {}, {})])["index.html"].decode()
    text = Page(html).text
    assert "Bits at equal" not in text and "published" not in text and "Means" in text


def test_writing(tmp_path, content):
    folder = tmp_path / "made" / "report"
    write_report(content, folder)
    for name, data in content.items():
        assert (folder / name).read_bytes() == data
    with pytest.raises(OutputError, match="report: not empty: choose another folder"):
        write_report(content, folder)
    (folder / "mine.txt").write_text("kept")
    (folder / "index.html").write_text("old")
    write_report(content, folder, force=True)
    assert (folder / "mine.txt").read_text() == "kept"
    assert (folder / "index.html").read_bytes() == content["index.html"]


def test_places_where_no_report_can_go(tmp_path):
    (tmp_path / "file").write_text("")
    for force in (False, True):
        with pytest.raises(OutputError, match="it is a file"):
            check_folder(tmp_path / "file", force)
    with pytest.raises(OutputError, match="cannot be made"):
        write_report({"index.html": b""}, tmp_path / "file" / "below")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty")
    check_folder(tmp_path / "none")

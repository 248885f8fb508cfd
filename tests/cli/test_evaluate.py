import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pqmim.errors import PqmimError
from pqmim.evaluation.codecs import CODECS
from pqmim.evaluation.report.sheets import sheets_of


@pytest.fixture
def photos(here):
    (here / "photos").mkdir()
    rng = np.random.default_rng(1)
    for name in ("a.png", "b.png"):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((64, 48), Image.Resampling.BICUBIC).save(here / "photos" / name)
    return here / "photos"


def test_help_names_every_codec(run, capsysbinary):
    with pytest.raises(SystemExit):
        run("evaluate", "--help")
    words = re.split(r"[\s,=]+", capsysbinary.readouterr().out.decode().split("codecs:")[1])
    assert set(CODECS) <= set(words)


def test_prints_means_and_writes_results(run, photos):
    words = "evaluate photos --codec jpeg --codec webp --json r.json --plot r.svg"
    status, out, err = run(*words.split())
    assert (status, err) == (0, "")
    lines = out.decode().splitlines()
    assert lines[0].split()[:4] == ["codec", "setting", "bytes", "bpp"]
    results = json.loads((photos.parent / "r.json").read_text())
    assert sum(line.startswith(("jpeg ", "webp ")) for line in lines) == sum(
        len(codec["settings"]) for codec in results["codecs"].values()
    )
    assert (photos.parent / "r.svg").read_text().count("<svg") == 1


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["none", "--codec", "jpeg"], "none: not a folder"),
        (["photos", "--codec", "zip"], "zip: no such codec"),
        (["photos", "--codec", "hyperprior"], "train them and name their file"),
        (["photos", "--codec", "vq=no.safetensors"], "no.safetensors: cannot be read"),
        (["photos", "--codec", "jpeg", "--json", "none/r.json"], "there is no folder none"),
        (["photos", "--codec", "jpeg", "--json", "none.json", "--update"], "none.json: cannot be read: No such file"),
        (["photos", "--codec", "jpeg", "--published", "none.json"], "none.json: cannot be read: No such file"),
    ],
)
def test_errors_are_one_sentence(run, photos, words, complaint):
    status, out, err = run("evaluate", *words)
    assert (status, out, err.count("\n")) == (1, b"", 1)
    assert complaint in err
    assert os.listdir() == ["photos"]


def test_results_are_kept_where_nothing_can_be_drawn(run, here):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    (here / "photos").mkdir()
    Image.fromarray(noise).save(here / "photos" / "a.png")  # the least JPEG of so few pixels takes many bits for each
    status, out, err = run(*"evaluate photos --codec jpeg --json r.json --plot r.svg".split())
    assert (status, err.count("\n")) == (1, 1) and "r.svg: nothing to draw: no curve of psnr begins below 1.2" in err
    assert b"jpeg" in out and sorted(os.listdir()) == ["photos", "r.json"]


def test_a_measure_without_a_value_is_a_dash_and_results_come_first(run, photos, monkeypatch):
    at = {"0.15": {"jpeg": {"KD-MobileNetV2": {"value": None, "interval": None}, "PSNR": {"value": 27.123456}}}}
    measured = {"codecs": {}, "bd_rate": {}, "perceptual": {"at": at}}
    monkeypatch.setattr("pqmim.evaluation.run.evaluate", lambda *_: measured)
    status, out, _ = run(*"evaluate photos --codec jpeg --json r.json".split())
    assert status == 0 and out.endswith(b"jpeg at 0.15 bpp: KD-MobileNetV2 -, PSNR 27.12\n")
    monkeypatch.setattr("pqmim.cli.evaluate._table", lambda _: pytest.fail("printed before the results were kept"))
    with pytest.raises(pytest.fail.Exception):
        run(*"evaluate photos --codec jpeg --json again.json".split())
    assert json.loads(Path("again.json").read_text()) == measured


def test_realism_needs_the_networks(run, photos):
    status, _, err = run("evaluate", "photos", "--codec", "jpeg", "--perceptual")
    assert status == 1 and "--features DIR" in err
    (photos.parent / "weights").mkdir()
    status, _, err = run("evaluate", "photos", "--codec", "jpeg", "--perceptual", "--features", "weights")
    assert status == 1 and "squeezenet1_1.safetensors" in err


@pytest.mark.parametrize("option", ["--inception", "--store"])
def test_options_of_realism_alone(run, photos, option, capsysbinary):
    with pytest.raises(SystemExit) as stop:
        run("evaluate", "photos", "--codec", "jpeg", option, "none")
    assert stop.value.code == 2 and f"{option} needs --perceptual" in capsysbinary.readouterr().err.decode()


def test_a_sheet_that_exists_costs_no_work(run, photos, monkeypatch):
    def evaluate(*args):
        raise AssertionError("it was measured")

    (photos.parent / "sheets").mkdir()
    (photos.parent / "sheets" / "b.png").write_bytes(b"precious")
    monkeypatch.setattr("pqmim.evaluation.run.evaluate", evaluate)
    status, _, err = run("evaluate", "photos", "--codec", "jpeg", "--sheets", "sheets")
    assert status == 1 and err.startswith("pqmim: sheets/b.png: exists already")


def test_photos_of_one_stem_have_sheets_of_their_own(tmp_path):
    paths = [Path("a.jpg"), Path("a.png"), Path("b.png")]
    assert [sheet.name for sheet in sheets_of(paths, tmp_path).values()] == ["a.jpg.png", "a.png.png", "b.png"]


def test_the_plot_does_not_wait_for_the_sheets(run, photos, monkeypatch):
    def write_sheets(*args):
        raise PqmimError("no room for sheets")

    monkeypatch.setattr("pqmim.evaluation.report.sheets.write_sheets", write_sheets)
    assert run("evaluate", "photos", "--codec", "webp", "--plot", "r.svg", "--sheets", "sheets")[0] == 1
    assert (photos.parent / "r.svg").exists()


def test_contact_sheets(run, photos):
    words = "evaluate photos --codec jpeg --codec webp --sheets sheets"
    assert run(*words.split())[0] == 0
    sheets = sorted(os.listdir("sheets"))
    assert sheets == sorted(f"{Path(name).stem}.png" for name in os.listdir("photos"))
    with Image.open(Path("sheets", sheets[0])) as sheet, Image.open(Path("photos", os.listdir("photos")[0])) as photo:
        assert sheet.width > 3 * photo.width and sheet.height > 3 * photo.height

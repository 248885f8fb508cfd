"""Perceptual measures of codecs, with networks in miniature."""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from pqmim.errors import InvalidImage
from pqmim.evaluation.networks import Networks
from pqmim.evaluation.perceptual import measure_codec, measure_photos
from pqmim.evaluation.run import Perceptual, perceptual_record
from pqmim.evaluation.store import Store, digest
from pqmim.evaluation.summaries import record, summary

SIZE = (384, 400)  # a patch of the grid, and one of the shifted grid


class Means:
    """Means and deviations of colours, as features."""

    name, sha256 = "Means", "5ha" * 20
    calls = 0

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        flat = pictures.float().flatten(2) / 255
        return torch.cat([flat.mean(2), flat.std(2)], 1)


class Coarse:
    """Pixels in steps; a file is a setting and the pixels."""

    name = coder = "coarse"
    settings = (1, 2, 3)
    versions: ClassVar = {"coarse": "1"}
    encoded = 0

    def __init__(self, name: str = "coarse", tint: int = 0) -> None:
        self.name, self.tint = name, tint

    def encode(self, rgb: np.ndarray, setting: float) -> bytes:
        type(self).encoded += 1
        step = 2 ** (7 - int(setting))
        small = (rgb // step * step + step // 2).astype(np.uint8)
        return bytes([int(setting)]) * int(setting) * 1000 + small.tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        rgb = np.frombuffer(data, np.uint8)[-SIZE[0] * SIZE[1] * 3 :].reshape(*SIZE, 3)
        return np.minimum(rgb.astype(int) + self.tint, 255).astype(np.uint8)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    found = []
    for i in range(5):
        rgb = np.stack([x / 2 + 10 * i, y / 2, 30 * np.sin(x / (5 + i)) + 90], 2).clip(0, 255).astype(np.uint8)
        found.append(tmp_path / f"{i}.png")
        Image.fromarray(rgb).save(found[-1])
    return found


def test_more_bits_are_nearer_and_all_is_kept(paths, tmp_path):
    networks, store = Networks([Means()]), Store(tmp_path / "store")
    photos = measure_photos(paths, networks, store)
    assert photos.patch_photo.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    measured = measure_codec(photos, Coarse(), networks, store)
    assert measured.features["Means"].shape == (3, 10, 6)
    assert set(measured.values) == {"bpp", "PSNR"} and measured.values["PSNR"].shape == (3, 5)
    found = summary(photos, measured, frechet_draws=4)
    for name in ("KD-Means", "FD-Means"):
        values = found.means[name].tolist()
        assert values == sorted(values, reverse=True) and values[0] > 0
    assert found.means["PSNR"].tolist() == sorted(found.means["PSNR"])
    calls, encoded = Means.calls, Coarse.encoded
    again = measure_codec(measure_photos(paths, networks, store), Coarse(), networks, store)
    assert (Means.calls, Coarse.encoded) == (calls, encoded)  # nothing is computed twice
    assert np.array_equal(again.features["Means"], measured.features["Means"])
    tinted = measure_codec(photos, Coarse("tinted", 20), networks, store)
    assert Coarse.encoded == encoded and Means.calls > calls  # another decoder of the same files
    calls, again = Means.calls, Coarse("tinted", 20)
    again.versions = Coarse.versions | {"look": "1"}
    measure_codec(photos, again, networks, store)
    assert Coarse.encoded == encoded and Means.calls > calls  # another look at the same files
    again.versions = Coarse.versions | {"digest": "1"}
    measure_codec(photos, again, networks, store)
    assert Coarse.encoded == encoded + 15  # other weights
    table = record({"coarse": found, "tinted": summary(photos, tinted, 4)}, "coarse")
    assert set(table["codecs"]) == {"coarse", "tinted"} and list(table["at"]) == ["0.07", "0.15", "0.30"]
    row, ranges = (table["codecs"]["coarse"][part][0] for part in ("settings", "intervals"))
    assert row["setting"] == 1 and ranges["KD-Means"][0] <= ranges["KD-Means"][1]


def test_codecs_are_compared_at_equal_rates(paths):
    networks, store = Networks([Means()]), Store()
    photos = measure_photos(paths, networks, store)
    found = {}
    for name, tint in (("coarse", 0), ("tinted", 40)):
        one = summary(photos, measure_codec(photos, Coarse(name, tint), networks, store), 4)
        for table in (one.means, one.samples):  # as if the files were small
            table["bpp"] = np.array([0.05, 0.15, 0.4]).reshape(-1, *[1] * (table["bpp"].ndim - 1)) + 0 * table["bpp"]
        found[name] = one
    table = record(found, "coarse")
    cell = table["at"]["0.15"]["coarse"]["KD-Means"]
    assert cell["value"] == pytest.approx(found["coarse"].means["KD-Means"][1], rel=1e-4)
    against = table["against"]["0.15"]["tinted"]
    assert against["KD-Means"]["percent"] > 0 and against["KD-Means"]["interval"][0] > 0
    assert against["PSNR"]["dB"] < 0 and against["PSNR"]["interval"][1] < 0
    assert against["KD-Means"]["bits"] is None  # the tint stays at every rate
    assert "bpp" not in against and set(table["against"]["0.07"]) == {"tinted"}


def test_a_codec_of_one_rate_is_met_at_that_rate(paths):
    networks, store = Networks([Means()]), Store()
    photos = measure_photos(paths, networks, store)
    curve = summary(photos, measure_codec(photos, Coarse(), networks, store), 4)
    single = Coarse("single", 40)
    single.settings = (2,)
    found = {"coarse": curve, "single": summary(photos, measure_codec(photos, single, networks, store), 4)}
    table = record(found)["beside"]
    assert list(table) == ["single"] and set(table["single"][0]) == {"setting", "bpp", "coarse"}
    cells = table["single"][0]["coarse"]
    assert cells["KD-Means"]["value"] == pytest.approx(
        curve.means["KD-Means"][1], rel=1e-4
    )  # the middle setting's rate
    assert cells["KD-Means"]["percent"] < 0 and cells["KD-Means"]["interval"][1] < 0
    assert cells["PSNR"]["dB"] > 0 and cells["PSNR"]["interval"][0] > 0
    assert record({"coarse": curve})["beside"] == {}


def test_models_of_one_rate_each_are_met_at_theirs(paths):
    networks, store = Networks([Means()]), Store()
    photos = measure_photos(paths, networks, store)
    curve = summary(photos, measure_codec(photos, Coarse(), networks, store), 4)
    models = Coarse("models", 40)
    models.settings = models.settings[:2]
    found = {"coarse": curve, "models": summary(photos, measure_codec(photos, models, networks, store), 4)}
    told = record(found)["beside"]["models"]
    assert [row["setting"] for row in told] == list(models.settings)
    for i, row in enumerate(told):
        assert row["bpp"] == pytest.approx(found["models"].means["bpp"][i], rel=1e-4)
        assert row["coarse"]["KD-Means"]["value"] == pytest.approx(curve.means["KD-Means"][i], rel=1e-4)


class Brightness:
    """Takes a picture for one of ten kinds, by how bright it is; the nearest come first."""

    name, sha256 = "Brightness", "b1" * 32

    def guesses(self, picture: torch.Tensor) -> list[int]:
        value = float(picture.float().mean()) / 25.6
        return sorted(range(10), key=lambda kind: abs(kind + 0.5 - value))


def test_what_pictures_are_taken_for(paths):
    networks, store = Networks([Means()], classifier=Brightness()), Store()  # type: ignore[arg-type]
    photos = measure_photos(paths, networks, store)
    same = measure_codec(photos, Coarse(), networks, store).values["same guess"]
    assert same.shape == (3, 5) and (same == 1).all()
    brighter = measure_codec(photos, Coarse("tinted", 160), networks, store).values["same guess"]
    assert (brighter == 0).any()


def test_photos_without_a_patch(tmp_path):
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.new("RGB", (200, 300)).save(small)
    Image.new("RGB", (400, 400)).save(large)  # two patches, of one photo
    for paths in ([small], [large], [small, large]):
        with pytest.raises(InvalidImage, match="256 x 256"):
            measure_photos(paths, Networks([Means()]), Store())


def test_what_has_no_value_is_left_out_of_comparisons(paths):
    networks, store = Networks([Means()]), Store()
    photos = measure_photos(paths, networks, store)
    one = summary(photos, measure_codec(photos, Coarse(), networks, store), 4)
    one.means["bpp"] = np.array([0.05, 0.15, 0.4])
    one.means["LPIPS"], one.samples["LPIPS"] = one.means["bpp"] * np.nan, one.samples["PSNR"] * np.nan
    single = replace(one, settings=(2,), means={name: values[1:2] for name, values in one.means.items()})
    table = record({"coarse": one, "again": one, "single": single}, "coarse")
    for cells in (
        table["at"]["0.15"]["coarse"],
        table["against"]["0.15"]["again"],
        table["beside"]["single"][0]["coarse"],
    ):
        assert "PSNR" in cells and "LPIPS" not in cells
    assert table["codecs"]["coarse"]["settings"][0]["LPIPS"] is None


def test_draws_of_photos_without_a_patch_do_not_stop_a_summary(paths, tmp_path):
    """One large photo beside small ones is drawn not at all, or once, in some draws."""
    for i, path in enumerate(paths[2:]):
        Image.new("RGB", (100, 100), (i, i, i)).save(path)
    networks, store = Networks([Means()]), Store()
    photos = measure_photos(paths, networks, store)

    class Kept(Coarse):
        def encode(self, rgb, setting):
            self.rgb = rgb
            return bytes([int(setting)])

        def decode(self, data):
            return self.rgb // 2

    found = summary(photos, measure_codec(photos, Kept(), networks, store), 40)
    assert np.isfinite(found.means["FD-Means"]).all() and np.isnan(found.samples["FD-Means"]).any()


def test_another_network_costs_only_its_own_work(tmp_path):
    rgb = np.zeros((4, 4, 3), np.uint8)
    store, made = Store(tmp_path), []

    def picture() -> np.ndarray:
        made.append(1)
        return rgb

    one = {"a@1": lambda x: x.astype(np.float32)}
    assert set(store.arrays("k", one, picture)) == {"a"}
    assert set(store.arrays("k", one | {"b": lambda x: np.float32(3)}, picture)) == {"a", "b"}
    assert store.arrays("k", {"a@2": lambda x: np.float32(7)}, picture)["a"] == 7  # other weights
    assert store.arrays("k", one | {"b": lambda x: np.float32(4)}, picture)["b"] == 3
    assert len(made) == 3
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1})


def test_an_evaluation_has_it_all(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(Networks, "load", classmethod(lambda cls, features, inception: cls([Means()])))
    found = perceptual_record(paths, [Coarse(), Coarse("tinted", 9)], Perceptual("networks", store=tmp_path / "store"))
    assert found["photos"] == 5 and found["patches"] == 10 and found["networks"] == {"Means": Means.sha256}
    assert list(found["codecs"]) == ["coarse", "tinted"] and found["against"]["reference"] == "coarse"
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["arrays", "files"]
    json.dumps(found, allow_nan=False)

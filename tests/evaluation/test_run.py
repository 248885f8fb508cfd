import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pqmim.errors import InvalidImage, OutputError, PqmimError
from pqmim.evaluation import bench, update
from pqmim.evaluation.codecs import make_codec
from pqmim.evaluation.metrics import ms_ssim, psnr
from pqmim.evaluation.published import PublishedCurve
from pqmim.evaluation.results import curve, is_evaluation, read_results, write_results
from pqmim.evaluation.run import Options, Perceptual, evaluate

QUIET = Options(threads=1, progress=False)
MEASURES = {"bytes", "bpp", "psnr", "ms_ssim", "encode_s", "decode_s"}


def photo(height: int, width: int, seed: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    ripples = 20 * np.sin(x * y / 900) + np.random.default_rng(seed).normal(0, 2, (height, width))
    return np.clip(np.stack([x, y, 255 - x], axis=2) + ripples[..., None], 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(photo(240, 320, 0)).save(folder / "b.png")
    Image.fromarray(photo(165, 163, 1)).save(folder / "a.webp", lossless=True)
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return evaluate(folder, ["jpeg", "webp", "jpeg"], QUIET)


def test_every_photo_setting_and_codec_is_there(results):
    assert results["dataset"].startswith("photos")
    assert [image["name"] for image in results["images"]] == ["a.webp", "b.png"]
    assert results["images"][0] == {"name": "a.webp", "width": 163, "height": 165}
    assert list(results["codecs"]) == ["jpeg", "webp"]
    for name, codec in results["codecs"].items():
        settings = list(make_codec(name).settings)
        assert [row["setting"] for row in codec["settings"]] == settings
        for image in results["images"]:
            measures = codec["per_image"][image["name"]]
            assert set(measures) == MEASURES
            assert all(len(values) == len(settings) for values in measures.values())


def test_several_processes_measure_the_same(folder, results):
    found = evaluate(folder, ["jpeg", "webp"], replace(QUIET, jobs=2))
    assert found["machine"]["threads"] == 1
    for name, codec in results["codecs"].items():
        for image, measures in codec["per_image"].items():
            same = found["codecs"][name]["per_image"][image]
            assert all(same[key] == measures[key] for key in MEASURES - {"encode_s", "decode_s"})
            assert all(second > 0 for key in ("encode_s", "decode_s") for second in same[key])


def test_the_measures_are_those_of_the_files(results):
    codec = make_codec("jpeg")
    measures = results["codecs"]["jpeg"]["per_image"]["b.png"]
    for i in (0, 6):
        data = codec.encode(photo(240, 320, 0), codec.settings[i])
        decoded = codec.decode(data)
        assert measures["bytes"][i] == len(data)
        assert measures["bpp"][i] == pytest.approx(8 * len(data) / (240 * 320), abs=1e-5)
        assert measures["psnr"][i] == pytest.approx(psnr(photo(240, 320, 0), decoded), abs=1e-4)
        assert measures["ms_ssim"][i] == pytest.approx(ms_ssim(photo(240, 320, 0), decoded), abs=1e-6)


def test_the_feature_distance_is_a_measure_like_the_others(folder, results, monkeypatch):
    class Distance:
        min_side, sha256 = 164, "5ha"

        def __init__(self, weights, *, device, threads):
            assert (weights, device, threads) == ("w.safetensors", "cpu", 1)

        def __call__(self, a, b):
            return np.abs(a.astype(float) - b).mean() / 255

    module = types.ModuleType("pqmim.evaluation.features")
    module.SqueezeNetDistance = Distance
    monkeypatch.setitem(sys.modules, "pqmim.evaluation.features", module)
    found = evaluate(folder, ["jpeg"], replace(QUIET, features="w.safetensors"))
    assert found["features"] == {"squeezenet": "5ha"} and "features" not in results
    jpeg = found["codecs"]["jpeg"]
    assert set(jpeg["per_image"]["a.webp"]["squeezenet"]) == {None}  # a side of 163
    codec = make_codec("jpeg")
    back = codec.decode(codec.encode(photo(240, 320, 0), codec.settings[0]))
    first = round(Distance.__call__(None, photo(240, 320, 0), back), 5)
    assert jpeg["per_image"]["b.png"]["squeezenet"][0] == jpeg["settings"][0]["squeezenet"] == first > 0


def test_published_curves_are_references(folder, results):
    published = {"One": PublishedCurve(*map(tuple, curve(results["codecs"]["jpeg"])), None, "a paper")}
    found = evaluate(folder, ["jpeg"], replace(QUIET, published=published))
    assert {row["percent"]["jpeg"] for row in found["bd_rate"]["psnr"]["One"].values()} == {0}
    assert "One" not in found["bd_rate"]["ms_ssim"] and "One" not in results["bd_rate"]["psnr"]


def test_earlier_codecs_are_kept(folder, results):
    found = evaluate(folder, ["webp"], replace(QUIET, earlier=results))
    assert list(found["codecs"]) == ["jpeg", "webp"]
    assert found["codecs"]["jpeg"] == results["codecs"]["jpeg"]
    assert all("webp" in row["percent"] for row in found["bd_rate"]["psnr"]["jpeg"].values())


def test_an_update_is_refused_before_anything_is_measured(folder, results, monkeypatch):
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("a photo was measured"))
    larger = [image | {"width": 1000} for image in results["images"]]
    distances = [{"setting": 1, "squeezenet": 0.1}]
    with_distance = results | {"features": {"squeezenet": "5ha"}, "codecs": {"webp": {"settings": distances}}}
    with_table = results | {"perceptual": {"codecs": {"webp": {}, "jpeg": {}}}}
    compared = results | {"bd_rate": {"psnr": {"jpeg": {}, "One": {}}}}
    for earlier, complaint in (
        (results | {"images": []}, "of other photos"),
        (results | {"images": larger}, "of other photos"),
        ({"codecs": {}}, "of other photos"),
        (with_distance, "SqueezeNet distance of webp: measure it with --features"),
        (with_table, "perceptual measures of webp: make them with --perceptual"),
        (compared, "published curve of One: name --published"),
    ):
        with pytest.raises(PqmimError, match=complaint):
            evaluate(folder, ["webp"], replace(QUIET, earlier=earlier))
    table = replace(QUIET, earlier=with_table, perceptual=Perceptual("networks"))
    with pytest.raises(PqmimError, match="also of jpeg: name all their codecs again"):
        evaluate(folder, ["webp"], table)
    with pytest.raises(PqmimError, match="by other weights"):
        update.check(with_distance, results["images"], ["webp"], "another")


def test_an_update_takes_the_published_curves_again(folder, results):
    published = {"One": PublishedCurve(*map(tuple, curve(results["codecs"]["jpeg"])), None, "a paper")}
    compared = results | {"bd_rate": {"psnr": {"jpeg": {}, "One": {}}}}
    found = evaluate(folder, ["webp"], replace(QUIET, earlier=compared, published=published))
    assert set(found["bd_rate"]["psnr"]["One"]) and set(found["codecs"]) == {"jpeg", "webp"}


def test_realism_of_photos_without_two_patches_is_refused_before_anything_is_measured(folder, monkeypatch):
    from pqmim.evaluation.networks import Networks

    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("a photo was measured"))
    monkeypatch.setattr(Networks, "load", classmethod(lambda cls, features, inception: cls([])))
    with pytest.raises(InvalidImage, match="two photos or more"):
        evaluate(folder, ["jpeg"], replace(QUIET, perceptual=Perceptual("networks")))


def test_an_update_keeps_other_measures(folder, results):
    kept = {"features": {"squeezenet": "5ha"}, "perceptual": {"codecs": {"jpeg": {}}}}
    found = evaluate(folder, ["webp"], replace(QUIET, earlier=results | kept))
    assert {name: found[name] for name in kept} == kept


def test_means_are_no_medians(tmp_path):
    """Of three photos, one far from the others."""
    for name, image in (("a", photo(165, 170, 0)), ("b", photo(165, 170, 1)), ("c", np.full((165, 170, 3), 90, "u1"))):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    codec = evaluate(tmp_path, ["jpeg"], QUIET)["codecs"]["jpeg"]
    for key in ("bytes", "bpp", "ms_ssim"):
        values = [measures[key][3] for measures in codec["per_image"].values()]
        assert abs(np.mean(values) - np.median(values)) > 1e-3 * np.mean(values)
        assert codec["settings"][3][key] == pytest.approx(np.mean(values), rel=1e-3)


def test_a_curve_has_the_points_that_were_measured():
    rows = [
        {"bpp": 0.5, "psnr": 30.0, "ms_ssim": 0.99},
        {"bpp": 0.2, "psnr": 25.0, "ms_ssim": 0.9},
        {"bpp": 9.0, "psnr": None, "ms_ssim": 1.0},
    ]
    assert curve({"settings": rows}) == ([0.2, 0.5], [25, 30])
    rates, qualities = curve({"settings": rows}, "ms_ssim")
    assert rates == [0.2, 0.5] and qualities == pytest.approx([10, 20])
    assert curve({"settings": rows}, "squeezenet") == ([], [])


def test_what_an_evaluation_is(results):
    assert is_evaluation(results)
    for other in ([], 3, {}, {"codecs": {}}, {"codecs": {"a": {"bpp": [1]}}}, {**results, "codecs": {}}):
        assert not is_evaluation(other)
    for key in ("dataset", "images", "machine", "versions", "codecs"):
        assert not is_evaluation({name: value for name, value in results.items() if name != key})


def test_means_are_over_images(results):
    codec = results["codecs"]["webp"]
    for i, row in enumerate(codec["settings"]):
        for key in MEASURES:
            values = [measures[key][i] for measures in codec["per_image"].values()]
            assert row[key] == pytest.approx(np.mean(values), abs=0.5 if key == "bytes" else 1e-4)


def test_a_small_picture_has_no_ms_ssim(tmp_path):
    Image.fromarray(photo(40, 60, 2)).save(tmp_path / "small.PNG")
    codec = evaluate(tmp_path, ["webp"], QUIET)["codecs"]["webp"]
    assert set(codec["per_image"]["small.PNG"]["ms_ssim"]) == {None}
    assert {row["ms_ssim"] for row in codec["settings"]} == {None}
    assert all(row["psnr"] > 20 for row in codec["settings"])


def test_no_path_of_this_machine_is_recorded(results, folder):
    assert str(folder.parent) not in json.dumps(results)


def test_json_round_trip_with_a_line_for_each_list(results, tmp_path):
    path = tmp_path / "out.json"
    write_results(results, path)
    assert read_results(path) == results
    lines = path.read_text().splitlines()
    assert sum(line.lstrip().startswith('"encode_s": [') for line in lines) == 4
    assert max(map(len, lines)) < 250
    assert '"dataset"' in lines[1]
    with pytest.raises(OutputError, match="exists already"):
        write_results(results, path)


def test_files_that_are_no_results(tmp_path):
    path = tmp_path / "other.json"
    for text in ("[1, 2]", "{", '{"a": 1}', '{"codecs": 3}'):
        path.write_text(text)
        with pytest.raises(PqmimError, match=r"other\.json: not a file of results"):
            read_results(path)
    with pytest.raises(PqmimError, match=r"none\.json: cannot be read: No such file"):
        read_results(tmp_path / "none.json")


def test_folders_without_photos(tmp_path):
    with pytest.raises(InvalidImage, match="holds no photos"):
        evaluate(tmp_path, ["jpeg"], QUIET)
    with pytest.raises(InvalidImage, match="none: not a folder"):
        evaluate(tmp_path / "none", ["jpeg"], QUIET)
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(InvalidImage, match=r"broken\.png: not an image"):
        evaluate(tmp_path, ["jpeg"], QUIET)


def test_a_lossless_codec_has_no_psnr_and_each_way_has_its_time(monkeypatch):
    now = [5.0]

    class Lossless:
        name, settings, versions = "raw", (1,), {}

        def encode(self, rgb, setting):
            self.rgb = rgb
            now[0] += 2
            return rgb.tobytes()

        def decode(self, data):
            now[0] += 0.25
            return self.rgb

    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    row = bench.measure(Lossless(), photo(20, 30, 0), 1)
    assert row["psnr"] is None and row["bytes"] == 1800 and row["bpp"] == 24
    assert (row["encode_s"], row["decode_s"]) == (2, 0.25)

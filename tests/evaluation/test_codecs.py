import sys
import types

import numpy as np
import pytest
from PIL import Image, features

from pqmim import looks, rivals
from pqmim.errors import PqmimError
from pqmim.evaluation.codecs import CODECS, MissingCodec, files_by_codec, make_codec
from pqmim.evaluation.metrics import psnr

HERE = [name for name in ("jpeg", "webp", "avif", "avif-444") if name == "jpeg" or features.check(name[:4])]


def photo() -> np.ndarray:
    y, x = np.mgrid[:64, :80]
    grain = np.random.default_rng(0).normal(0, 8, (64, 80, 1))
    return np.clip(np.stack([3 * x, 4 * y, 255 - 2 * x], axis=2) + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", HERE)
def test_more_bytes_give_better_pictures(name):
    codec = make_codec(name, threads=1)
    files = [codec.encode(photo(), setting) for setting in codec.settings[::5]]
    qualities = [psnr(photo(), codec.decode(data)) for data in files]
    assert [len(data) for data in files] == sorted(len(data) for data in files)
    assert qualities == sorted(qualities)
    assert qualities[-1] > qualities[0] + 1.5
    assert codec.decode(files[0]).shape == (64, 80, 3)


@pytest.mark.parametrize("name", HERE)
def test_settings_and_versions(name):
    codec = make_codec(name)
    assert 8 <= len(codec.settings) <= 16
    assert list(codec.settings) == sorted(set(codec.settings))
    assert all(isinstance(version, str) and version for version in codec.versions.values())


def test_jpeg_is_progressive_and_subsampled():
    data = make_codec("jpeg").encode(photo(), 50)
    assert b"\xff\xc2" in data  # a progressive frame
    frame = data.index(b"\xff\xc2")
    assert data[frame + 11] == 0x22  # luma sampled twice as often as chroma, both ways


def test_a_codec_that_is_not_here():
    with pytest.raises(
        MissingCodec,
        match="bpg: no such codec: choose from pqmim, pqmim-fast, .*, jpeg, webp, avif, avif-444, jxl, hyperprior",
    ):
        make_codec("bpg")
    assert issubclass(MissingCodec, PqmimError)
    assert {"pqmim", "pqmim-vivid", "jpeg", "webp", "avif", "avif-444", "jxl", *rivals.CODECS} <= set(CODECS)


@pytest.mark.parametrize("name", ["webp", "avif"])
def test_a_pillow_without_a_format(name, monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.raises(MissingCodec, match="Pillow .* here: install"):
        make_codec(name)


def test_jpeg_xl_without_its_plug_in(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(MissingCodec, match="pip install pillow-jxl-plugin"):
        make_codec("jxl")


@pytest.mark.parametrize(
    "name, effort, look",
    [("pqmim", None, 0), ("pqmim-fast", 0, 0), ("pqmim-refined", 16, 0), ("pqmim-look25", None, 0.25)],
)
def test_pqmim_runs_through_the_codec(monkeypatch, name, effort, look):
    class Codec:
        def __init__(self, weights, *, device, threads):
            assert (weights, device, threads) == ("w.safetensors", "cuda", 2)
            self.release = FakeRelease(0x2BC)

        def compress(self, image, quality, *, effort):
            return bytes([quality, 99 if effort is None else effort]) + image.tobytes()

        def decompress(self, data, *, look=0):
            return Image.frombytes("RGB", (80, 64), bytes(round(value * (1 - look)) for value in data[2:]))

    monkeypatch.setitem(sys.modules, "pqmim.codec", types.SimpleNamespace(Codec=Codec))
    codec = make_codec(name, weights="w.safetensors", device="cuda", threads=2)
    data = codec.encode(photo(), codec.settings[-1])
    assert (codec.name, *data[:2]) == (name, 100, 99 if effort is None else effort)
    assert codec.versions["weights"] == "2bc"
    assert np.array_equal(codec.decode(data), np.round(photo() * (1.0 - look)).astype(np.uint8))


def test_looks_share_the_files_of_one_coder(monkeypatch):
    monkeypatch.setitem(sys.modules, "pqmim.codec", types.SimpleNamespace(Codec=FakeCodec))
    coders = {name: make_codec(name).coder for name in ("pqmim", "pqmim-vivid", "pqmim-look50", "pqmim-fast")}
    assert coders == {"pqmim": "pqmim", "pqmim-vivid": "pqmim", "pqmim-look50": "pqmim", "pqmim-fast": "pqmim-fast"}
    assert make_codec("jpeg").coder == "jpeg"


def test_versions_tell_weights_and_looks_apart_that_decide_the_same_codes(monkeypatch):
    monkeypatch.setitem(sys.modules, "pqmim.codec", types.SimpleNamespace(Codec=FakeCodec))
    drawn = {"head": np.ones((2, 2), np.float32)}
    found = []
    for digest, strength in (("a" * 64, 1.0), ("b" * 64, 1.0), ("b" * 64, 0.5)):
        monkeypatch.setattr(FakeCodec, "release", FakeRelease(1, digest))
        look = looks.Look("vivid", drawn, np.full(3, strength, np.float32))
        monkeypatch.setattr(looks, "find", lambda faithful, synthesis, look=look: look)
        plain, vivid = (dict(make_codec(name).versions) for name in ("pqmim", "pqmim-vivid"))
        assert "look" not in plain and {name: vivid[name] for name in plain} == plain
        found.append((plain["digest"], vivid["look"]))
    assert found[0][0] != found[1][0] and found[0][1] == found[1][1] != found[2][1]


class FakeRelease:
    def __init__(self, id, digest="0" * 64):
        self.id, self.digest = id, digest

    def part(self, name):
        return {}

    def digest_of(self, part):
        return self.digest


class FakeCodec:
    release = FakeRelease(1)

    def __init__(self, weights, *, device, threads):
        pass

    def compress(self, image, quality, *, effort):
        return b""


def test_choices_bring_files_of_weights():
    found = files_by_codec(["vq=a", "jpeg", "vq=runs/k=4/b", "jpeg", "hyperprior"])
    assert found == {"vq": ["a", "runs/k=4/b"], "jpeg": [], "hyperprior": []}
    assert list(found) == ["vq", "jpeg", "hyperprior"]


@pytest.mark.parametrize(
    "name, files, complaint",
    [
        ("hyperprior", [], "hyperprior: no weights are in the package"),
        ("vq", [], "vq=FILE"),
        ("hyperprior", ["a", "b"], "name one"),
        ("hyperprior", ["none.safetensors"], r"none\.safetensors: cannot be read"),
        ("vq", ["none.safetensors"], r"none\.safetensors: cannot be read"),
        ("jpeg", ["a"], "jpeg: takes no file of weights"),
        ("pqmim", ["a"], "pqmim: takes no file of weights"),
        ("bpg", ["a"], "bpg: no such codec"),
    ],
)
def test_rivals_need_weights(name, files, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PqmimError, match=complaint) as error:
        make_codec(name, files)
    assert "\n" not in str(error.value)


def test_sizes_in_place_of_qualities():
    sized, vivid = (make_codec(name, threads=1) for name in ("pqmim-sized", "pqmim-sized-vivid"))
    assert sized.coder == vivid.coder == "pqmim-sized" and sized.settings[0] == 200
    data = sized.encode(photo(), 200)
    assert len(data) == 200
    assert not np.array_equal(sized.decode(data), vivid.decode(data))

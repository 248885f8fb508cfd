"""Files of both rivals: any picture comes back as the encoder's reconstruction, and damage never passes."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pqmim import rivals
from pqmim.errors import DamagedFile, PqmimError, UnsupportedFile
from pqmim.evaluation.metrics import psnr
from pqmim.rivals.hyperprior.files import FINE, HyperpriorFiles
from pqmim.rivals.vq.files import VqFiles

SIZES = [(1, 1), (37, 50), (16, 16), (1, 70), (64, 65)]


@pytest.fixture(scope="module")
def hyper(hyperprior_file):
    return HyperpriorFiles(hyperprior_file)


@pytest.fixture(scope="module")
def vanilla(vq_file):
    return VqFiles([vq_file])


@pytest.fixture(params=["hyperprior", "vq"])
def codec(request, hyper, vanilla):
    return hyper if request.param == "hyperprior" else vanilla


def noise(height, width):
    return np.random.default_rng(0).integers(60, 200, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("setting", [0, 0.5, 1.3125, 2])
def test_hyperprior_decodes_to_the_reconstruction_of_its_encoder(hyper, height, width, setting):
    picture = noise(height, width)
    level = round(FINE * (2 - setting))
    found = hyper.symbols(picture, level)
    decoded = hyper.decode(hyper.encode(picture, setting))
    assert decoded.dtype == np.uint8 and decoded.shape == picture.shape
    assert np.array_equal(decoded, hyper.picture(found.residual + found.mean, level, height, width))


@pytest.mark.parametrize("height, width", SIZES)
def test_vq_decodes_to_the_reconstruction_of_its_encoder(vanilla, height, width):
    picture = noise(height, width)
    decoded = vanilla.decode(vanilla.encode(picture, 5))
    assert decoded.dtype == np.uint8 and decoded.shape == picture.shape
    assert np.array_equal(decoded, vanilla.picture(vanilla.codes(picture, 5), 5, height, width))


def test_settings_are_a_dial(hyper, photo):
    files = [hyper.encode(photo, setting) for setting in hyper.settings]
    fidelity = [psnr(hyper.decode(data), photo) for data in files]
    assert list(hyper.settings) == [0, 0.5, 1, 1.5, 2]
    assert [len(data) for data in files] == sorted(len(data) for data in files)
    assert fidelity == sorted(fidelity) and fidelity[-1] > fidelity[0] + 3


def test_the_size_of_a_file_is_its_rate(hyper, hyperprior, photo):
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    for setting in (0, 1, 2):
        with torch.no_grad():
            _, rate = hyperprior(image, torch.tensor([2.0 - setting]))
        bits = 8 * (len(hyper.encode(photo, setting)) - 8)  # less header and check
        assert bits == pytest.approx(rate.item() * image.numel(), rel=0.03, abs=24)


def test_the_same_weights_give_the_same_file(codec, photo, hyperprior_file, vq_file):
    other = HyperpriorFiles(hyperprior_file) if codec.name == "hyperprior" else VqFiles([vq_file])
    setting = codec.settings[-1]
    assert codec.encode(photo, setting) == codec.encode(photo, setting) == other.encode(photo, setting)
    assert codec.digest == other.digest and len(codec.digest) == 8


def test_latents_beyond_the_tables_escape(hyper, photo, monkeypatch):
    expected = hyper.expected
    monkeypatch.setattr(hyper, "expected", lambda *a: (expected(*a)[0] + 3000.25, np.full_like(expected(*a)[1], 0.05)))
    crop = photo[:20, :20]
    found = hyper.symbols(crop, 0)
    assert abs(found.residual).min() > 2000
    assert np.array_equal(hyper.decode(hyper.encode(crop, 2)), hyper.picture(found.residual + found.mean, 0, 20, 20))


def test_headers_are_small(codec):
    assert len(codec.encode(noise(1, 1), codec.settings[0])) < 24
    data = codec.encode(np.zeros((512, 768, 3), np.uint8), codec.settings[0])
    assert data[:2] == codec.magic and data[3:7] == bytes([0x80, 0x06, 0x80, 0x04])  # 768 and 512 in base 128


def test_no_damage_passes(codec, photo):
    crop = photo[:48, :64]
    data = codec.encode(crop, codec.settings[-1])
    whole = codec.decode(data)
    rng = np.random.default_rng(1)
    for bit in [*range(16), *rng.choice(np.arange(16, 8 * len(data)), 40, replace=False)]:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PqmimError):
            assert not np.array_equal(codec.decode(bytes(damaged)), whole)


def test_no_cut_passes(codec, photo):
    data = codec.encode(photo[:48, :64], codec.settings[-1])
    for end in sorted({*range(10), *range(10, len(data), max(1, len(data) // 20)), len(data) - 1}):
        with pytest.raises((DamagedFile, UnsupportedFile)):
            codec.decode(data[:end])


def test_absurd_sizes_cost_nothing(codec):
    setting = int(codec.settings[0])
    for sides in (b"\xff\xff\x03\xff\xff\x03", b"\xff\xff\xff\xff\x01\x01", b"\x00\x01", b"\xff\x7f\xff\x7f"):
        with pytest.raises(PqmimError):
            codec.decode(codec.magic + bytes([setting]) + sides + bytes(12))


def test_settings_that_do_not_exist(codec, photo):
    for setting in (-1, 2.1, 13):
        with pytest.raises(ValueError, match="a setting of"):
            codec.encode(photo, setting)


def test_files_of_other_weights(hyper, vanilla, photo):
    data = bytearray(vanilla.encode(photo, 5))
    with pytest.raises(UnsupportedFile, match="not a file of hyperprior"):
        hyper.decode(bytes(data))
    data[2] = 9
    with pytest.raises(UnsupportedFile, match="codes of 9 bits"):
        vanilla.decode(bytes(data))
    data = bytearray(hyper.encode(photo, 1))
    data[2] = 100
    with pytest.raises(UnsupportedFile, match=r"rate level 6\.25"):
        hyper.decode(bytes(data))


def test_weights_that_are_none_of_a_rival(hyperprior_file, vq_file, tmp_path):
    with pytest.raises(PqmimError, match="weights of kind vq, where hyperprior was asked for"):
        HyperpriorFiles(vq_file)
    with pytest.raises(PqmimError, match="a second model of 5 bits"):
        VqFiles([vq_file, vq_file])
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\0" * 100)
    with pytest.raises(PqmimError, match=r"bad\.safetensors: not weights of a rival"):
        HyperpriorFiles(bad)
    save_file(load_file(hyperprior_file), bad)  # no record of what it is
    with pytest.raises(PqmimError, match="not weights of a rival"):
        HyperpriorFiles(bad)
    bad.write_bytes(hyperprior_file.read_bytes()[:-50])
    with pytest.raises(PqmimError, match="not weights of a rival"):
        HyperpriorFiles(bad)
    with pytest.raises(PqmimError, match=r"none\.safetensors: cannot be read"):
        VqFiles([tmp_path / "none.safetensors"])


def test_weights_hold_integer_tables(hyperprior_file, vq_file):
    stored = load_file(hyperprior_file)
    assert stored["tables.hyper"].dtype == torch.int32 and stored["tables.hyper"].shape == (3, 8, 256)
    assert (stored["tables.hyper"].diff(dim=-1) >= 1).all() and (stored["tables.hyper"][..., -1] == 65536).all()
    codes = load_file(vq_file)["tables.codes"]
    assert codes.dtype == torch.int32 and codes.shape == (33,) and (codes.diff() >= 1).all() and codes[-1] == 65536


def test_fractional_levels_blend_the_tables(hyper):
    for level in range(2 * FINE + 1):
        cumulative, row = hyper.hyper_rows(level, (8, 2, 3))
        assert (np.diff(cumulative) >= 1).all() and (cumulative[:, 0] == 0).all() and (cumulative[:, -1] == 65536).all()
        assert row.tolist() == sorted(list(range(8)) * 6)
    assert np.array_equal(hyper.hyper_rows(FINE, (8, 1, 1))[0], hyper.hyper_tables[1])
    assert not np.array_equal(hyper.hyper_rows(FINE + 3, (8, 1, 1))[0], hyper.hyper_tables[1])


def test_refined_files_cost_less(hyperprior_file, photo):
    plain, refined = (
        rivals.CODECS[name].open_codec(name, [hyperprior_file]) for name in ("hyperprior", "hyperprior-refined")
    )
    crop = photo[:64, :96]
    for setting, price in ((0, 51000), (1, 4700), (2, 430)):
        costs = []
        for codec in (plain, refined):
            data = codec.encode(crop, setting)
            costs.append(np.square(codec.decode(data).astype(float) - crop).sum() + price * 8 * len(data))
        assert costs[1] < costs[0]
    assert np.array_equal(plain.decode(data), refined.decode(data))  # files are of one kind

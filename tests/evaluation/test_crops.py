import types

import numpy as np
import pytest
from PIL import Image

from pqmim.errors import InvalidImage
from pqmim.evaluation.codecs import make_codec
from pqmim.evaluation.metrics import psnr
from pqmim.evaluation.report import crops
from pqmim.evaluation.report.crops import RATES, SIDE, examples, nearest_size


def photo(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """Smooth but for a square of noise, 64 pixels wide, low on the right."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x % 256, y, 255 - y], axis=2).astype(np.uint8)
    rgb[-80:-16, -80:-16] = np.random.default_rng(seed).integers(0, 256, (64, 64, 3))
    return rgb


class Grey:
    """Takes the size that it is asked for, and gives back nothing but grey."""

    def compress(self, rgb, *, size):
        self.shape = rgb.shape
        return bytes(size)

    def decompress(self, data):
        return Image.new("RGB", (self.shape[1], self.shape[0]), (128, 128, 128))


@pytest.fixture
def folder(tmp_path):
    for i in range(5):
        Image.fromarray(photo(i)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_photos_from_the_whole_folder_at_equal_bytes(folder):
    others = [make_codec("jpeg"), make_codec("webp")]
    found = examples(folder, Grey(), others)
    assert [example.photo for example in found] == ["0.png", "2.png", "4.png"]
    for i, example in zip((0, 2, 4), found):
        assert (example.width, example.height, example.rgb.shape) == (320, 240, (SIDE, SIDE, 3))
        assert len(example.rows) == len(RATES)
        for row in example.rows:
            assert [crop.codec for crop in row] == ["pqmim", "jpeg", "webp"]
            assert row[0].bytes == min(row[1].bytes, row[2].bytes)
            assert row[0].psnr == pytest.approx(psnr(photo(i), np.full((240, 320, 3), 128, np.uint8)))
            assert all(crop.rgb.shape == example.rgb.shape for crop in row)
        assert example.rows[0][1].bytes < example.rows[-1][1].bytes


def test_the_part_with_most_detail_is_shown(monkeypatch, folder):
    monkeypatch.setattr(crops, "SIDE", 64)
    rgb = examples(folder, Grey(), [make_codec("jpeg")])[0].rgb
    assert np.array_equal(rgb, photo(0)[-80:-16, -80:-16])


def test_a_photo_smaller_than_a_crop(tmp_path):
    Image.fromarray(photo(0, 100, 320)).save(tmp_path / "low.png")
    (example,) = examples(tmp_path, Grey(), [make_codec("jpeg")])
    assert example.rgb.shape == example.rows[0][0].rgb.shape == (100, SIDE, 3)


@pytest.mark.parametrize("size", [1, 300, 451, 10**6])
def test_the_file_whose_size_is_nearest(size):
    class Steps:
        def encode(self, rgb, quality):
            return bytes(100 + 7 * quality)

    assert len(nearest_size(Steps(), photo(0), size)) == {1: 100, 300: 303, 451: 450, 10**6: 800}[size]


def test_what_cannot_be_shown(tmp_path):
    with pytest.raises(InvalidImage, match="holds no photos"):
        examples(tmp_path, Grey(), [types.SimpleNamespace()])
    with pytest.raises(ValueError, match="another codec"):
        examples(tmp_path, Grey(), [])

"""benchmarks/entropy.py and benchmarks/prefix.py on a codec in miniature: each figure is its definition."""

import runpy
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HEADER, FRAME = 8, 12


class Codec:
    """Codes are two planes of random numbers, 8 bits each; a file holds them as they are, after a header."""

    def __init__(self) -> None:
        self.release = types.SimpleNamespace(
            id=0x3B6,
            record=types.SimpleNamespace(dimensions=(1, 1, 1), codewords=4, active=[2] * 101, rates=[0.5] * 101),
            part=lambda name: {"log2_probability": np.log2([[[0.4, 0.3, 0.2, 0.1]] * 3, [[0.1, 0.2, 0.3, 0.4]] * 3])},
        )

    def encode(self, image, quality):
        seed = int(Path(image).stem)
        self.now = np.random.default_rng(seed).integers(0, 4, (3, 5, 6), dtype=np.uint8)
        return types.SimpleNamespace(data=bytes(FRAME) + self.now[:2].tobytes(), quality=quality)

    def codes(self, data):
        return self.now

    def ideal_bits(self, codes, quality):
        return np.full(3, 8.0 * codes[0].size) * [1, 1, 0]


def test_static_frequencies_are_charged_for_the_same_codes(tmp_path):
    module = runpy.run_path(str(BENCHMARKS / "entropy.py"))
    codec, photos = Codec(), [tmp_path / "1.png", tmp_path / "2.png"]
    found = module["measure"](codec, photos, 50)
    codes = np.stack([np.random.default_rng(seed).integers(0, 4, (3, 5, 6), dtype=np.uint8) for seed in (1, 2)], 1)[
        :2
    ].reshape(2, -1)
    mixed = np.sqrt(np.array([0.4, 0.3, 0.2, 0.1]) * [0.1, 0.2, 0.3, 0.4])  # half way in the logarithm
    mixed /= mixed.sum()
    static = -np.log2(mixed[codes]).sum() / 8 / 2
    counts = np.stack([np.bincount(row, minlength=4) for row in codes])
    oracle = -(counts * np.log2(counts / counts.sum(1, keepdims=True))).sum() / 8 / 2
    assert found["active"] == 2 and found["fixed_bytes"] == 2 * 30
    assert found["bytes"] == 60 + FRAME and found["ideal_bytes"] == 60 and found["real_over_ideal_bytes"] == FRAME
    assert found["static_bytes"] == pytest.approx(static, abs=1e-4)
    assert found["oracle_static_bytes"] == pytest.approx(oracle, abs=1e-4)
    assert found["real_over_static"] == pytest.approx((60 + FRAME) / (static + FRAME) - 1, abs=1e-4)
    assert found["real_over_oracle_static"] > found["real_over_static"]


class Growing:
    """A file of 1,000 bytes; its first bytes give the photo with less contrast, and a tint that fades."""

    def __init__(self, photo: np.ndarray) -> None:
        self.photo = photo

    def encode(self, image, quality=50, *, size=1000):
        return types.SimpleNamespace(data=bytes([size == 1000]) * size)

    def receive(self, data):
        return data

    def render(self, data):
        share = 1 if not data[0] else len(data) / 1000
        rgb = share * self.photo + (1 - share) * np.array([128, 128, 200])
        return types.SimpleNamespace(image=Image.fromarray(rgb.round().astype(np.uint8)))


def test_prefixes_beside_files_made_for_their_size(monkeypatch):
    import pqmim

    monkeypatch.setattr(pqmim, "info", lambda data: {"header_bytes": HEADER})
    y, x = np.mgrid[:64, :96]
    photo = np.stack([x * 2, y * 3, x + y], 2).astype(np.uint8)
    module = runpy.run_path(str(BENCHMARKS / "prefix.py"))
    found = module["one"](Growing(photo), Image.fromarray(photo))
    assert found["psnr"][:-1] == sorted(found["psnr"][:-1]) and found["psnr"][-1] == np.inf
    assert found["colour"] == sorted(found["colour"], reverse=True) and found["colour"][-1] == 0
    assert found["made"] == [np.inf] * 3 and found["made_colour"] == [0] * 3

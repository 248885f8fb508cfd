import math
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from pqmim.evaluation.metrics import MS_SSIM_MIN_SIDE, SCALE_WEIGHTS, colour_error, ms_ssim, ms_ssim_db, psnr

ROOT = Path(__file__).parents[2]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth shapes with some grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 20
    waves = [np.sin(x * a + y * b) for a, b in rng.normal(size=(3, 2))]
    grain = rng.normal(0, 6, (height, width, 3))
    return np.clip(128 + 70 * np.stack(waves, axis=2) + grain, 0, 255).astype(np.uint8)


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(9).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def direct_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """The definition as it is written: two-dimensional windows, central moments, one window at a time in the sums."""
    grid = np.arange(11) - 5
    window = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def weighted(values: np.ndarray) -> np.ndarray:
        return np.einsum("ijuv,uv->ij", values, window)[..., None, None]

    channels = []
    for x, y in zip(a.transpose(2, 0, 1).astype(float), b.transpose(2, 0, 1).astype(float)):
        value = 1.0
        for scale, weight in enumerate(SCALE_WEIGHTS):
            p, q = sliding_window_view(x, (11, 11)), sliding_window_view(y, (11, 11))
            mean_p, mean_q = weighted(p), weighted(q)
            variances = weighted((p - mean_p) ** 2) + weighted((q - mean_q) ** 2)
            term = (2 * weighted((p - mean_p) * (q - mean_q)) + c2) / (variances + c2)
            if scale == 4:
                term *= (2 * mean_p * mean_q + c1) / (mean_p**2 + mean_q**2 + c1)
            value *= max(term.mean(), 0) ** weight
            x, y = halved(x), halved(y)
        channels.append(value)
    return float(np.mean(channels))


def halved(x: np.ndarray) -> np.ndarray:
    rows, columns = (np.minimum(np.arange(0, side, 2)[:, None] + [0, 1], side - 1) for side in x.shape)
    return x[rows[:, None, :, None], columns[None, :, None, :]].mean(axis=(2, 3))


def test_psnr_of_a_constant_error():
    a = np.full((5, 7, 3), 100, np.uint8)
    for error in (1, 2, 100):
        assert psnr(a, a - np.uint8(error)) == pytest.approx(20 * math.log10(255 / error))
        assert psnr(a - np.uint8(error), a) == psnr(a, a - np.uint8(error))
    assert psnr(a, a) == math.inf
    assert psnr(np.zeros_like(a), np.full_like(a, 255)) == 0


def test_psnr_of_one_wrong_sample():
    a = np.zeros((10, 10, 3), np.uint8)
    b = a.copy()
    b[3, 4, 1] = 30
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2 / (900 / 300)))


def test_ms_ssim_of_equal_pictures_is_one():
    for shape in ((161, 200), (203, 161)):
        assert ms_ssim(photo(*shape), photo(*shape)) == pytest.approx(1, abs=1e-12)


def test_ms_ssim_is_symmetric_and_falls_with_noise():
    a = photo(180, 170)
    values = [ms_ssim(a, noisy(a, sigma)) for sigma in (2, 10, 40, 120)]
    assert values == sorted(values, reverse=True)
    assert 0 < values[-1] < 0.8 and values[0] > 0.98
    assert ms_ssim(noisy(a, 10), a) == pytest.approx(values[1], abs=1e-12)


def test_ms_ssim_of_two_greys_is_the_luminance_term_of_the_last_scale():
    a, b = np.full((161, 161, 3), 100, np.uint8), np.full((161, 161, 3), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert ms_ssim(a, b) == pytest.approx(luminance ** SCALE_WEIGHTS[4], abs=1e-9)


def test_ms_ssim_of_a_negative_is_zero_and_no_error():
    a = photo(161, 161)
    assert ms_ssim(a, 255 - a) == 0


def test_ms_ssim_agrees_with_its_definition():
    a = photo(161, 162)
    b = noisy(a, 25)
    assert ms_ssim(a, b) == pytest.approx(direct_ms_ssim(a, b), abs=1e-9)


def demo_photo(height: int, width: int) -> np.ndarray:
    return np.asarray(Image.open(ROOT / "demo" / "coffee.png").convert("RGB"))[96 : 96 + height, 100 : 100 + width]


def test_ms_ssim_repeats_the_last_row_and_column_of_odd_scales():
    a = photo(163, 165)  # 82 and 83, 41 and 42, 21 and 21, 11 and 11
    b = noisy(a, 25)
    assert ms_ssim(a, b) == pytest.approx(direct_ms_ssim(a, b), abs=1e-9)


@pytest.mark.parametrize(
    "change, value",
    [
        (lambda a: a // 24 * 24 + 12, 0.9610663590812983),
        (lambda a: np.roll(a, 1, axis=1), 0.9704460777378351),
        (lambda a: a // 2 + 20, 0.8530420031880753),
    ],
    ids=["coarse", "shifted", "dark"],
)
def test_ms_ssim_agrees_with_a_known_library(change, value):
    """Values of pytorch-msssim 1.0.0, in float64 with windows of float32: 2e-6 is what that rounding leaves.

    Sides that halve four times, since libraries part over the last row of an odd one.
    """
    a = demo_photo(192, 256)
    assert ms_ssim(a, change(a).astype(np.uint8)) == pytest.approx(value, abs=2e-6)


def test_ms_ssim_needs_161_pixels():
    assert MS_SSIM_MIN_SIDE == 161
    with pytest.raises(ValueError, match="161 pixels or more, not 300x160"):
        ms_ssim(photo(160, 300), photo(160, 300))


def test_shapes_have_to_agree():
    for metric in (psnr, ms_ssim):
        with pytest.raises(ValueError, match="one shape"):
            metric(np.zeros((170, 170, 3), np.uint8), np.zeros((170, 171, 3), np.uint8))


def test_ms_ssim_db():
    assert ms_ssim_db(0.99) == pytest.approx(20)
    assert ms_ssim_db(0) == 0
    assert ms_ssim_db(1) == math.inf


def test_the_colour_error_sees_colours_and_no_detail():
    rng = np.random.default_rng(0)
    a = np.full((64, 80, 3), (90, 120, 60), np.uint8)
    grain = np.clip(a + np.tile(rng.choice([-40, 40], (16, 16, 1)), (4, 5, 1)), 0, 255).astype(np.uint8)
    grain -= (
        (grain.reshape(4, 16, 5, 16, 3).mean((1, 3)) - a[:4, :5])
        .round()
        .astype(int)
        .repeat(16, 0)
        .repeat(16, 1)
        .astype(np.uint8)
    )
    assert colour_error(a, a) == 0
    assert colour_error(a, grain) < 1 < colour_error(a, a + np.uint8(20))
    assert colour_error(a[:50, :70], a[:50, :70] + np.uint8(20)) == pytest.approx(colour_error(a, a + np.uint8(20)))


def between_greys(first: int, second: int) -> float:
    """CIEDE2000 of two greys, which is that of their lightness, weighed by S_L."""
    linear = [((value / 255 + 0.055) / 1.055) ** 2.4 for value in (first, second)]
    light = [116 * value ** (1 / 3) - 16 for value in linear]
    middle = (sum(light) / 2 - 50) ** 2
    return abs(light[1] - light[0]) / (1 + 0.015 * middle / math.sqrt(20 + middle))


def test_the_colour_error_is_ciede2000():
    a, b = np.full((16, 16, 3), 124, np.uint8), np.full((16, 16, 3), 137, np.uint8)
    assert colour_error(a, b) == pytest.approx(between_greys(124, 137), rel=1e-6)


def test_the_colour_error_is_that_of_squares_of_16_pixels():
    board = np.array([[124, 137], [137, 124]], np.uint8)
    a = np.repeat(np.kron(board, np.ones((16, 16), np.uint8))[..., None], 3, axis=2)
    assert colour_error(a, a[::-1]) == pytest.approx(between_greys(124, 137), rel=1e-6)
    assert colour_error(a, a[::-1], shrink=8) == pytest.approx(between_greys(124, 137), rel=1e-6)
    assert colour_error(a, a[::-1], shrink=32) == 0


def test_what_does_not_fill_a_square_repeats_the_border():
    a = np.full((33, 16, 3), 124, np.uint8)
    b = a.copy()
    b[32] = 137
    assert colour_error(a, b) == pytest.approx(between_greys(124, 137) / 3, rel=1e-6)
    turned_a, turned_b = (np.ascontiguousarray(picture.swapaxes(0, 1)) for picture in (a, b))
    assert colour_error(turned_a, turned_b) == pytest.approx(between_greys(124, 137) / 3, rel=1e-6)

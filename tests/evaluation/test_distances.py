"""Fréchet and kernel distances against their definitions."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from pqmim.evaluation.distances import KernelSums, draws, frechet_distance, interval, kernel_distance, patches


def features(seed: int, count: int = 60, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return shift + scale * rng.normal(size=(count, 12)) @ rng.normal(size=(12, 12)) / 3


@pytest.mark.parametrize(
    "shape, count",
    [((512, 768), 8), ((768, 512), 8), ((256, 256), 1), ((255, 900), 0), ((383, 600), 2), ((384, 384), 2)],
)
def test_patches_are_hific_s(shape, count):
    rgb = np.arange(np.prod(shape) * 3, dtype=np.uint32).astype(np.uint8).reshape(*shape, 3)
    found = patches(rgb)
    assert found.shape == (count, 256, 256, 3)
    if count == 8:
        assert np.array_equal(found[0], rgb[:256, :256])
        assert np.array_equal(found[6], rgb[128:384, 128:384])  # the first of the shifted grid


def test_960_patches_of_120_photos():
    assert 120 * len(patches(np.zeros((512, 768, 3), np.uint8))) == 960


def test_the_frechet_distance_is_its_definition():
    x, y = features(0, 40), features(1, 50, 0.3)
    product = sqrtm(np.cov(x.T) @ np.cov(y.T))
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * np.real(product))
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x))


def test_the_frechet_distance_of_shifted_features_is_the_shift():
    x = features(0)
    assert frechet_distance(x, x + 2) == pytest.approx(12 * 4)


def direct_kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate as a sum over pairs."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / len(a) + 1) ** 3

    n = len(x)
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j)
    between = sum(kernel(x[i], y[j]) for i in range(n) for j in range(n))
    return within / (n * (n - 1)) - 2 * between / n**2


def test_kid_is_its_definition():
    x, y = features(0, 20), features(1, 20, 0.3)
    assert kernel_distance(x, y) == pytest.approx(direct_kernel_distance(x, y))


def test_the_kernel_distance_over_photos_takes_pairs_of_different_photos_alone():
    x, y, photos = features(0, 12), features(1, 12, 0.3), np.repeat(np.arange(4), 3)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / len(a) + 1) ** 3

    pairs = [(i, j) for i in range(12) for j in range(12) if photos[i] != photos[j]]
    h = [kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i]) for i, j in pairs]
    assert KernelSums.of(x, y, photos).distance() == pytest.approx(np.mean(h))


def test_both_are_unbiased_and_only_ours_where_pictures_come_from_their_originals():
    rng = np.random.default_rng(0)
    photos = np.arange(10)
    apart, paired, usual = [], [], []
    for _ in range(400):
        x, y, noise = rng.normal(size=(3, 10, 6))
        apart.append(kernel_distance(x, y))
        coded = np.sqrt(0.5) * (x + noise)  # of the same distribution as x
        paired.append(KernelSums.of(x, coded, photos).distance())
        usual.append(kernel_distance(x, coded))
    for found in (apart, paired):
        assert abs(np.mean(found)) < 3 * np.std(found) / 20
    assert np.mean(usual) < -3 * np.std(usual) / 20


def test_photos_that_are_left_out_do_not_count():
    x, y, photos = features(0, 24), features(1, 24, 0.3), np.repeat(np.arange(6), 4)
    kept = photos < 4
    weights = np.array([1, 1, 1, 1, 0, 0])
    expected = KernelSums.of(x[kept], y[kept], photos[kept]).distance()
    assert KernelSums.of(x, y, photos).distance(weights) == pytest.approx(expected)


def test_copies_of_photos_do_not_pull_the_distance_up():
    x, photos = features(0, 40), np.repeat(np.arange(10), 4)
    sums = KernelSums.of(x, x + 0.1 * features(2, 40), photos)
    drawn = [sums.distance(weights) for weights in draws(10, 400)]
    assert np.mean(drawn) == pytest.approx(sums.distance(), abs=0.3 * np.std(drawn))
    assert sums.distance(np.full(10, 3)) == pytest.approx(sums.distance())


def test_draws_are_the_same_every_time():
    first, again = list(draws(7, 3)), list(draws(7, 5))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=False))
    assert all(weights.sum() == 7 for weights in again)
    assert interval(np.arange(1001.0)) == (25, 975)


def test_one_photo_has_no_distance():
    x = features(0, 8)
    assert np.isnan(KernelSums.of(x, x + 1, np.zeros(8, np.int64)).distance())
    assert np.isnan(frechet_distance(x[:1], x[:1])) and np.isnan(frechet_distance(x[:0], x[:0]))

import numpy as np
import pytest

from pqmim.evaluation.metrics import psnr
from pqmim.image.scale import enlarge, shrink


@pytest.mark.parametrize(
    "height, width, scale, small",
    [(40, 30, 1, (20, 15)), (41, 29, 1, (21, 15)), (9, 1, 3, (2, 1)), (100, 71, 3, (13, 9))],
)
def test_sizes_are_rounded_up_and_come_back(height, width, scale, small):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert shrink(rgb, scale).shape == (*small, 3)
    assert enlarge(shrink(rgb, scale), width, height).shape == rgb.shape


def test_full_size_is_left_alone():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert shrink(rgb, 0) is rgb
    assert enlarge(rgb, 7, 5) is rgb


def test_smooth_pictures_survive():
    y, x = np.mgrid[:64, :96]
    rgb = np.stack([x * 2, y * 3, x + y], -1).astype(np.uint8)
    assert psnr(enlarge(shrink(rgb, 2), 96, 64), rgb) > 38

"""Pictures that must come back exactly."""

import numpy as np
import pytest

from pqmim.image.plain import is_grey, pack_colour


def test_one_pixel_of_colour_is_no_grey():
    rgb = np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), 3, axis=2)
    assert is_grey(rgb)
    for channel in range(3):
        tinted = rgb.copy()
        tinted[2, 3, channel] += 1
        assert not is_grey(tinted)


@pytest.mark.parametrize(("colour", "packed"), [((9, 9, 9), b"\x09"), ((255, 0, 7), b"\xff\x00\x07")])
def test_flat_pictures(colour, packed):
    rgb = np.broadcast_to(np.array(colour, np.uint8), (5, 4, 3)).copy()
    assert pack_colour(rgb) == packed
    rgb[4, 3, 1] ^= 1
    assert pack_colour(rgb) is None


def test_one_pixel_is_flat():
    rgb = np.array([[[9, 8, 7]]], np.uint8)
    assert pack_colour(rgb) == b"\x09\x08\x07"

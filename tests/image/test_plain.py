"""Pictures that must come back exactly."""

import numpy as np
import pytest

from pqmim.errors import DamagedFile
from pqmim.image.plain import greyed, is_grey, pack_colour, unpack_colour


def test_one_pixel_of_colour_is_no_grey():
    rgb = np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), 3, axis=2)
    assert is_grey(rgb)
    for channel in range(3):
        tinted = rgb.copy()
        tinted[2, 3, channel] += 1
        assert not is_grey(tinted)


def test_grey_stays_as_it_is_and_colour_becomes_its_luma():
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 256, 1), 3, axis=2)
    assert np.array_equal(greyed(grey), grey)
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    assert greyed(colours)[0].tolist() == [[76] * 3, [150] * 3, [29] * 3, [18] * 3]


@pytest.mark.parametrize(("colour", "packed"), [((9, 9, 9), b"\x09"), ((255, 0, 7), b"\xff\x00\x07")])
def test_flat_pictures(colour, packed):
    rgb = np.broadcast_to(np.array(colour, np.uint8), (5, 4, 3)).copy()
    assert pack_colour(rgb) == packed
    assert np.array_equal(unpack_colour(packed, 5, 4), rgb)
    rgb[4, 3, 1] ^= 1
    assert pack_colour(rgb) is None


def test_one_pixel_is_flat():
    rgb = np.array([[[9, 8, 7]]], np.uint8)
    assert pack_colour(rgb) == b"\x09\x08\x07"
    assert np.array_equal(unpack_colour(b"\x09\x08\x07", 1, 1), rgb)


@pytest.mark.parametrize("data", [b"", b"12", b"1234"])
def test_what_is_no_colour_is_damage(data):
    with pytest.raises(DamagedFile, match="1 or 3 bytes"):
        unpack_colour(data, 2, 2)

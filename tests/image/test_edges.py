"""Where a picture is just this, and no more that."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from pqmim.image.contact_sheet import Cell, contact_sheet
from pqmim.image.picture import read_picture


@pytest.mark.parametrize("alpha", [249, 250, 253, 254])
@pytest.mark.parametrize("form", ["array", "RGBA", "LA", "PNG"])
def test_nearly_opaque_is_not_opaque(alpha, form):
    rgba = np.full((4, 5, 4), 200, np.uint8)
    rgba[..., 3] = 255
    rgba[2, 3, 3] = alpha
    source = {"array": rgba, "RGBA": Image.fromarray(rgba), "LA": Image.fromarray(rgba).convert("LA")}.get(form)
    if source is None:
        buffer = io.BytesIO()
        Image.fromarray(rgba).save(buffer, "PNG")
        source = buffer.getvalue()
    picture = read_picture(source)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, rgba[..., 3])


def moved(icc: bytes) -> int:
    """How far a profile moves a colour of a lattice at most, in levels."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    after = np.asarray(transform.apply(Image.fromarray(lattice)))
    return int(np.abs(after.astype(int) - lattice).max())


def changed(icc: bytes, primary: bytes, coordinate: int, amount: int) -> bytes:
    """A profile with a little more of X, Y or Z (0, 1, 2) in a primary, in units of 2**-16."""
    count = int.from_bytes(icc[128:132], "big")
    table = {icc[132 + 12 * i : 136 + 12 * i]: 132 + 12 * i for i in range(count)}
    place = int.from_bytes(icc[table[primary] + 4 : table[primary] + 8], "big") + 8 + 4 * coordinate
    value = int.from_bytes(icc[place : place + 4], "big") + amount
    return icc[:place] + value.to_bytes(4, "big") + icc[place + 4 :]


@pytest.mark.parametrize(("primary", "coordinate"), [(b"rXYZ", 0), (b"gXYZ", 1), (b"bXYZ", 2)])
def test_a_profile_that_moves_a_colour_by_two_levels_is_converted_and_one_level_is_not(primary, coordinate):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = {}
    for amount in range(0, 1500, 5):
        profile = changed(icc, primary, coordinate, amount)
        found.setdefault(moved(profile), profile)
        if 2 in found:
            break
    assert {1, 2} <= set(found)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    for levels in (1, 2):
        buffer = io.BytesIO()
        image.save(buffer, "PNG", icc_profile=found[levels])
        notes = read_picture(buffer.getvalue()).notes
        assert bool(notes) == (levels == 2)


def test_the_crop_of_a_contact_sheet_begins_at_its_corner(tmp_path):
    y, x = np.mgrid[:20, :30]
    picture = np.stack([x, y, x + y], -1).astype(np.uint8)
    sheet = contact_sheet([[Cell(picture, "a")]], tmp_path / "s.png", crop=(7, 4, 17, 9))
    pixels = np.asarray(sheet)
    found = [
        (top, left)
        for top in range(pixels.shape[0] - 5)
        for left in range(pixels.shape[1] - 10)
        if np.array_equal(pixels[top : top + 5, left : left + 10], picture[4:9, 7:17])
    ]
    assert len(found) == 1


def test_sizes_of_a_contact_sheet(tmp_path):
    """Letters of 16 pixels: gaps of 16, lines of 24, and half a gap between a picture and its caption."""
    small, tall = np.zeros((10, 20, 3), np.uint8), np.zeros((30, 5, 3), np.uint8)
    assert contact_sheet([[Cell(small, "a")]], tmp_path / "a.png").size == (52, 10 + 24 + 8 + 2 * 16)
    rows = [[Cell(small, "a"), Cell(tall, "b\nc")], [Cell(small, "d")]]
    assert contact_sheet(rows, tmp_path / "b.png").size == (2 * 36 + 16, 30 + 48 + 8 + 10 + 24 + 8 + 3 * 16)
    wide = np.zeros((4, 440, 3), np.uint8)
    assert contact_sheet([[Cell(wide, "a")]], tmp_path / "c.png").size == (440 + 40, 4 + 30 + 10 + 40)

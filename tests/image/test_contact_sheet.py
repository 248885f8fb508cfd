import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pqmim.errors import OutputError
from pqmim.image.contact_sheet import Cell, contact_sheet


def picture(value: int, width: int = 60, height: int = 40) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_pictures_stand_in_rows_pixel_for_pixel(tmp_path):
    path = tmp_path / "sheet.png"
    grain = np.random.default_rng(0).integers(0, 200, (40, 60, 3), dtype=np.uint8)
    rows = [[Cell(Image.fromarray(grain), "one\n10 bytes"), (picture(90), "two")], [(picture(120), "three")]]
    sheet = contact_sheet(rows, path)
    pixels = np.asarray(Image.open(path))
    assert np.array_equal(pixels, np.asarray(sheet))
    assert np.array_equal(pixels[16:56, 16:76], grain)
    assert np.all(pixels[16:56, 92:152] == 90)
    assert pixels.shape[1] == 3 * 16 + 2 * 60
    where = np.argwhere(np.all(pixels == 120, axis=2))
    assert len(where) == 40 * 60 and where[:, 1].min() == 16 and where[:, 0].min() > 56 + 2 * 24
    caption = pixels[57:104, 16:76]
    assert caption.min() < 60 and caption.max() == 255


def test_crop_zoom_and_alpha(tmp_path):
    image = picture(0)
    image[10:14, 20:25] = 77
    clear = Image.new("RGBA", (60, 40), (9, 9, 9, 0))
    sheet = contact_sheet([[(image, "a"), (clear, "b")]], tmp_path / "s.png", crop=(20, 10, 25, 14), zoom=8)
    pixels = np.asarray(sheet)
    assert np.all(pixels[16:48, 16:56] == 77)
    assert np.all(pixels[16:48, 72:112] == 255)


def test_captions_stand_under_the_tallest_picture_of_their_row(tmp_path):
    """The first line in letters of 16 pixels, further ones 24 lower in faint letters of 13."""
    rows = [[(picture(0, 60, 30), "Ag\nAg\nAg"), (picture(0, 60, 10), "Bq\nBq")], [(picture(0), "Cy")]]
    pixels = np.asarray(contact_sheet(rows, tmp_path / "s.png"))

    def line(words: str, size: int, colour: str) -> np.ndarray:
        paper = Image.new("RGB", (60, 24), "#ffffff")
        ImageDraw.Draw(paper).text((0, 0), words, fill=colour, font=ImageFont.load_default(size))
        return np.asarray(paper)

    strong, faint = (16, "#1b1b1f"), (13, "#6b6b76")
    below = 16 + 30 + 8
    for left, top, words, style in (
        (16, below, "Ag", strong),
        (16, below + 24, "Ag", faint),
        (16, below + 48, "Ag", faint),
        (16 + 60 + 16, below, "Bq", strong),
        (16 + 60 + 16, below + 24, "Bq", faint),
        (16, below + 72 + 16 + 40 + 8, "Cy", strong),
    ):
        assert np.array_equal(pixels[top : top + 24, left : left + 60], line(words, *style))


def test_letters_grow_with_wide_pictures(tmp_path):
    """A 22nd of the width of a column, and no less than 16 pixels: gaps are as wide as letters are high."""
    for width, letters in ((373, 16), (374, 17), (440, 20)):
        sheet = contact_sheet([[(picture(0, width, 4), "a")]], tmp_path / "s.png", force=True)
        assert sheet.width == width + 2 * letters


def test_an_existing_sheet_is_kept_unless_forced(tmp_path):
    path = tmp_path / "s.png"
    contact_sheet([[(picture(1), "a")]], path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        contact_sheet([[(picture(2), "a")]], path)
    assert path.read_bytes() == before
    contact_sheet([[(picture(2), "a")]], path, force=True)
    assert path.read_bytes() != before


def test_errors(tmp_path):
    for rows in ([], [[]], [[(picture(1), "a")], []]):
        with pytest.raises(ValueError, match="at least one picture"):
            contact_sheet(rows, tmp_path / "s.png")
    with pytest.raises(OutputError):
        contact_sheet([[(picture(1), "a")]], tmp_path / "s.xyz")


def test_it_needs_neither_matplotlib_nor_scipy_nor_torch():
    code = (
        "import sys, pqmim.image.contact_sheet, pqmim.evaluation.metrics\n"
        "assert not {'matplotlib', 'scipy', 'torch', 'tqdm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

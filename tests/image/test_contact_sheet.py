import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

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


def test_errors(tmp_path):
    for rows in ([], [[]]):
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

import io
import os

import numpy as np
import pytest
from PIL import Image

from pqmim.errors import OutputError
from pqmim.image.picture import read_picture, to_pil
from pqmim.image.save import FORMATS, encode, ending_of, save

LOSSLESS = [".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".tga", ".jp2", ".PNG"]


def smooth() -> np.ndarray:
    y, x = np.mgrid[:40, :50]
    return np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], axis=2).astype(np.uint8)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_written_and_read(tmp_path, ending):
    path = tmp_path / f"out{ending}"
    assert save(to_pil(smooth()), path) == []
    picture = read_picture(path)
    assert np.abs(picture.rgb.astype(int) - smooth()).mean() < 1.5
    assert picture.notes == []
    if ending in LOSSLESS:
        assert np.array_equal(picture.rgb, smooth())


def test_which_formats_keep_alpha():
    kept = {ending for ending, format in FORMATS.items() if format.alpha}
    assert kept == {".png", ".webp", ".avif", ".tif", ".tiff", ".tga", ".jp2"}


@pytest.mark.parametrize("ending", FORMATS)
def test_alpha_is_kept_or_told(tmp_path, ending):
    alpha = np.zeros((40, 50), np.uint8)
    alpha[:, 25:] = 255
    path = tmp_path / f"out{ending}"
    notes = save(to_pil(smooth(), alpha), path)
    picture = read_picture(path)
    if FORMATS[ending].alpha:
        assert notes == []
        assert np.array_equal(picture.alpha, alpha)
        if ending in LOSSLESS:
            assert np.array_equal(picture.rgb, smooth())
    else:
        assert notes == [f"alpha blended onto white, since {FORMATS[ending].name} keeps none"]
        assert picture.alpha is None
        assert picture.rgb[:, :20].min() > 250
        assert np.abs(picture.rgb[:, 30:].astype(int) - smooth()[:, 30:]).mean() < 2


@pytest.mark.parametrize(("ending", "format"), [(".jpg", "JPEG"), (".jpeg", "JPEG"), (".avif", "AVIF")])
def test_lossy_formats_are_written_at_quality_95(ending, format):
    written, _ = encode(to_pil(smooth()), ending)
    found = {}
    for quality in (94, 95, 96):
        buffer = io.BytesIO()
        to_pil(smooth()).save(buffer, format, quality=quality, subsampling="4:4:4")
        found[quality] = buffer.getvalue() == written
    assert found == {94: False, 95: True, 96: False}


def test_blending_is_told_before_what_else_a_format_drops():
    image = to_pil(smooth(), np.full((40, 50), 9, np.uint8))
    image.info["xmp"] = b"<x/>"
    assert encode(image, ".ppm")[1] == [
        "alpha blended onto white, since PPM keeps none",
        "XMP dropped, since PPM keeps none",
    ]


def test_webp_keeps_the_colours_of_clear_pixels(tmp_path):
    path = tmp_path / "out.webp"
    save(to_pil(smooth(), np.zeros((40, 50), np.uint8)), path)
    assert np.array_equal(np.asarray(Image.open(path))[..., :3], smooth())


def test_streams(tmp_path):
    buffer = io.BytesIO()
    save(to_pil(smooth()), buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")
    buffer = io.BytesIO()
    save(to_pil(smooth()), buffer, ending=".jpg")
    assert buffer.getvalue().startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("name", "ending"), [("out.xyz", "the ending .xyz"), ("out", "an ending"), ("out.pqm", "the ending .pqm")]
)
def test_an_unknown_ending_is_refused(tmp_path, name, ending):
    with pytest.raises(OutputError, match=rf"{name}: {ending} that no format goes by: use \.png, \.jpg, \.webp"):
        save(to_pil(smooth()), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_the_ending_of_a_name():
    assert ending_of("a.b/out.PNG") == ".PNG"
    for name, ending in (("out.xyz", ".xyz"), ("out", ""), (".png", "")):
        with pytest.raises(OutputError, match=f"{name}: cannot be written: pictures end in .png, .* not in '{ending}'"):
            ending_of(name)


def test_what_a_format_cannot_hold_is_one_sentence(tmp_path):
    with pytest.raises(OutputError, match=r"out\.webp: cannot be written as WEBP"):
        save(Image.new("RGB", (16384, 1)), tmp_path / "out.webp")
    assert os.listdir(tmp_path) == []


def test_a_missing_encoder_is_one_sentence(tmp_path, monkeypatch):
    Image.init()
    monkeypatch.delitem(Image.SAVE, "AVIF")
    with pytest.raises(OutputError, match="this Pillow has no AVIF encoder"):
        save(to_pil(smooth()), tmp_path / "out.avif")


def test_an_existing_file_is_kept_unless_forced(tmp_path):
    path = tmp_path / "out.png"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        save(to_pil(smooth()), path)
    save(to_pil(smooth()), path, force=True)
    assert np.array_equal(read_picture(path).rgb, smooth())


def test_large_png_files_alone_are_deflated_quickly(monkeypatch):
    monkeypatch.setattr("pqmim.image.save.LARGE", 200)
    for height, options in ((9, {}), (10, {"compress_level": 1})):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 9, (height, 20, 3), np.uint8))
        expected = io.BytesIO()
        image.save(expected, "PNG", **options)
        assert encode(image, ".png") == (expected.getvalue(), [])

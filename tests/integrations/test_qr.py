import io
from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageFilter

pytest.importorskip("segno")
pytest.importorskip("zxingcpp")

from pqmim.bitstream.header import Header
from pqmim.errors import InvalidImage, PqmimError, UnsupportedFile
from pqmim.integrations.qr import Form, from_base45, read_qr, to_base45, write_qr

PAGE = "https://example.org/"
FORMS = get_args(Form)
DATA = Header(768, 512, 9, 1, framed=False).pack()
DATA += np.random.default_rng(0).bytes(200 - len(DATA))


def code(form: str, scale: int = 8, data: bytes = DATA) -> Image.Image:
    return Image.open(io.BytesIO(write_qr(data, ".png", form, PAGE, scale)))


@pytest.mark.parametrize("form, modules", list(zip(FORMS, (61, 57, 53, 53))))
def test_200_bytes(form, modules):
    image = code(form, scale=4)
    assert image.width == 4 * (modules + 8)
    assert read_qr(image) == DATA


@pytest.mark.parametrize("form", FORMS)
def test_a_screenshot_scaled_to_40_percent(form):
    screen = Image.new("RGB", (1200, 900), "white")
    screen.paste(code(form), (150, 100))
    assert read_qr(screen.resize((480, 360), Image.Resampling.BILINEAR)) == DATA


def test_a_photographed_screen():
    """Skewed, blurred, noisy and dim."""
    screen = Image.new("L", (900, 900), 90)
    screen.paste(code("link").convert("L"), (150, 150))
    skewed = screen.transform(
        screen.size, Image.Transform.QUAD, (40, 10, 0, 890, 880, 860, 850, 60), Image.Resampling.BILINEAR
    )
    blurred = np.asarray(skewed.filter(ImageFilter.GaussianBlur(1.5)), float)
    noisy = 40 + 0.6 * blurred + np.random.default_rng(1).normal(0, 12, blurred.shape)
    assert read_qr(Image.fromarray(noisy.clip(0, 255).astype(np.uint8))) == DATA


def test_most_bytes():
    most = DATA + bytes(range(256)) * 10 + bytes(193)
    assert len(most) == 2953 and read_qr(code("raw", data=most)) == most
    with pytest.raises(PqmimError, match="too many"):
        write_qr(most + b"a", ".png", "raw")
    with pytest.raises(PqmimError, match="too many"):
        write_qr(most, ".png", "text")


def test_what_fits_no_code_is_refused_before_it_is_tried(monkeypatch):
    monkeypatch.setattr("segno.make_qr", None)
    with pytest.raises(PqmimError, match="2,954 bytes are too many for a QR code as link"):
        write_qr(bytes(2954), ".png", "link", PAGE)


def test_vector_and_terminal():
    assert write_qr(DATA, ".svg").startswith(b"<?xml")
    lines = write_qr(DATA, ".txt").decode().splitlines()
    assert 30 <= len(lines) <= 33  # two rows of modules a line


@pytest.mark.parametrize("ending, form", [(".gif", "text"), ("", "text"), (".png", "link")])
def test_what_cannot_be_written(ending, form):
    with pytest.raises(PqmimError):
        write_qr(DATA, ending, form)


def test_a_link_needs_no_scheme():
    assert read_qr(Image.open(io.BytesIO(write_qr(DATA, ".png", "link", "example.org/view")))) == DATA


def test_no_code_and_other_codes():
    import segno

    with pytest.raises(InvalidImage):
        read_qr(Image.new("RGB", (100, 100)))
    for content in ("https://example.org/", "hello", b"GIF89a\xff"):
        buffer = io.BytesIO()
        segno.make_qr(content).save(buffer, kind="png", scale=8)
        with pytest.raises(UnsupportedFile):
            read_qr(Image.open(buffer))


def test_base45_by_its_rfc():
    assert to_base45(b"base-45") == "UJCLQE7W581"
    assert from_base45("QED8WEX0") == b"ietf!"
    for bad in ("GGW", ":::", "a", "AAAA"):
        with pytest.raises(UnsupportedFile):
            from_base45(bad)

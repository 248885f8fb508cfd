import os

import pytest
from PIL import Image


@pytest.fixture
def packed(run, photo):
    run("compress", "photo.png", "packed.pqm", "--size", "200")
    return photo.parent / "packed.pqm"


def test_a_strip_beside_the_file(run, packed, codec):
    status, out, _ = run("preview", "packed.pqm", "--steps", "5", "--complete", "none")
    assert (status, out) == (0, b"packed-preview.png: 5 steps, 18 to 200 bytes\n")
    assert [request["complete"] for request in codec.asked[1::2]] == ["none"] * 5
    with Image.open("packed-preview.png") as strip:
        colours = {colour for _, colour in strip.convert("RGB").getcolors(1 << 20)}
    assert {(0, length, 0) for length in (18, 30, 54, 103, 200)} <= colours


@pytest.mark.parametrize("name, format", [("a.gif", "GIF"), ("a.apng", "PNG")])
def test_animations(run, packed, name, format):
    assert run("preview", "packed.pqm", "-o", name, "--steps", "3")[0] == 0
    with Image.open(name) as image:
        assert (image.format, image.n_frames, image.size) == (format, 3, (24, 16))


def test_an_ending_that_no_preview_has(run, packed):
    status, _, err = run("preview", "packed.pqm", "-o", "strip.txt")
    assert (status, err.count("\n")) == (1, 1) and "strip.txt" in err
    assert sorted(os.listdir()) == ["packed.pqm", "photo.png"]


def test_nothing_is_overwritten(run, packed):
    assert run("preview", "packed.pqm", "-o", "photo.png")[0] == 1
    assert run("preview", "packed.pqm", "-o", "photo.png", "--force")[0] == 0

import json
import os

import pytest
from PIL import Image

import pqmim


def test_a_picture_of_nothing(run, here, codec):
    status, out, _ = run("generate", "-o", "dream.png", "--size", "40x30", "--seed", "7", "-q", "20")
    assert (status, out) == (0, b"dream.png: 40x30, seed 7\n")
    with Image.open("dream.png") as image:
        assert image.size == (40, 30)
    assert codec.asked == [{"quality": 20, "seed": 7}]


def test_variants(run, here):
    assert run("generate", "-o", "dream.webp", "--variants", "2")[0] == 0
    assert sorted(os.listdir()) == ["dream-1.webp", "dream-2.webp"]
    with Image.open("dream-2.webp") as image:
        assert image.size == (512, 512)


@pytest.mark.parametrize("mode, white", [("L", 255), ("RGB", (255, 255, 255)), ("RGBA", (255, 255, 255, 255))])
def test_repainting_under_a_mask(run, photo, codec, mode, white):
    run("compress", "photo.png", "packed.pqm")
    mask = Image.new(mode, (24, 16))
    mask.paste(white, (0, 0, 5, 3))
    mask.save("mask.png")
    assert run("generate", "-o", "new.png", "--keep", "packed.pqm", "--mask", "mask.png", "--seed", "2")[0] == 0
    assert codec.asked[-1] == {"masked": 15, "seed": 2}


def test_a_mask_without_a_region(run, photo):
    run("compress", "photo.png", "packed.pqm")
    Image.new("L", (24, 16)).save("mask.png")
    status, _, err = run("generate", "-o", "new.png", "--keep", "packed.pqm", "--mask", "mask.png")
    assert (status, err) == (1, "pqmim: mask.png: masks nothing: paint white what shall be drawn anew.\n")


@pytest.mark.parametrize(
    "words",
    [
        "--size 0x5",
        "--size big",
        "--keep a.pqm",
        "--mask a.png",
        "--keep a.pqm --mask a.png --size 2x2",
        "--keep a.pqm --mask a.png -q 9",
        "-q 101",
    ],
)
def test_usage_errors(run, here, words):
    with pytest.raises(SystemExit) as stop:
        run("generate", "-o", "dream.png", *words.split())
    assert stop.value.code == 2
    assert os.listdir() == []


def test_an_ending_that_no_format_has(run, here):
    status, _, err = run("generate", "-o", "dream.txt")
    assert (status, err.count("\n")) == (1, 1) and "dream.txt" in err


def test_a_picture_of_nothing_has_no_file(run, here, codec, monkeypatch):
    (here / "nothing").write_bytes(b"of no concern")
    assert json.loads(run("generate", "-o", "a.png", "--size", "8x8", "--json")[1]).keys() == {
        *("output", "width", "height", "seed", "bytes")
    }

    def generate(self, width, height, **options):
        raise pqmim.PqmimError("too large a picture")

    monkeypatch.setattr(codec, "generate", generate)
    assert run("generate", "-o", "b.png")[2] == "pqmim: b.png: too large a picture.\n"

import io
import os
import shlex
from pathlib import Path

import pytest
from PIL import Image

from pqmim.results import Rendered

THUMBNAILER = Path(__file__).parents[2] / "packaging" / "pqmim.thumbnailer"


@pytest.fixture
def packed(run, photo):
    run("compress", "photo.png", "packed.pqm")
    return photo.parent / "packed.pqm"


def test_names_the_output_after_the_input(run, packed):
    assert run("decompress", "packed.pqm") == (0, b"packed.png: 24x16\n", "")
    with Image.open("packed.png") as image:
        assert (image.format, image.size, image.getpixel((0, 0))) == ("PNG", (24, 16), (200, 100, 50))


@pytest.mark.parametrize("name, format", [("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.TIFF", "TIFF"), ("a.ppm", "PPM")])
def test_the_ending_chooses_the_format(run, packed, name, format):
    assert run("decompress", "packed.pqm", name)[0] == 0
    with Image.open(name) as image:
        assert image.format == format


@pytest.mark.parametrize("words, format", [([], "PNG"), (["--format", "bmp"], "BMP")])
def test_pipes(run, packed, words, format):
    status, out, err = run("decompress", "-", "-", *words, stdin=packed.read_bytes())
    assert (status, err) == (0, "")
    assert Image.open(io.BytesIO(out)).format == format
    assert run("decompress", "packed.pqm", "-", *words)[1] == out


def test_several_into_a_folder(run, packed):
    os.mkdir("more")
    os.rename("packed.pqm", "more/a.pqm")
    run("compress", "photo.png")
    status, out, _ = run("decompress", "photo.pqm", "more", "-o", "out", "--format", "webp")
    assert (status, out) == (0, b"out/photo.webp: 24x16\nout/a.webp: 24x16\n")
    assert sorted(os.listdir("out")) == ["a.webp", "photo.webp", "pqmim.jsonl"]


@pytest.mark.parametrize("words", [["packed.pqm", "a.txt"], ["packed.pqm", "a"]])
def test_an_unknown_format_costs_no_work(run, packed, codec, words):
    codec.opened.clear()
    status, out, err = run("decompress", *words)
    assert (status, out, err.count("\n")) == (1, b"", 1)
    assert "end in .png, " in err or "name it a.png" in err
    assert codec.opened == []


def test_an_existing_output_is_kept(run, packed, photo):
    before = photo.read_bytes()
    status, _, err = run("decompress", "packed.pqm", "photo.png")
    assert status == 1 and err.startswith("pqmim: photo.png: exists already")
    assert photo.read_bytes() == before


def test_damage_is_one_sentence_and_leaves_nothing(run, packed):
    whole = packed.read_bytes()
    damaged = {
        "empty.pqm": b"",
        "cut.pqm": whole[:5],
        "flipped.pqm": whole[:-1] + bytes([whole[-1] ^ 1]),
        "other.pqm": b"GIF89a",
    }
    for name, data in damaged.items():
        (packed.parent / name).write_bytes(data)
    before = sorted(os.listdir())
    status, out, err = run("decompress", *damaged, "missing.pqm")
    assert (status, out) == (1, b"")
    for line, name in zip(err.splitlines()[:-1], [*damaged, "missing.pqm"], strict=True):
        assert line.startswith(f"pqmim: {name}: ") and line.endswith(".")
    assert sorted(os.listdir()) == before


def test_standard_input_is_named_in_errors(run, here):
    assert run("decompress", "-", "a.png", stdin=b"")[2].startswith("pqmim: standard input: ")
    assert os.listdir() == []


def test_notes_of_codec_and_format(run, packed, codec, monkeypatch):
    def render(self, received, **options):
        return Rendered(Image.new("RGBA", (4, 4)), None, ("the file is cut",))

    monkeypatch.setattr(codec, "render", render)
    status, out, err = run("decompress", "packed.pqm", "a.jpg")
    assert (status, out) == (0, b"a.jpg: 4x4\n")
    assert err.splitlines() == [
        "pqmim: packed.pqm: the file is cut",
        "pqmim: packed.pqm: alpha blended onto white, since JPEG keeps none",
    ]


def test_variants_are_seeds(run, packed, codec):
    words = "packed.pqm a.png --complete sample --variants 3 --seed 5 --temperature 0.8 --order 4 --partial".split()
    assert run("decompress", *words)[0] == 0
    assert sorted(os.listdir()) == ["a-1.png", "a-2.png", "a-3.png", "packed.pqm", "photo.png"]
    assert [Image.open(f"a-{n}.png").getpixel((0, 0))[0] for n in (1, 2, 3)] == [5, 6, 7]
    assert codec.asked[0] == {"partial": True}
    assert codec.asked[1] == {"complete": "sample", "seed": 5, "temperature": 0.8, "steps": 4}


@pytest.mark.parametrize(
    "words",
    [
        "packed.pqm --variants 2",
        "- - --complete sample --variants 2",
        "packed.pqm --complete guess",
        "packed.pqm --seed -1",
        "packed.pqm --temperature 0",
        "packed.pqm --order 0",
        "packed.pqm --order 3",
        "packed.pqm --temperature 1 --complete expect",
        "packed.pqm a.png --format jpg",
        "packed.pqm -o a.png --format webp",
    ],
)
def test_absurd_completions_are_refused(run, packed, words):
    with pytest.raises(SystemExit) as stop:
        run("decompress", *words.split())
    assert stop.value.code == 2
    assert sorted(os.listdir()) == ["packed.pqm", "photo.png"]


def test_small_files_say_that_there_is_a_vivid_look(run, packed, codec, monkeypatch):
    monkeypatch.setattr(codec, "has_looks", True)
    assert "--look vivid" in run("decompress", "packed.pqm", "--force")[2]
    assert "--look vivid" not in run("decompress", "packed.pqm", "--force", "--look", "0.5")[2]
    monkeypatch.setattr(codec, "has_looks", False)
    assert "--look vivid" not in run("decompress", "packed.pqm", "--force")[2]


def test_standard_input_gives_no_variants(run, packed, capsysbinary):
    with pytest.raises(SystemExit) as stop:
        run("decompress", "-", "a.png", "--complete", "sample", "--variants", "2", stdin=packed.read_bytes())
    assert stop.value.code == 2 and "standard input can be read once" in capsysbinary.readouterr().err.decode()
    assert sorted(os.listdir()) == ["packed.pqm", "photo.png"]


def test_a_map_that_exists_keeps_the_picture_from_being_written(run, packed):
    with open("a-invented.png", "wb") as file:
        file.write(b"precious")
    status, _, err = run("decompress", "packed.pqm", "a.png", "--show-invented")
    assert status == 1 and err.startswith("pqmim: a-invented.png: exists already")
    assert not os.path.exists("a.png")


def test_a_format_beside_a_name_that_says_none_or_the_same(run, packed):
    assert run("decompress", "packed.pqm", "a.jpeg", "--format", "jpg")[0] == 0
    assert run("decompress", "packed.pqm", "-", "--format", "jpg")[1][:2] == b"\xff\xd8"


def test_endings_are_told_once(run, packed):
    err = run("decompress", "packed.pqm", "-o", "a.xyz")[2]
    assert "ends in none of .png, .jpg" in err and err.count(".png") == 1


def test_a_format_may_be_given_as_an_ending(run, packed):
    assert run("decompress", "packed.pqm", "--format", ".jpg") == (0, b"packed.jpg: 24x16\n", "")
    assert run("decompress", "packed.pqm", "--format", "PNG") == (0, b"packed.png: 24x16\n", "")


def test_a_format_that_is_none_is_a_usage_error(run, packed, capsysbinary):
    with pytest.raises(SystemExit) as stop:
        run("decompress", "packed.pqm", "--format", "tex")
    assert stop.value.code == 2 and b"tex is none of png, jpg" in capsysbinary.readouterr().err


def test_bytes_after_the_end_are_passed_over_where_partial_is_asked_for(run, packed):
    Path("more.pqm").write_bytes(Path("packed.pqm").read_bytes() + b"xyz")
    status, _, err = run("decompress", "more.pqm", "more.png")
    assert status == 1 and "bytes after its end; --partial decodes it as far as it goes" in err
    status, out, err = run("decompress", "more.pqm", "more.png", "--partial")
    assert (status, out) == (0, b"more.png: 24x16\n")


def test_a_map_is_no_picture(run, packed, capsysbinary):
    Path("photo-invented.pqm").write_bytes(packed.read_bytes())
    Path("photo.pqm").write_bytes(packed.read_bytes())
    with pytest.raises(SystemExit):
        run("decompress", "photo.pqm", "photo-invented.pqm", "-o", "out/", "--show-invented")
    assert b"photo-invented.png would be a picture and a map" in capsysbinary.readouterr().err
    assert not Path("out").exists()
    with pytest.raises(SystemExit):
        run("decompress", "photo.pqm", "./photo-invented.pqm", "--show-invented", "--force")
    assert not Path("photo-invented.png").exists()


@pytest.mark.parametrize(
    "words", [("decompress", "packed.pqm", "packed.pqm", "-"), ("compress", "photo.png", "photo.png", "-")]
)
def test_standard_output_and_input_go_alone(run, packed, words, capsysbinary):
    with pytest.raises(SystemExit):
        run(*words, stdin=packed.read_bytes())
    out, err = capsysbinary.readouterr()
    assert out == b"" and b"standard input and output go alone: name no other files beside -" in err


def test_a_file_that_is_there_needs_no_ending_beside_a_format(run, packed):
    Path("thumbnail.XXXX").write_bytes(b"")
    assert run("decompress", "packed.pqm", "-o", "thumbnail.XXXX", "--format", "png", "--force")[0] == 0
    with Image.open("thumbnail.XXXX") as image:
        assert image.format == "PNG"


def test_desktops_ask_for_thumbnails(run, packed):
    Path("thumbnail.XXXX").write_bytes(b"")
    [line] = [line for line in THUMBNAILER.read_text().splitlines() if line.startswith("Exec=pqmim ")]
    names = {"%i": "packed.pqm", "%o": "thumbnail.XXXX"}
    assert run(*(names.get(word, word) for word in shlex.split(line)[1:]))[0] == 0
    with Image.open("thumbnail.XXXX") as image:
        assert image.format == "PNG"

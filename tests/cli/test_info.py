import json

import pqmim


def test_says_what_a_file_is(run, photo):
    run("compress", "photo.png", "-q", "30")
    status, out, err = run("info", "photo.pqm")
    assert (status, err) == (0, "")
    size = (photo.parent / "photo.pqm").stat().st_size
    assert out.decode().splitlines() == [
        "photo.pqm",
        "  picture  24x16, quality 30",
        f"  size     {size} bytes, {8 * size / (24 * 16):.3f} bpp",
        f"  parts    header 7, codes 3, framing {size - 10}",
        "  state    complete",
        "  needs    format version 2, weights 3ab",
    ]


def test_json_is_one_object_a_line(run, photo):
    run("compress", "photo.png")
    data = (photo.parent / "photo.pqm").read_bytes()
    status, out, _ = run("info", "photo.pqm", "-", "--json", stdin=data)
    assert status == 0
    first, second = map(json.loads, out.splitlines())
    assert first == {"file": "photo.pqm", **pqmim.info(data)}
    assert second == {"file": "-", **pqmim.info(data)}


def test_a_cut_file_says_how_much_is_there(run, photo):
    run("compress", "photo.png")
    data = (photo.parent / "photo.pqm").read_bytes()
    assert b"cut: 67% of the codes' bytes are there" in run("info", "-", stdin=data[:-5])[1]


def test_errors(run, here):
    (here / "a.pqm").write_bytes(b"text")
    status, out, err = run("info", "a.pqm", "b.pqm")
    assert (status, out) == (1, b"")
    assert [line.split(":")[1] for line in err.splitlines()] == [" a.pqm", " b.pqm"]


def test_a_stream_without_an_end_is_read_as_far_as_needed(run, photo):
    run("compress", "photo.png")
    data = (photo.parent / "photo.pqm").read_bytes()
    assert run("info", "-", stdin=data + bytes(10**7))[0] == 1
    assert run("info", "/dev/zero")[0] == 1


def test_what_makes_no_files_has_no_sizes(run, photo):
    run("compress", "photo.png")
    assert run("info", *3 * ["photo.pqm"])[2].endswith(" s: 3 done\n")

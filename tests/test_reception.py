"""What is spent on codes that a file does not say is bounded by its bytes."""

import numpy as np
import pytest

from pqmim.bitstream.container import Tag, write
from pqmim.bitstream.header import Header, Kind
from pqmim.codec import Codec
from pqmim.errors import BadArgument
from pqmim.image.alpha import encode_alpha
from pqmim.reception import FREE_POSITIONS, POSITIONS_PER_BYTE, WHOLE_PER_BYTE, WHOLE_POSITIONS, prior_of
from pqmim.release import load
from pqmim.rendering import SQUARE, Codewords, Sketch
from pqmim.results import STRIDE


@pytest.fixture(scope="module")
def reception(tiny_weights):
    return Codec(tiny_weights, prior="numpy")._engine().reception


def grid_of(reception, positions, quality=100):
    """A grid, 32 positions wide, of which the first code is known."""
    grid = reception.grid(Header(32 * STRIDE, positions // 32 * STRIDE, quality, 0))
    grid.reveal(0, np.array([0]), np.array([3], np.uint8))
    return grid


@pytest.mark.parametrize(
    ("positions", "spent", "square"),
    [
        (WHOLE_POSITIONS, 9, None),
        (WHOLE_POSITIONS + 32, 9, 2),
        (WHOLE_POSITIONS + 32, -(-(WHOLE_POSITIONS + 32) // WHOLE_PER_BYTE), None),
        (FREE_POSITIONS, 0, 2),
        (FREE_POSITIONS + 32, 0, SQUARE),
        (FREE_POSITIONS + 32, 32 // POSITIONS_PER_BYTE, 2),
    ],
)
def test_few_codes_of_many_positions_are_sketched(reception, positions, spent, square):
    found = reception.codewords(grid_of(reception, positions), 100, spent)
    assert (found.square if isinstance(found, Sketch) else None) == square
    if square:
        height, width = positions // 32, 32
        assert found.vectors.shape == (-(-height // square), width // square, 6)


@pytest.mark.parametrize(("share", "sketched"), [(0.5, True), (0.55, False)])
def test_pictures_with_codes_in_most_places_keep_their_size(reception, share, sketched):
    grid = grid_of(reception, FREE_POSITIONS)
    grid.known[0, : int(share * FREE_POSITIONS)] = True
    assert isinstance(reception.codewords(grid, 100, 0), Sketch) == sketched


def test_many_codes_are_never_sketched(reception):
    grid = grid_of(reception, FREE_POSITIONS + 64)
    grid.known[0] = True
    assert grid.share > 0.2
    found = reception.codewords(grid, 100, 0)
    assert isinstance(found, Codewords) and found.expected.shape == (1, 6)


def test_nothing_known_of_many_positions_is_one_codeword(reception):
    grid = grid_of(reception, FREE_POSITIONS + 32)
    grid.codes[:, 0], grid.known[:, 0] = 0, False
    found = reception.codewords(grid, 100, 0)
    assert isinstance(found, Codewords) and found.expected.shape == (1, 6)


def test_the_prior_is_asked_for_the_group_at_hand_and_the_next(reception, monkeypatch):
    """The tiny release has two groups; one more would not be asked for."""
    groups = reception.release.record.groups
    grid = grid_of(reception, 64)
    assert reception._telling(grid) == groups[1].stop
    grid.known[: groups[0].stop] = True
    assert reception._telling(grid) == groups[1].stop
    grid = grid_of(reception, 64, quality=0)
    assert grid.active == groups[0].stop and reception._telling(grid) >= grid.active


def test_half_a_picture_is_the_mean_of_its_squares():
    vectors = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    found = Sketch.halved(vectors)
    assert found.square == 2 and found.vectors.shape == (3, 4, 3) and found.vectors.dtype == np.float32
    assert np.allclose(found.vectors[0, 0], vectors[:2, :2].mean((0, 1)), atol=1e-6)
    assert np.allclose(found.vectors[2, 1], vectors[4, 2:4].mean(0), atol=1e-6)  # edges are repeated
    assert np.allclose(found.vectors[2, 3], vectors[4, 6], atol=1e-6)


def test_a_sketch_has_the_size_of_its_picture(tiny_weights):
    codec = Codec(tiny_weights, prior="numpy")
    for width, height in ((32 * STRIDE + 5, 70 * STRIDE - 3), (32 * STRIDE, 140 * STRIDE)):
        assert codec.render(codec.empty(width, height, 100)).image.size == (width, height)


@pytest.mark.parametrize(
    ("place", "found", "note"),
    [
        (-5, [Tag.ALPHA, Tag.EXIF, Tag.ICC], "its check fails"),  # the data of the last chunk
        (-7, [Tag.ALPHA, Tag.EXIF], "among its chunks: alpha or metadata may be missing"),  # its tag
        (-12, [Tag.EXIF, Tag.ICC], "its alpha channel cannot be decoded"),  # the form of alpha
        (-13, [], "among its chunks: alpha or metadata may be missing"),  # its length
    ],
)
def test_chunks_of_a_damaged_file_are_kept_up_to_the_damage(tiny_weights, place, found, note):
    chunks = {Tag.ALPHA: encode_alpha(np.full((16, 24), 7, np.uint8)), Tag.EXIF: b"e", Tag.ICC: b"i"}
    damaged = bytearray(write(Header(24, 16, 0, 0, kind=Kind.FLAT), b"\x50", chunks, b""))
    assert damaged[-14:-4] == b"\x01\x02\x00\x07\x02\x01e\x04\x01i"
    damaged[place] ^= 0x05
    codec = Codec(tiny_weights, prior="numpy")
    received = codec.receive(bytes(damaged), partial=True)
    assert sorted(received.chunks) == found and any(note in told for told in received.notes)
    assert codec.render(received).image.mode == ("RGBA" if Tag.ALPHA in found else "RGB")


def test_a_form_that_is_none_is_refused(tiny_weights):
    with pytest.raises(BadArgument, match="'nump' is none of auto, compiled, torch, numpy"):
        prior_of(load(tiny_weights), "nump")


def test_a_picture_of_nothing_is_a_sketch_where_equal_codes_differ(reception):
    grid = reception.grid(Header(4096, 4096, 50, 0))
    assert isinstance(reception.codewords(grid, 50, 8), Codewords)
    assert isinstance(reception.codewords(grid, 50, 8, uniform=False), Sketch)

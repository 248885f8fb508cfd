"""Bytes as they come."""

import numpy as np
import pytest

import pqmim
from pqmim.codec import Codec
from pqmim.errors import DamagedFile


@pytest.fixture(scope="module")
def codec():
    return Codec()


@pytest.fixture(scope="module")
def file(codec):
    y, x = np.mgrid[:64, :80]
    return codec.compress(np.stack([x * 3, y * 3, x + y], -1).astype(np.uint8), 60)


def test_shows_what_a_cut_file_shows(codec, file):
    decoder = pqmim.Decoder(codec)
    for start in range(0, len(file), 50):
        decoder.feed(file[start : start + 50])
        assert np.array_equal(np.asarray(decoder.image()), np.asarray(codec.decompress(file[: start + 50])))
        assert decoder.complete == (start + 50 >= len(file)) == (decoder.notes == [])


def test_options_are_those_of_decompress(codec, file):
    decoder = pqmim.Decoder(codec, complete="sample", seed=4)
    decoder.feed(file[:60])
    assert np.array_equal(
        np.asarray(decoder.image()), np.asarray(codec.decompress(file[:60], complete="sample", seed=4))
    )


def test_nothing_to_show_before_the_header(codec, file):
    decoder = pqmim.Decoder(codec)
    for part in (b"", file[:1], file[1:5]):
        decoder.feed(part)
        with pytest.raises(DamagedFile):
            decoder.image()
    decoder.feed(file[5:])
    assert decoder.image().size == (80, 64) and decoder.complete

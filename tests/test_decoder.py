"""Bytes as they come."""

import math

import numpy as np
import pytest

import pqmim
from pqmim.bitstream import Header, Kind, read, write
from pqmim.codec import Codec
from pqmim.decoder import frames, lengths
from pqmim.dial import most_pixels
from pqmim.errors import DamagedFile, InvalidImage, UnsupportedFile


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
        rendered = codec.render(codec.receive(file[: start + 50]))
        assert np.array_equal(np.asarray(decoder.image()), np.asarray(rendered.image))
        assert decoder.notes == rendered.notes
        assert decoder.complete == (start + 50 >= len(file)) == (decoder.notes == ())


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
        assert decoder.image() is None and decoder.received() is None and not decoder.complete
    decoder.feed(file[5:])
    assert decoder.image().size == (80, 64) and decoder.complete


def test_what_was_received_stays_as_it_is_when_more_bytes_come(codec, file):
    decoder = pqmim.Decoder(codec)
    decoder.feed(file[:60])
    before = decoder.received()
    share, codes = before.share, before.codes.copy()
    decoder.feed(file[60:])
    assert decoder.received().complete
    assert before.share == share < 1 and np.array_equal(before.codes, codes)


def test_what_is_no_file_is_refused_at_its_first_bytes(codec):
    decoder = pqmim.Decoder(codec)
    decoder.feed(b"GIF89a")
    with pytest.raises(UnsupportedFile):
        decoder.image()


def test_a_whole_file_is_verified(codec, file):
    damaged = file[:-20] + bytes([file[-20] ^ 1]) + file[-19:]
    decoder = pqmim.Decoder(codec)
    decoder.feed(damaged[:-1])
    assert decoder.image() is not None
    decoder.feed(damaged[-1:])
    with pytest.raises(DamagedFile):
        decoder.image()
    lenient = pqmim.Decoder(codec, partial=True)
    lenient.feed(damaged)
    assert lenient.image().size == (80, 64) and "damaged" in lenient.notes[0]


def test_frames_are_pictures_of_growing_prefixes(codec, file):
    found = list(frames(codec, file, 4))
    assert [length for length, _ in found] == lengths(file, 4)[-len(found) :] and found[-1][0] == len(file)
    for length, image in found:
        assert np.array_equal(np.asarray(image), np.asarray(codec.decompress(file[:length])))


def large(pixels_beyond):
    side = math.isqrt(most_pixels(0))
    header = Header(side + pixels_beyond, side, 0, 0, kind=Kind.FLAT)
    return header, write(header, b"abc", {}, b"")


def test_the_first_bytes_of_a_large_picture_are_shown_if_allowed(codec):
    header, file = large(200)
    decoder = pqmim.Decoder(codec)
    decoder.feed(file[:-1])
    where = f"{header.width}x{header.height}.* for the first {len(file) - 1} bytes of its file.*--max-pixels"
    with pytest.raises(InvalidImage, match=where):
        decoder.received()
    allowed = pqmim.Decoder(codec, max_pixels=header.width * header.height)
    allowed.feed(file[:-1])
    assert allowed.received().header == header
    with pytest.raises(InvalidImage) as refused:
        codec.receive(file)
    assert "first" not in str(refused.value)


def test_a_length_that_a_frame_claims_allows_nothing(codec):
    header = Header(*[math.isqrt(most_pixels(0)) + 200] * 2, 0, codec.release.id, scale=3)
    forged = write(header, bytes(header.most_payload), {}, b"")[:100]
    assert read(forged).payload_size == header.most_payload
    with pytest.raises(InvalidImage):
        codec.receive(forged)


def test_it_starts_anew_after_an_exception(codec, file, monkeypatch):
    decoder = pqmim.Decoder(codec)
    decoder.feed(file[:80])
    prior = type(codec._engine().reception.prior)
    with monkeypatch.context() as patch:
        patch.setattr(prior, "context", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            decoder.received()
    decoder.feed(file[80:])
    assert np.array_equal(decoder.received().codes, codec.receive(file).codes)


def test_its_pictures_are_the_callers(codec, file):
    decoder = pqmim.Decoder(codec)
    decoder.feed(file)
    decoder.image().thumbnail((10, 10))
    assert decoder.image().size == (80, 64)


def test_bytes_that_are_partial_are_taken_among_damaged_chunks(codec):
    y, x = np.mgrid[:64, :80]
    clear = np.stack([x * 3, y * 3, x + y, 2 * x + 60], -1).astype(np.uint8)
    data = codec.compress(clear, 60)
    chunks = data.index(data[-40:])
    damaged = data[:chunks] + bytes(byte ^ 0x5A for byte in data[chunks:])
    for length in range(chunks - 1, len(data) + 1):
        decoder = pqmim.Decoder(codec, partial=True)
        decoder.feed(damaged[:length])
        assert decoder.image().size == (80, 64)

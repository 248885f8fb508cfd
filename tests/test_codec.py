"""The codec with the shipped weights: any picture in, the same picture out, and damage never passes."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pqmim.bitstream.container import read
from pqmim.bitstream.errors import DamagedFile, InvalidImage, PqmimError, UnsupportedFile
from pqmim.bitstream.header import Header
from pqmim.codec import Codec
from pqmim.evaluation.metrics import psnr


@pytest.fixture(scope="module")
def codec():
    return Codec()


@pytest.fixture(scope="module")
def photo():
    y, x = np.mgrid[:96, :144] / 24
    channels = [127 + 70 * np.sin(x + y * k) + 30 * (np.hypot(x - 3, y - 2) < 1) for k in (0.3, 0.7, 1.1)]
    return np.stack(channels, -1).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def file(codec, photo):
    return codec.compress(photo, 60)


def test_quality_is_a_dial(codec, photo):
    files = [codec.compress(photo, quality) for quality in (0, 25, 50, 75, 100)]
    fidelity = [psnr(np.asarray(codec.decompress(data)), photo) for data in files]
    assert [len(data) for data in files] == sorted(len(data) for data in files)
    assert fidelity == sorted(fidelity)
    assert fidelity[0] > 20 and fidelity[-1] > 34


@pytest.mark.parametrize("height, width", [(1, 1), (1, 40), (17, 33), (16, 16), (130, 3)])
def test_any_size(codec, height, width):
    picture = np.random.default_rng(0).integers(90, 160, (height, width, 3), dtype=np.uint8)
    data = codec.compress(picture, 70)
    assert codec.decompress(data).size == (width, height)
    assert (read(data).header.width, read(data).header.height) == (width, height)


def test_codes_are_what_the_encoder_wrote(codec, photo, file):
    codes = codec.codes(file)
    assert codes.dtype == np.uint8 and codes.shape[1:] == (6, 9)
    assert codes.any()
    assert np.array_equal(codes, Codec().codes(file))


def test_files_are_as_short_as_the_prior_allows(codec, file):
    container = read(file)
    bits = codec.ideal_bits(codec.codes(file), 60)
    assert bits.shape == (96,) and (bits >= 0).all()
    assert 0 <= 8 * len(container.payload) - bits.sum() < 9 + 1e-3 * bits.sum()


def test_threads_do_not_matter(codec, file):
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(codec.codes(file))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*found)


def test_accepts_pictures_in_every_form(codec, photo, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(buffer.getvalue())
    files = {
        codec.compress(source, 30) for source in (photo, Image.fromarray(photo), path, str(path), buffer.getvalue())
    }
    assert len(files) == 1


def test_alpha_is_kept_exactly(codec, photo):
    alpha = (np.arange(96 * 144).reshape(96, 144) % 251).astype(np.uint8)
    data = codec.compress(np.dstack([photo, alpha]), 40)
    decoded = codec.decompress(data)
    assert decoded.mode == "RGBA"
    assert np.array_equal(np.asarray(decoded)[..., 3], alpha)


@pytest.mark.parametrize("quality", [-1, 101, 50.5])
def test_absurd_qualities_are_refused(codec, photo, quality):
    with pytest.raises(ValueError, match="0 to 100"):
        codec.compress(photo, quality)


def test_what_is_no_picture_is_refused(codec):
    with pytest.raises(InvalidImage):
        codec.compress(b"not a picture")


def test_every_cut_decodes_to_a_prefix_of_the_codes(codec, file):
    whole = codec.codes(file)
    start = len(read(file).header.pack()) + 2
    for end in range(start, len(file), max(1, len(file) // 40)):
        container, _, received = codec._receive(file[:end])
        active = len(received.known)
        assert not container.complete
        assert np.array_equal(received.codes[:active][received.known], whole[:active][received.known])
        assert codec.decompress(file[:end]).size == (144, 96)
        assert "cut" in codec.notes[0]


def test_more_bytes_give_more_codes_and_a_better_picture(codec, photo, file):
    cuts = [len(file) * part // 5 for part in (1, 2, 3, 4)] + [len(file)]
    shares = [codec._receive(file[:end])[2].share for end in cuts]
    fidelity = [psnr(np.asarray(codec.decompress(file[:end])), photo) for end in cuts]
    assert shares == sorted(shares) and shares[-1] == 1
    assert fidelity[0] < fidelity[-1]


@pytest.mark.parametrize("size", [9, 40, 100, 333])
def test_exact_sizes(codec, photo, size):
    data = codec.compress(photo, size=size)
    assert len(data) == size
    assert codec.decompress(data).size == (144, 96)


def test_more_bytes_make_better_pictures(codec, photo):
    fidelity = [
        psnr(np.asarray(codec.decompress(codec.compress(photo, size=size))), photo) for size in (30, 100, 400, 1600)
    ]
    assert fidelity == sorted(fidelity)


def test_sizes_beyond_the_best_quality_are_not_filled(codec, photo):
    best = read(codec.compress(photo, 100))
    data = codec.compress(photo, size=100_000)
    assert read(data).header.quality == 100 and read(data).payload == best.payload
    codec.decompress(data)
    assert codec.notes == []


def test_sizes_without_room_are_refused(codec, photo):
    with pytest.raises(ValueError, match="no room"):
        codec.compress(photo, size=8)


def test_a_cut_file_has_no_verified_codes(codec, file):
    with pytest.raises(DamagedFile, match="cut"):
        codec.codes(file[:-3])


def test_no_flipped_bit_passes_the_check(codec, file):
    whole = codec.codes(file)
    generator = np.random.default_rng(1)
    for bit in generator.choice(8 * len(file), 60, replace=False):
        damaged = bytearray(file)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PqmimError):
            assert not np.array_equal(codec.codes(bytes(damaged)), whole)


@pytest.mark.parametrize("data", [b"", b"\xd0", b"\xd0\x11", b"hello, world", bytes(100)])
def test_what_is_no_file_is_refused(codec, data):
    with pytest.raises((DamagedFile, UnsupportedFile)):
        codec.decompress(data)


def test_absurd_sizes_cost_nothing(codec):
    header = Header(65536, 65536, 50, codec.weights.id).pack()
    with pytest.raises((DamagedFile, InvalidImage)):
        codec.decompress(header + b"\x08\x00\x00\x00\x00\x00\x00")
    header = Header(30000, 30000, 100, codec.weights.id).pack()
    with pytest.raises(DamagedFile, match="more pixels"):
        codec.decompress(header + b"\x08\x00\x00\x00\x00\x00\x00")


def test_missing_weights_are_named(codec, photo):
    file = bytearray(codec.compress(photo, 10))
    file[3] ^= 1  # a bit of the weights' id
    with pytest.raises(UnsupportedFile, match="needs weights"):
        codec.decompress(bytes(file))

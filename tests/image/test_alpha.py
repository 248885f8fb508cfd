import contextlib
import io
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from pqmim.errors import DamagedFile
from pqmim.image.alpha import decode_alpha, encode_alpha, webp_file


def disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    return np.clip(40 * (height / 3 - distance), 0, 255).astype(np.uint8)


def planes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.integers(0, 256, (64, 1), dtype=np.uint8), 50, axis=1)
    return {
        "pixel": np.array([[7]], np.uint8),
        "two": np.array([[0, 255]], np.uint8),
        "disc": disc(120, 160),
        "noise": rng.integers(0, 256, (33, 21), dtype=np.uint8),
        "ramp": np.tile(np.arange(256, dtype=np.uint8), (3, 1)),
        "rows": rows,
        "columns": np.ascontiguousarray(rows.T),
        "wide": np.resize(np.array([0, 255, 255], np.uint8), (1, 20000)),
        "transposed": disc(60, 80).T,
    }


@pytest.mark.parametrize("name", planes())
def test_round_trip(name):
    alpha = planes()[name]
    decoded = decode_alpha(encode_alpha(alpha), alpha.shape)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, alpha)


def test_it_is_small():
    assert encode_alpha(np.full((3000, 4000), 255, np.uint8)) == b"\x00\xff"
    assert len(encode_alpha(planes()["disc"])) < 0.06 * 120 * 160
    noise = planes()["noise"]
    assert len(encode_alpha(noise)) <= noise.size + 10


def test_every_form_is_chosen_for_some_plane():
    assert {encode_alpha(plane)[0] for plane in planes().values()} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", planes())
def test_another_size_is_damage(name):
    alpha = planes()[name]
    data = encode_alpha(alpha)
    if data[0] == 0:
        return
    height, width = alpha.shape
    for shape in ((height, width + 1), (height + 1, width), (height + 1, max(width - 1, 1)), (1, 1)):
        if shape[0] * shape[1] != height * width:
            with pytest.raises(DamagedFile):
                decode_alpha(data, shape)


@pytest.mark.parametrize("name", planes())
def test_cut_data_is_damage(name):
    alpha = planes()[name]
    data = encode_alpha(alpha)
    for length in (0, 1, len(data) // 2):
        with pytest.raises(DamagedFile):
            decode_alpha(data[:length], alpha.shape)


def test_foreign_data_is_damage():
    for data in (b"\x05abc", b"\xff\xff", b"\x00\x01\x02", b"\x01\xff\xff", b"\x04/abcd", b"\x04RIFFRIFF"):
        with pytest.raises(DamagedFile):
            decode_alpha(data, (4, 4))


def test_flipped_bits_give_a_plane_or_damage():
    rng = np.random.default_rng(3)
    for alpha in planes().values():
        data = encode_alpha(alpha)
        for _ in range(20):
            damaged = bytearray(data)
            damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
            with contextlib.suppress(DamagedFile):
                assert decode_alpha(bytes(damaged), alpha.shape).shape == alpha.shape


def test_a_bomb_is_not_unpacked_beyond_the_size_of_the_picture():
    bomb = b"\x01" + zlib.compress(bytes(1 << 24))[2:-4]  # raw deflate: less the frame of zlib
    tracemalloc.start()
    with pytest.raises(DamagedFile, match="is not of its size"):
        decode_alpha(bomb, (8, 8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 17


def webp_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=100, method=4)
    return buffer.getvalue()


def test_a_webp_bitstream_is_kept_without_the_padding_of_its_file():
    chosen = []
    for seed in range(12):
        corner = np.random.default_rng(seed).integers(0, 60, (9 + seed, 11), dtype=np.uint8)
        alpha = np.kron(corner, np.ones((6, 5), np.uint8))
        data = encode_alpha(alpha)
        if data[0] == 4:
            file = webp_of(Image.fromarray(alpha))
            size = int.from_bytes(file[16:20], "little")
            assert data[1:] == file[20 : 20 + size]
            assert webp_file(data[1:]) == file
            chosen.append(size % 2)
    assert set(chosen) == {0, 1}


def test_the_green_channel_of_a_webp_bitstream_is_the_alpha():
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    file = webp_of(Image.fromarray(colours))
    size = int.from_bytes(file[16:20], "little")
    assert np.array_equal(decode_alpha(b"\x04" + file[20 : 20 + size], (5, 7)), colours[..., 1])


@pytest.mark.parametrize(("width", "form"), [(16383, 4), (16384, 1)])
def test_the_longest_side_of_a_webp_bitstream(width, form):
    """A plane for which a WebP bitstream is shortest takes another form where it is too wide for one."""
    alpha = np.random.default_rng(0).integers(0, 3, (2, width), dtype=np.uint8)
    data = encode_alpha(alpha)
    assert data[0] == form
    assert np.array_equal(decode_alpha(data, alpha.shape), alpha)

"""The codec with the shipped weights: any picture in, the same picture out, and damage never passes."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pqmim import dial
from pqmim.bitstream.container import read, write
from pqmim.bitstream.header import Header
from pqmim.codec import Codec
from pqmim.errors import BadArgument, DamagedFile, InvalidImage, PqmimError, UnsupportedFile
from pqmim.evaluation.metrics import psnr
from pqmim.reception import Reception


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


def test_the_lowest_qualities_are_coded_at_half_the_size_where_it_costs_less(codec, photo):
    stripes = np.where(np.indices((64, 96))[1] // 2 % 2, 220, 20).astype(np.uint8)  # half the size leaves none
    smooth, striped = codec.encode(photo, 8, effort=0), codec.encode(np.dstack([stripes] * 3), 18, effort=0)
    assert (smooth.scale, striped.scale, smooth.trials) == (1, 0, 2)
    assert read(smooth.data).header.scale == 1 and codec.codes(smooth.data).shape[1:] == (3, 5)
    assert codec.decompress(smooth.data).size == (144, 96)


def test_edges_between_full_colours_are_coded_where_codewords_reach_them(codec, photo):
    """They lie beyond the codewords of the finest steps; a photo does not."""
    full = np.array([[0, 0, 255], [255, 0, 0], [0, 255, 0], [255, 0, 255], [0, 0, 0], [255, 255, 255]], np.uint8)
    squares = full.reshape(2, 3, 3).repeat(64, 0).repeat(64, 1)
    fine, coarse = codec.encode(squares, 100, effort=0), codec.encode(squares, 85, effort=0)
    assert fine.notes == ("coded at quality 91: finer steps do not reach all of its colours",) and not coarse.notes
    assert (fine.quality, fine.trials) == (91, 2) and codec.encode(photo, 100, effort=0).quality == 100
    errors = [psnr(np.asarray(codec.decompress(one.data)), squares) for one in (fine, coarse)]
    assert errors[0] > errors[1] - 0.5
    sized = codec.encode(squares, size=30_000, effort=0)
    assert sized.quality == 91 and "quality 91 takes no more" in sized.notes[-1]


def test_targets_are_reached_at_the_lowest_quality(codec, photo):
    encoded = codec.encode(photo, psnr=32, effort=0)
    assert psnr(np.asarray(codec.decompress(encoded.data)), photo) >= 32
    below = codec.encode(photo, encoded.quality - 1, effort=0)
    assert below.quality == encoded.quality - 1 and psnr(np.asarray(codec.decompress(below.data)), photo) < 32
    assert "reaches" in codec.encode(photo, psnr=70, effort=0).notes[0]
    with pytest.raises(BadArgument, match="size and psnr"):
        codec.encode(photo, size=100, psnr=30)


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
    assert bits.shape == (len(codec.release.record.dimensions),) and (bits >= 0).all()
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
    whole = codec.codes(file).reshape(-1, 54)
    start = len(file) - 4 - len(read(file).payload)  # after the frame
    for end in range(start, len(file)):
        received = codec.receive(file[:end])
        assert not received.verified and "cut" in received.notes[0]
        assert np.array_equal(received.codes[received.known], whole[received.known])
        assert not received.codes[~received.known].any()
    assert codec.decompress(file[:start]).size == codec.decompress(file[:-30]).size == (144, 96)


def test_more_bytes_give_more_codes_and_a_better_picture(codec, photo, file):
    cuts = [len(file) * part // 5 for part in (1, 2, 3, 4)] + [len(file)]
    shares = [codec.receive(file[:end]).share for end in cuts]
    fidelity = [psnr(np.asarray(codec.decompress(file[:end])), photo) for end in cuts]
    assert shares == sorted(shares) and shares[-1] == 1
    assert fidelity == sorted(fidelity)


def test_whole_numbers_may_be_floats(codec, photo):
    assert codec.compress(photo, size=200.0, effort=1.0) == codec.compress(photo, size=200, effort=1)


@pytest.mark.parametrize("size", [9, 40, 100, 333])
def test_exact_sizes(codec, photo, size):
    data = codec.compress(photo, size=size)
    assert len(data) == size
    assert codec.decompress(data).size == (144, 96)


def test_sizes_in_bits_a_pixel(codec, photo):
    assert codec.compress(photo, bpp=0.1) == codec.compress(photo, size=int(0.1 * 96 * 144 / 8))
    with pytest.raises(ValueError, match="cannot both"):
        codec.compress(photo, size=100, bpp=0.1)
    for bpp in (float("inf"), float("nan"), -1.0, 1e308):
        with pytest.raises(BadArgument):
            codec.compress(photo, bpp=bpp)


def test_more_bytes_make_better_pictures(codec, photo):
    fidelity = [
        psnr(np.asarray(codec.decompress(codec.compress(photo, size=size))), photo) for size in (30, 100, 400, 1600)
    ]
    assert fidelity == sorted(fidelity)


def test_tiny_files_are_coded_at_a_smaller_scale(codec):
    photo = np.full((301, 403, 3), 90, np.uint8)
    photo[0, 0] = 91  # not flat
    data = codec.compress(photo, size=24)
    assert read(data).header.scale > 0 and len(data) <= 24  # quality 100 may take fewer
    decoded = np.asarray(codec.decompress(data))
    assert decoded.shape == photo.shape and psnr(decoded, photo) > 25


def test_sizes_beyond_the_best_quality_are_not_filled(codec, photo):
    best = read(codec.compress(photo, 100))
    encoded = codec.encode(photo, size=100_000)
    data = encoded.data
    assert encoded.notes == (f"{len(data):,} bytes, not 100,000: quality 100 takes no more",)
    assert codec.encode(photo, bpp=60, effort=0).notes[0].endswith("quality 100 takes no more")
    assert codec.encode(photo, size=200, effort=0).notes == ()
    assert read(data).header.quality == 100 and read(data).payload == best.payload
    received = codec.receive(data)
    assert received.complete and codec.render(received).notes == ()


def test_completions_differ_where_codes_are_missing_alone(codec, photo, file):
    cut = file[: len(file) // 3]
    expected, drawn, nothing = (np.asarray(codec.decompress(cut, complete=how)) for how in ("expect", "sample", "none"))
    assert not np.array_equal(expected, drawn) and not np.array_equal(expected, nothing)
    freely = [np.asarray(codec.decompress(cut, complete="sample", seed=seed, temperature=1.0)) for seed in range(3)]
    assert psnr(expected, photo) > np.mean([psnr(sample, photo) for sample in freely])
    for how in ("sample", "none"):
        assert np.array_equal(np.asarray(codec.decompress(file, complete=how)), np.asarray(codec.decompress(file)))


@pytest.mark.parametrize("steps", [None, 3])
def test_what_is_drawn_depends_on_the_seed_alone(codec, file, steps):
    received = codec.receive(file[: len(file) // 2])
    assert 0 < received.share < 1
    drawn = [codec.draw(received, seed=seed, steps=steps) for seed in (1, 1, 2)]
    for found in drawn:
        assert found.complete and not found.verified
        assert np.array_equal(found.codes[received.known], received.codes[received.known])  # what was sent stays
    assert np.array_equal(drawn[0].codes, drawn[1].codes) and not np.array_equal(drawn[0].codes, drawn[2].codes)


def test_pictures_of_nothing(codec):
    one, again, other = (
        np.asarray(codec.generate(50, 34, quality=q, seed=seed)) for q, seed in ((20, 1), (20.0, 1), (20, 2))
    )
    assert one.shape == (34, 50, 3) and one.std() > 0
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_repainting_changes_the_region_and_not_what_is_far_from_it(codec, photo, file):
    mask = np.zeros((96, 144), bool)
    mask[40:50, 10:20] = True
    before, after = np.asarray(codec.decompress(file)), np.asarray(codec.repaint(file, mask, seed=3))
    assert not np.array_equal(before[32:64, :32], after[32:64, :32])
    assert np.array_equal(before[:, 136:], after[:, 136:])
    assert codec.receive(file).without(np.arange(54) == 18).share == pytest.approx(1 - 1 / 54)
    with pytest.raises(ValueError, match="mask"):
        codec.repaint(file, mask[:50])


def test_a_picture_of_one_colour_is_repainted_as_it_is(codec):
    plain = np.full((20, 30, 3), (9, 8, 7), np.uint8)
    again = codec.repaint(codec.compress(plain), np.ones((20, 30), bool))
    assert np.array_equal(np.asarray(again), plain)


@pytest.mark.parametrize("options", [{"size": 150}, {"bpp": 0.2}, {"quality": 5}])
def test_what_decodes_otherwise_than_it_was_written_is_found_before_it_is_returned(codec, photo, monkeypatch, options):
    assert codec.encode(photo, effort=0, verify=True, **options).data
    decode = Reception.decode

    def wrong(self, container):
        grid = decode(self, container)
        grid.codes[grid.known] ^= 1
        return grid

    monkeypatch.setattr(Reception, "decode", wrong)
    with pytest.raises(PqmimError):
        codec.encode(photo, effort=0, verify=True, **options)


def test_absurd_options_are_refused(codec, file):
    for options in ({"complete": "guess"}, {"seed": -1}, {"temperature": 0}, {"temperature": 17}):
        with pytest.raises(ValueError):
            codec.decompress(file, **options)


def test_damaged_files_decode_if_asked(codec, file):
    damaged = bytearray(file)
    damaged[-10] ^= 0x10
    with pytest.raises(DamagedFile):
        codec.decompress(bytes(damaged))
    received = codec.receive(bytes(damaged), partial=True)
    rendered = codec.render(received)
    assert rendered.image.size == (144, 96) and "damaged" in rendered.notes[0] and not received.verified
    assert np.array_equal(received.codes[:2], codec.codes(file).reshape(-1, 54)[:2])  # what came before the damage


def test_sizes_without_room_are_refused(codec, photo):
    with pytest.raises(ValueError, match="no room"):
        codec.compress(photo, size=4)


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
    with pytest.raises((DamagedFile, InvalidImage)):
        codec.decompress(write(Header(65536, 65536, 50, codec.release.id), bytes(4), {}, b""))
    file = write(Header(30000, 30000, 100, codec.release.id), bytes(4), {}, b"")
    with pytest.raises(InvalidImage, match="max_pixels"):
        codec.decompress(file)
    with pytest.raises(DamagedFile, match="more pixels"):
        codec.decompress(file, max_pixels=1 << 30)


def test_a_file_that_decoders_would_refuse_says_so(monkeypatch):
    codec, picture = Codec(), np.full((40, 50, 3), 90, np.uint8)
    assert codec.encode(picture).notes == ()
    monkeypatch.setattr(dial, "FILE_PIXELS", 1000)
    monkeypatch.setattr(dial, "PIXELS_PER_BYTE", 0)
    (note,) = codec.encode(picture).notes
    assert note.endswith("unless decoding has --max-pixels 2000")


def test_missing_weights_are_named(codec, photo):
    container = read(codec.compress(photo, 10))
    header = replace(container.header, weights=container.header.weights ^ 1)
    with pytest.raises(UnsupportedFile, match="needs weights"):
        codec.decompress(write(header, container.payload, {}, b""))


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (70000, 10), (60000, 60000)])
def test_a_picture_of_a_size_that_none_has_is_not_drawn(codec, size):
    with pytest.raises(BadArgument, match=f"{size[0]}x{size[1]}"):
        codec.generate(*size)


def test_bytes_after_the_end_are_damage_unless_what_there_is_is_asked_for(codec, file):
    with pytest.raises(DamagedFile, match="bytes after its end"):
        codec.receive(file + b"xy")
    received = codec.receive(file + b"xy", partial=True)
    assert np.array_equal(received.codes, codec.receive(file).codes) and "passed over" in received.notes[-1]


def test_sides_of_numpy_do_not_wrap(codec):
    assert codec.empty(np.uint8(200), np.uint8(248)).shape == codec.empty(200, 248).shape
    with pytest.raises(BadArgument, match="too large"):
        codec.empty(np.int32(60000), np.int32(60000))
    with pytest.raises(TypeError):
        codec.empty(20.5, 30)

"""At which scale a quality is coded, and the search for one that makes a file of a given size."""

import math
import re

import numpy as np
import pytest

from pqmim.dial import (
    ENOUGH,
    FILE_PIXELS,
    SHIFT,
    SMALL,
    check_effort,
    check_quality,
    check_targets,
    fit,
    most_pixels,
    reach,
    settings,
    target,
)
from pqmim.errors import BadArgument


def sizes(growth, lowest=400):
    return lambda quality: bytes(round(lowest * math.exp(growth * quality)))


@pytest.mark.parametrize("growth", [0.02, 0.05, 0.09])
@pytest.mark.parametrize("room", [401, 1000, 2500])
def test_finds_a_payload_just_long_enough_in_a_few_trials(growth, room):
    trials = []

    def encode(quality):
        trials.append(quality)
        return sizes(growth)(quality)

    quality, payload = fit(encode, room, 384 * 1024)
    assert payload == sizes(growth)(quality)
    assert room <= len(payload)
    assert len(payload) <= ENOUGH * room or len(sizes(growth)(quality - 1)) < room
    assert len(trials) == len(set(trials)) <= 6


def test_room_under_what_quality_0_takes():
    assert fit(sizes(0.05), 100, 384 * 1024)[0] == 0


def test_room_beyond_what_quality_100_takes():
    assert fit(sizes(0.05), 10**6, 384 * 1024)[0] == 100


def test_sizes_that_stand_still():
    quality, payload = fit(lambda quality: bytes(50 if quality < 60 else 90), 70, 10_000)
    assert (quality, len(payload)) == (60, 90)


def test_low_qualities_may_be_coded_at_half_the_size():
    assert [len(settings(quality)) for quality in (0, SMALL - 1, SMALL, 100)] == [2, 2, 1, 1]
    assert all(settings(quality)[0] == (quality, 0) for quality in range(101))
    assert settings(5)[1] == (5 + SHIFT, 1)


@pytest.mark.parametrize("wanted", [-5.0, 0.0, 0.5, 3.3, 30.0, 64.5, 124.9, 999.0])
def test_the_lowest_quality_that_reaches_a_target_is_found_in_a_few_trials(wanted):
    tried = []

    def measure(quality):  # grows, faster and faster
        tried.append(quality)
        return 0.0001 * quality**3 + 0.25 * quality

    found = reach(measure, wanted)
    assert len(tried) == len(set(tried)) <= 9
    assert found == 100 or measure(found) >= wanted
    assert found == 0 or measure(found - 1) < wanted


@pytest.mark.parametrize("value", [-1, 101, 50.5, math.inf, -math.inf, math.nan])
def test_qualities_and_efforts_are_whole_numbers(value):
    check_quality(50.0)
    check_effort(None)
    with pytest.raises(BadArgument, match="quality must be"):
        check_quality(value)
    with pytest.raises(BadArgument, match="effort must be"):
        check_effort(value)


def test_targets_are_checked():
    check_targets({"size": None, "psnr": 35})
    check_targets({"size": 200.0})
    for name, value in (("bpp", math.inf), ("bpp", 1e308), ("bpp", math.nan), ("psnr", 100), ("msssim", 1.5)):
        with pytest.raises(BadArgument, match=f"^{name} must be above 0 and below .*, not {re.escape(str(value))}$"):
            check_targets({name: value})
    for size in (0, 200.5, 10**400, math.inf, math.nan):
        with pytest.raises(BadArgument, match=f"^size must be a whole number above 0 and below .*, not {size}$"):
            check_targets({"size": size})
    with pytest.raises(BadArgument, match="size and bpp cannot both be met"):
        check_targets({"size": 9, "bpp": 1})
    with pytest.raises(BadArgument, match="100x300"):
        target(None, 0.9, (100, 300))
    measure, wanted = target(30, None, (1, 1))
    black = np.zeros((2, 2, 3), np.uint8)
    assert wanted == 30 and measure(black, black + 1) == pytest.approx(48.13, abs=0.01)


def test_tiny_files_are_not_believed_everything():
    assert most_pixels(0) == FILE_PIXELS < most_pixels(10**6)
    assert most_pixels(60) > 4032 * 3024 and most_pixels(1000) > 6048 * 4024  # photos of 12 and of 24 megapixels

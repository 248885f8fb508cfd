"""At which scale a quality is coded, and the search for one that makes a file of a given size."""

import math

import pytest

from pqmim.dial import ENOUGH, SMALL, fit, setting


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


def test_low_qualities_are_coded_at_half_the_size():
    assert [setting(quality)[1] for quality in (0, SMALL - 1, SMALL, 100)] == [1, 1, 0, 0]
    for scale in (0, 1):
        own = [setting(quality)[0] for quality in range(101) if setting(quality)[1] == scale]
        assert own == sorted(set(own)) and 0 <= own[0] and own[-1] <= 100

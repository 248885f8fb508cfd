"""A short run of the fuzzer, the same on every machine; `make fuzz` runs it for longer."""

import json

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz import count
from fuzz.corpus import starts
from fuzz.mutate import changed
from fuzz.targets import TARGETS, attempt

SLOW = ("decompress", "feed")
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in TARGETS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_starts_are_taken(name):
    taken = [attempt(TARGETS[name], data) for data in starts(name)]
    assert True in taken  # what was kept need not be sound


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_changed_starts_are_taken_or_refused(name):
    taken = []

    @settings(max_examples=40, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(changed(starts(name)))
    def examples(data):
        taken.append(attempt(TARGETS[name], data))

    examples()
    assert True in taken
    if name == "exif":
        assert all(taken)  # whatever cannot be turned upright is left as it is, or out
    elif name != "joined":  # few changes of so short packets leave no file
        assert False in taken


def test_inputs_by_count_are_the_same_for_a_seed_and_each_is_accounted_for(tmp_path):
    first, again, other = (count.by_count("container", 300, seed) for seed in (0, 0, 1))
    assert first["tried"] == 300 == first["accepted"] + first["refused"] and first["foreign exceptions"] == {}
    assert first["accepted"] == again["accepted"] and min(first["accepted"], first["refused"]) > 30
    path = tmp_path / "fuzz.json"
    for name, found in (("info", other), ("container", again), ("container", first)):
        count.record(path, name, found)
    written = json.loads(path.read_text())["targets"]
    assert list(written) == ["info", "container"] and written["container"] == first


def test_what_breaks_a_target_is_counted_and_kept(monkeypatch):
    def breaks(data):
        raise KeyError(data)

    kept = []
    monkeypatch.setitem(TARGETS, "info", breaks)
    monkeypatch.setattr(count, "keep", lambda name, data: kept.append((name, data)))
    tally = count.Tally()
    tally.take("info", b"x")
    assert tally.foreign == {"KeyError": 1} and kept == [("info", b"x")] and tally.tried == 1

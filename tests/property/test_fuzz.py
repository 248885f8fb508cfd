"""A short run of the fuzzer, the same on every machine; `make fuzz` runs it for longer."""

import pytest
from hypothesis import HealthCheck, given, settings

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
    assert True in taken and False in taken or name in ("exif", "joined")

"""The self-test: its digest is that of every form, and a level that fails it is not used."""

import pytest

from pqmim import native
from pqmim.models.prior import compiled, selftest
from pqmim.models.prior.compiled import CompiledPrior, Unavailable
from pqmim.models.prior.integer import IntegerPrior
from pqmim.models.prior.numpy import NumpyPrior


@pytest.fixture
def forgetful(monkeypatch):
    """What was found out is found out anew."""
    again = compiled.passes.cache_clear
    again()
    yield monkeypatch
    again()


@pytest.fixture
def library():
    found = native.library()
    if found is None:
        pytest.skip(native.reason())
    return found


@pytest.mark.parametrize("form", [IntegerPrior, NumpyPrior])
def test_the_digest_is_that_of_the_other_forms(form):
    assert selftest.digest((form(selftest.tensors(False)), form(selftest.tensors(True)))) == selftest.EXPECTED


def test_every_level_passes(library):
    assert [level for level in library.levels if compiled.passes(level)] == library.levels


def test_the_fastest_level_that_passes_is_chosen(library, forgetful):
    forgetful.delenv("PQMIM_NATIVE", raising=False)
    assert compiled.chosen_level() == library.levels[-1]
    forgetful.setattr(compiled, "passes", lambda level: level == "scalar")
    assert compiled.chosen_level() == "scalar"
    forgetful.setenv("PQMIM_NATIVE", library.levels[-1])
    with pytest.raises(Unavailable, match="fails its test"):
        compiled.chosen_level()


def test_a_level_that_is_asked_for_is_used(library, forgetful):
    forgetful.setenv("PQMIM_NATIVE", "scalar")
    assert CompiledPrior(selftest.tensors(False)).level == "scalar"
    forgetful.setenv("PQMIM_NATIVE", "nonsense")
    with pytest.raises(Unavailable, match="PQMIM_NATIVE is nonsense, which is none of scalar"):
        CompiledPrior(selftest.tensors(False))


def test_a_wrong_integer_is_found_out(library, forgetful):
    tensors = selftest.tensors(False)
    tensors["1.reduce.weight"][5, 7] ^= 1
    forgetful.setattr(selftest, "tensors", lambda extreme: tensors)
    assert not compiled.passes("scalar")

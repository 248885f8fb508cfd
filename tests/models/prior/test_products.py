import pytest
import torch

from pqmim.models.prior import products
from pqmim.models.prior.numpy import exact as exact_in_numpy
from pqmim.models.prior.products import choose, exact, multiply
from pqmim.models.prior.spec import EXACT_TERMS

CPU = torch.device("cpu")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("weight_type", [torch.int8, torch.float32])
def test_products_are_exact_at_their_bound(sign, weight_type):
    if weight_type == torch.int8 and choose(CPU) != "int8":
        pytest.skip("no exact int8 product here")
    x = torch.full((3, EXACT_TERMS), 127, dtype=torch.int8)
    weight = torch.full((8, EXACT_TERMS), 127 * sign, dtype=weight_type)
    assert EXACT_TERMS * 127 * 127 < 2**24
    assert (multiply(x, weight) == EXACT_TERMS * 127 * 127 * sign).all()


def test_float32_is_exact_everywhere():
    assert exact("float32", CPU)
    assert exact_in_numpy()


def test_what_is_chosen_is_exact():
    assert exact(choose(CPU), CPU)


def test_a_product_that_saturates_is_found_out(monkeypatch):
    """As `vpmaddubsw` does: sums of two products of an unsigned and a signed byte, held to 16 bits."""

    def saturating(x, weight):
        pairs = ((x.long() + 128)[:, :, None] * weight.long()[None]).unflatten(1, (-1, 2)).sum(2)
        return (pairs.clamp(-(2**15), 2**15 - 1).sum(1) - 128 * weight.long().sum(0)).to(torch.int32)

    def padded(x, weight):
        return saturating(torch.nn.functional.pad(x, (0, 1)), torch.nn.functional.pad(weight, (0, 0, 0, 1)))

    exact.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", lambda x, w: saturating(x, w) if x.shape[1] % 2 == 0 else padded(x, w))
    assert not exact("int8", CPU)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    assert choose(CPU) == "float32"
    exact.cache_clear()


def test_a_product_that_does_not_exist_is_not_chosen(monkeypatch):
    def missing(x, weight):
        raise RuntimeError("not implemented")

    exact.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", missing)
    assert not exact("int8", CPU)
    exact.cache_clear()


def test_the_choice_can_be_overridden(monkeypatch):
    for wanted in ("int8", "float32"):
        monkeypatch.setenv(products.VARIABLE, wanted)
        assert choose(CPU) == wanted
    monkeypatch.setenv(products.VARIABLE, "int4")
    with pytest.raises(ValueError, match="PQMIM_PRODUCT"):
        choose(CPU)

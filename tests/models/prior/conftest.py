"""The forms of the prior under test, by name."""

import numpy as np
import pytest

from pqmim.models.prior.compiled import CompiledPrior, Unavailable
from pqmim.models.prior.integer import IntegerPrior
from pqmim.models.prior.numpy import NumpyPrior


def compiled(tensors):
    try:
        return CompiledPrior(tensors)
    except Unavailable as error:
        pytest.skip(str(error))


FORMS = {
    "compiled": compiled,
    "numpy": NumpyPrior,
    "torch": IntegerPrior,
    "torch with float32 products": lambda tensors: IntegerPrior(tensors, product="float32"),
}


@pytest.fixture(params=sorted(FORMS))
def form(request):
    """Makes a prior of tensors."""
    return FORMS[request.param]


@pytest.fixture
def reveal():
    """Makes codes (h, w, M) that are known (same shape, bool) known to a context."""

    def run(context, codes, known):
        for m in range(codes.shape[2]):
            positions = np.flatnonzero(known[..., m])
            context.reveal(m, positions, codes[..., m].ravel()[positions])
        return context

    return run

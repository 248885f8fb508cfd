"""A small prior whose frequencies depend on all that is known, for tests of what walks over one."""

import numpy as np
import pytest

from pqmim.coding.prior import CumulativeFrequencies

CODEWORDS = 8


class SmallPrior:
    """Frequencies that follow from the sum of all known codes, their number and the number of blocks."""

    size, codewords, blocks = 6, CODEWORDS, 3

    def __init__(self):
        self.asked = []

    def context(self, height, width, quality):
        return SmallContext(self, height * width, quality)


class SmallContext:
    def __init__(self, prior, cells, quality):
        self.prior, self.quality = prior, quality
        self.codes, self.known = np.zeros((prior.size, cells), int), np.zeros((prior.size, cells), bool)

    def reveal(self, m, positions, codes):
        assert not self.known[m, positions].any()  # as the protocol promises
        self.codes[m, positions], self.known[m, positions] = codes, True

    def frequencies(self, coded, positions, blocks=None, temperature=16):
        self.prior.asked.append((coded, positions.tolist(), blocks, temperature))
        state = int((self.codes * np.arange(1, 1 + self.codes[0].size)).sum()), int(self.known.sum())
        for m in coded:
            for start in range(0, len(positions), 3):
                part = slice(start, start + 3)
                yield m, part, self._table(m, positions[part], (*state, blocks or 9, temperature))

    def _table(self, m, positions, state):
        rows = []
        for position in positions.tolist():
            rng = np.random.default_rng((m, position, self.quality, *state))
            inner = np.sort(rng.choice(np.arange(1, 65536), CODEWORDS - 1, replace=False))
            rows.append([0, *inner, 65536])
        return CumulativeFrequencies(np.array(rows, np.int32))


@pytest.fixture
def prior():
    return SmallPrior()

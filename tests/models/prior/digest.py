"""Prints digests of the frequencies of torch's and NumPy's forms over random codes; run in its own process."""

import hashlib
import sys

import numpy as np
import torch
from reference_prior import random_codes, random_tensors

from pqmim.models.prior.integer import IntegerPrior
from pqmim.models.prior.numpy import NumpyPrior

torch.set_num_threads(int(sys.argv[1]))
for form in (IntegerPrior, NumpyPrior):
    digest = hashlib.sha256()
    for seed in range(3):
        tensors = random_tensors(seed, dimensions=(1, 1, 2, 3, 5), codewords=64, width=64, heads=2, hidden=72, blocks=3)
        codes, known = random_codes(seed, tensors, 11 + seed, 9)
        context = form(tensors).context(*known.shape[:2], 30 * seed)
        for m in range(5):
            positions = np.flatnonzero(known[..., m])
            context.reveal(m, positions, codes[..., m].ravel()[positions])
        for _, _, frequencies in context.frequencies(range(5), np.arange(known[..., 0].size)):
            digest.update(frequencies.cumulative().tobytes())
    print(digest.hexdigest())
print(torch.backends.cpu.get_cpu_capability())

"""Prints a digest of the integer prior's frequencies over random codes and masks; run in its own process."""

import hashlib
import sys

import torch
from reference_prior import random_codes, random_tensors

from pqmim.models.prior.integer import IntegerPrior

torch.set_num_threads(int(sys.argv[1]))
digest = hashlib.sha256()
for seed in range(3):
    tensors = random_tensors(seed, dimensions=(1, 1, 2, 3, 5), codewords=64, width=64, heads=2, hidden=72, blocks=3)
    prior = IntegerPrior({name: torch.from_numpy(array) for name, array in tensors.items()})
    codes, known = random_codes(seed, tensors, 11 + seed, 9)
    hidden = prior.tokens(prior.masked(torch.from_numpy(codes)[None], torch.from_numpy(known)[None]), 30 * seed)[
        0
    ].flatten(0, 1)
    for _, _, table in prior.tables(hidden, range(5)):
        digest.update(table.numpy().tobytes())
print(digest.hexdigest(), torch.backends.cpu.get_cpu_capability())

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_prior import random_codes, random_tensors, tables, tokens

from pqmim.models.prior.integer import EXACT_TERMS, ROWS, IntegerPrior, exp2, export, frequencies, product
from pqmim.models.prior.masked import LN2, MaskedPrior, PriorConfig


def load(tensors):
    return IntegerPrior({name: torch.from_numpy(array) for name, array in tensors.items()})


def run(prior, codes, known, quality):
    hidden = prior.tokens(prior.masked(torch.from_numpy(codes)[None], torch.from_numpy(known)[None]), quality)[0]
    found = [table.numpy() for _, _, table in prior.tables(hidden.flatten(0, 1), range(prior.size))]
    return hidden.numpy(), found


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("height, width", [(1, 1), (8, 8), (5, 13), (12, 17)])
def test_agrees_with_the_numpy_reference_on_every_bit(height, width, extreme):
    for seed in range(3):
        tensors = random_tensors(seed, extreme=extreme)
        codes, known = random_codes(seed, tensors, height, width)
        hidden, found = run(load(tensors), codes, known, 10 * seed)
        wanted = tokens(tensors, codes, known, 10 * seed)
        assert np.array_equal(hidden, wanted)
        for table, expected in zip(
            found, tables(tensors, wanted.reshape(-1, wanted.shape[-1]), range(len(tensors["dimensions"])))
        ):
            assert np.array_equal(table, expected)


def test_reference_sees_a_change_of_one_weight():
    tensors = random_tensors(0)
    codes, known = random_codes(0, tensors, 8, 8)
    before = run(load(tensors), codes, known, 0)[0]
    tensors["1.reduce.weight"][:, 0] ^= 3
    assert not np.array_equal(before, run(load(tensors), codes, known, 0)[0])


def test_alone_and_in_a_batch_are_equal():
    tensors = random_tensors(3, width=64, hidden=40)
    prior = load(tensors)
    drawn = [random_codes(seed, tensors, 9, 14) for seed in range(4)]
    batch = prior.tokens(prior.masked(*(torch.from_numpy(np.stack(part)) for part in zip(*drawn))), 50)
    for index, (codes, known) in enumerate(drawn):
        assert np.array_equal(batch[index].numpy(), run(prior, codes, known, 50)[0])


def test_threads_and_instruction_sets_are_equal():
    def digest(capability, threads):
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
        script = Path(__file__).with_name("digest_prior.py")
        done = subprocess.run(
            [sys.executable, script, str(threads)], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split(maxsplit=1)

    results = [
        digest(capability, threads)
        for capability, threads in (
            ("default", 1),
            ("default", 2),
            ("avx2", 1),
            ("avx2", 2),
            ("avx512", 1),
            ("avx512", 2),
        )
    ]
    assert len({value for value, _ in results}) == 1
    assert results[0][1].strip() == "DEFAULT"  # the variable did something


@pytest.mark.parametrize("sign", [1, -1])
def test_products_are_exact_at_their_bound(sign):
    x = torch.full((3, EXACT_TERMS), 127, dtype=torch.int8)
    weight = torch.full((EXACT_TERMS, 8), 127 * sign, dtype=torch.int8)
    exact = EXACT_TERMS * 127 * 127 * sign
    assert abs(exact) < 2**24
    assert (product(x, weight) == exact).all()
    assert ((x.float() @ weight.float()).to(torch.int32) == exact).all()
    with pytest.raises(ValueError):
        product(torch.zeros(1, EXACT_TERMS + 1, dtype=torch.int8), torch.zeros(EXACT_TERMS + 1, 8, dtype=torch.int8))


def test_sums_are_exact_at_the_sizes_and_extremes_of_the_bounds():
    sizes = dict(dimensions=(1, 16), codewords=64, width=256, heads=4, hidden=512, blocks=2, rank=8, extreme=True)
    tensors = random_tensors(5, **sizes)
    codes, known = random_codes(5, tensors, 8, 9)
    hidden, found = run(load(tensors), codes, known, 100)
    assert np.abs(hidden).max() == 127 and np.abs(tensors["codebook"]).max() > 4000
    wanted = tokens(tensors, codes, known, 100)
    assert np.array_equal(hidden, wanted)
    for table, expected in zip(found, tables(tensors, wanted.reshape(-1, 256), range(2))):
        assert np.array_equal(table, expected)


@pytest.mark.parametrize("name", ["level", "embed.bias", "0.reduce.bias", "0.bias"])
def test_weights_that_could_overflow_are_refused(name):
    tensors = random_tensors(0)
    tensors[name] = np.full_like(tensors[name], 1 << 30)
    with pytest.raises(ValueError, match="could leave (32|24) bits"):
        load(tensors)


def test_exp2_is_close_and_falls():
    t = torch.arange(4096, dtype=torch.int32)
    exact = 2.0 ** (15 - t.double() / 256)
    found = exp2(t)
    assert (found.diff() <= 0).all()
    assert ((found - exact).abs() <= 0.006 * exact + 1).all()


def test_frequencies_are_never_zero_and_sum_to_65536():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(-100_000, 100_000, (64, 256), generator=generator, dtype=torch.int32)
    logits[0] = 0
    logits[1] = -(2**22)
    logits[1, 7] = 2**16
    table = frequencies(logits)
    assert (table[:, 0] == 0).all() and (table[:, -1] == 65536).all()
    assert (table.diff() >= 1).all()
    assert (table[0].diff() == 256).all()
    assert table[1].diff()[7] == 65536 - 255


def test_float_form_is_the_same_model():
    torch.manual_seed(0)
    dimensions = [1, 1, 2, 3]
    codebook = torch.zeros(4, 32, 3)
    for m, d in enumerate(dimensions):
        codebook[m, :, :d] = torch.randn(32, d) * 3
    prior = MaskedPrior(PriorConfig(width=64, blocks=2, heads=2, hidden=64), codebook, dimensions, rates=3).eval()
    with torch.no_grad():
        for block in prior.blocks:
            block.attended.weight.mul_(5)
            block.bias.normal_()
    prior.rounding = True
    codes, known = torch.randint(0, 32, (1, 12, 10, 4)), torch.rand(1, 12, 10, 4) < 0.5
    rates = torch.linspace(2, 0, 101)
    with torch.no_grad():
        hidden = prior.tokens(codes.flatten(1, 2), known.flatten(1, 2), rates[60:61], 12)
        logits = prior.logits(hidden.flatten(0, 2), range(4)) * LN2
    integer = IntegerPrior(export(prior, rates))
    found = integer.tokens(integer.masked(codes, known), 60)
    wanted = torch.softmax(logits, -1)
    for m, _, table in integer.tables(found[0].flatten(0, 1), range(4)):
        p = wanted[:, m].clamp(min=1e-9)
        divergence = (p * (p.log2() - (table.diff() / 65536).log2())).sum(-1).mean()
        assert -1e-4 < divergence < 0.01  # bits a symbol


@pytest.mark.parametrize("coded", [range(4), range(2, 4), range(1)])
def test_the_logits_of_some_codewords_are_those_of_all(coded):
    torch.manual_seed(1)
    dimensions = [1, 2, 3, 2]
    codebook = torch.zeros(4, 32, 3)
    for m, d in enumerate(dimensions):
        codebook[m, :, :d] = torch.randn(32, d) * 3
    prior = MaskedPrior(PriorConfig(width=64, blocks=1, heads=2, hidden=64), codebook, dimensions, rates=2)
    prior.rounding = True
    prior.static.data.normal_()
    tokens, codes = torch.randn(20, 64), torch.randint(0, 32, (5, 20, len(coded)))
    with torch.no_grad():
        expected = prior.logits(tokens, coded).expand(5, -1, -1, -1).gather(-1, codes[..., None])[..., 0]
        torch.testing.assert_close(prior.logits_of(tokens, coded, codes), expected, rtol=1e-4, atol=1e-3)


def test_tables_come_in_slices_that_fit_the_cache():
    prior = load(random_tensors(5))
    tokens = torch.randint(-127, 128, (2 * ROWS + 3, prior.mean.weight.shape[1]), dtype=torch.int8)
    found = list(prior.tables(tokens, range(2)))
    assert [(m, part.start) for m, part, _ in found] == [(m, start) for m in (0, 1) for start in (0, ROWS, 2 * ROWS)]
    alone = next(prior.tables(tokens[-1:], range(1)))[2]
    assert torch.equal(found[2][2][-1:], alone)

"""Frequencies are the same whatever surrounds the prior."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_prior import random_codes, random_tensors


@contextmanager
def default_type(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@contextmanager
def precision(name):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    yield
    torch.set_float32_matmul_precision(before)


@contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


SURROUNDINGS = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to half": lambda: torch.autocast("cpu", torch.float16),
    "double by default": lambda: default_type(torch.float64),
    "half by default": lambda: default_type(torch.bfloat16),
    "another device by default": lambda: torch.device("meta"),
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "deterministic": deterministic,
    "medium precision": lambda: precision("medium"),
    "high precision": lambda: precision("high"),
    "one thread": lambda: threads(1),
    "three threads": lambda: threads(3),
    "strict floats": lambda: np.errstate(all="raise"),
}


def found(form, reveal):
    """All frequencies of a prior made, told and asked here."""
    tensors = random_tensors(9, width=64, hidden=72, blocks=3, codewords=64)
    codes, known = random_codes(9, tensors, 10, 13)
    context = reveal(form(tensors).context(10, 13, 45), codes, known)
    first = [f.cumulative() for _, _, f in context.frequencies(range(4), np.arange(0, 130, 3))]
    return first + [f.cumulative() for _, _, f in context.frequencies(range(2, 4), np.arange(130), 2, 9)]


@pytest.mark.parametrize("name", sorted(SURROUNDINGS))
def test_surroundings_change_nothing(form, reveal, name):
    wanted = found(form, reveal)
    with SURROUNDINGS[name]():
        given = found(form, reveal)
    assert all(np.array_equal(own, other) for own, other in zip(given, wanted))


@pytest.mark.parametrize("name", ["autocast", "inference", "half by default"])
def test_a_shield_ends_with_the_call(form, reveal, name):
    with SURROUNDINGS[name]():
        before = torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled(), torch.get_default_dtype()
        context = reveal(form(random_tensors(0)).context(4, 4, 0), *random_codes(0, random_tensors(0), 4, 4))
        for _ in context.frequencies(range(2), np.arange(16)):
            state = torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled(), torch.get_default_dtype()
            assert state == before


def test_a_context_outlives_the_mode_that_it_was_made_in(form, reveal):
    tensors = random_tensors(1)
    codes, known = random_codes(1, tensors, 5, 5)
    with torch.inference_mode():
        inside = reveal(form(tensors).context(5, 5, 0), codes, known)
    outside = reveal(form(tensors).context(5, 5, 0), codes, known)
    for (_, _, one), (_, _, other) in zip(*(c.frequencies(range(4), np.arange(25)) for c in (inside, outside))):
        assert np.array_equal(one.cumulative(), other.cumulative())


@pytest.mark.slow
def test_threads_and_instruction_sets_change_nothing():
    """`ATEN_CPU_CAPABILITY` beyond what the processor has would end the process, so it is only ever lowered."""
    folder = Path(__file__).parent
    lower = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        lower["ATEN_CPU_CAPABILITY"] = "avx2"
    settings = [{"ATEN_CPU_CAPABILITY": "default"}, lower, {"PQMIM_PRODUCT": "float32"}]
    results = []
    for number, setting in enumerate(settings):
        count = 1 + number % 2
        path = os.pathsep.join([str(folder.parent), *sys.path])
        quiet = {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(count), "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, folder / "digest.py", str(count)],
            env={**os.environ, **quiet, **setting},
            capture_output=True,
            text=True,
            check=True,
        )
        results.append(done.stdout.split("\n"))
    assert len({digest for one in results for digest in one[:2]}) == 1
    assert results[0][2] in ("DEFAULT", "NO AVX")  # the variable did something

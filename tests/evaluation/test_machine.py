from pathlib import Path

import pytest

from pqmim.evaluation import machine as module
from pqmim.evaluation.machine import cpu_features, cpu_model, machine, versions

X86 = "processor\t: 0\nmodel name\t: A fast CPU @ 2 GHz\nflags\t\t: fpu avx2 sse avx512_vnni amx_int8x\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd asimddp i8mm\n"


@pytest.mark.parametrize("text, features", [(X86, ["avx2", "avx512_vnni"]), (ARM, ["asimd", "asimddp", "i8mm"])])
def test_the_processor_is_what_the_system_tells(monkeypatch, text, features):
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    assert cpu_features() == features
    assert cpu_model() == (
        "A fast CPU @ 2 GHz" if text is X86 else module.platform.processor() or module.platform.machine()
    )


def test_a_system_that_tells_nothing(monkeypatch):
    def missing(self, encoding):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert cpu_features() == [] and cpu_model()


def test_a_record_names_what_was_used():
    record = machine(3, device="cpu")
    assert record["threads"] == 3 and record["device"] == "cpu" and record["cores"] >= 1
    assert machine()["threads"] == record["cores"]
    assert versions()["pqmim"] and "torch" in versions() and "no-such-package" not in versions("no-such-package")

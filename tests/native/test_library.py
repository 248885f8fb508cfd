"""What happens where the library cannot be built, does not load, or is of another version."""

import hashlib

import numpy as np
import pytest

from pqmim import native
from pqmim.coding.range_coder import RangeDecoder, RangeEncoder
from pqmim.models.prior.compiled import CompiledPrior, Unavailable
from pqmim.models.prior.selftest import tensors
from pqmim.native import build, loader
from pqmim.native.__main__ import main


@pytest.fixture
def searched(monkeypatch, tmp_path):
    """A search for the library that starts anew, in an empty folder and an empty cache."""
    monkeypatch.delenv("PQMIM_NATIVE", raising=False)
    monkeypatch.setattr(loader, "FOLDER", tmp_path / "package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    loader.search.cache_clear()
    yield tmp_path
    loader.search.cache_clear()


def coded() -> bytes:
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 60_000, 3000)
    encoder = RangeEncoder()
    encoder.encode(starts[:1000], rng.integers(1, 5_000, 1000))
    encoder.encode(starts[1000:], np.ones(2000, int))
    return encoder.finish()


def test_without_a_library_everything_but_the_compiled_prior_works(searched):
    assert native.library() is None
    assert "was not built" in native.reason()
    with pytest.raises(Unavailable, match=r"there is no library: it was not built: `python -m pqmim\.native build`"):
        CompiledPrior(tensors(False))
    assert hashlib.sha256(coded()).hexdigest().startswith("abaf6a54d3b55a5f")


def test_with_one_the_bytes_are_the_same():
    assert hashlib.sha256(coded()).hexdigest().startswith("abaf6a54d3b55a5f")


def test_decoders_agree_on_cut_bytes(searched, monkeypatch):
    rng = np.random.default_rng(1)
    table = np.cumsum(rng.multinomial(65536 - 50, np.full(50, 0.02), 200) + 1, 1)
    table = np.pad(table, ((0, 0), (1, 0)))
    data = rng.bytes(120)
    plain = [(RangeDecoder(data[:length]).decode(table), length) for length in range(0, 120, 13)]
    monkeypatch.undo()
    loader.search.cache_clear()
    for symbols, length in plain:
        assert np.array_equal(RangeDecoder(data[:length]).decode(table), symbols)


def test_a_user_without_a_home_folder_has_no_cache(searched, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("LOCALAPPDATA")
    monkeypatch.setattr(loader.Path, "home", home)
    assert native.library() is None and "was not built" in native.reason()


def test_off_is_off(searched, monkeypatch):
    monkeypatch.setenv("PQMIM_NATIVE", "off")
    assert native.library() is None
    assert native.reason() == "PQMIM_NATIVE is off"


def test_a_file_that_does_not_load_is_told(searched):
    loader.cached().parent.mkdir(parents=True)
    loader.cached().write_bytes(b"no library")
    assert native.library() is None
    assert "does not load" in native.reason()


def test_no_compiler(searched, monkeypatch, capsys):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["build"]) == 1
    assert capsys.readouterr().err == "pqmim: the compiler that CC names, no-such-compiler, is not there\n"
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(searched))
    with pytest.raises(build.BuildError, match="there is no C compiler"):
        build.compiler()


def test_a_compiler_that_fails_leaves_nothing(searched, monkeypatch, capsys):
    monkeypatch.setenv("CC", "false")
    assert main(["build"]) == 1
    assert capsys.readouterr().err.startswith("pqmim: the compiler false failed")
    assert not list(searched.rglob("*.*"))


def test_usage(capsys):
    assert main(["sell"]) == 2
    assert capsys.readouterr().err == "usage: python -m pqmim.native [build]\n"


@pytest.fixture(scope="module")
def compiler():
    try:
        return build.compiler()
    except build.BuildError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_builds_and_is_found_until_the_sources_change(compiler, searched, monkeypatch, capsys):
    assert main(["build"]) == 0
    assert "scalar" in capsys.readouterr().out
    assert main([]) == 0
    assert f"{loader.cached()}: " in capsys.readouterr().out
    found = native.library()
    assert found is not None and found.source == build.digest() and "scalar" in found.levels

    (searched / "package").mkdir()
    (searched / "package" / build.NAME).write_bytes(loader.cached().read_bytes())
    monkeypatch.setattr(loader, "digest", lambda: "other sources")
    loader.search.cache_clear()
    with pytest.warns(RuntimeWarning, match="was built from other sources, and is not used"):
        assert native.library() is None
    assert "other sources" in native.reason()


@pytest.mark.slow
def test_a_level_that_the_compiler_does_not_know_is_left_out(compiler, tmp_path, monkeypatch):
    family = {"scalar": "", "avx9": "-mno-such-instructions"}
    monkeypatch.setattr(build, "LEVELS", dict.fromkeys(build.LEVELS, family))
    assert build.build(tmp_path / "library") == ["scalar"]
    assert loader.Library(tmp_path / "library").levels == ["scalar"]

"""The decoder where PyTorch, tqdm and the rest of the extras are not installed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
GONE = ("torch", "tqdm", "scipy", "matplotlib", "pydantic", "yaml", "segno", "starlette")
pytestmark = pytest.mark.slow


def without(words, folder):
    """What a command says in a Python that has none of these packages."""
    code = f"import sys; sys.modules.update(dict.fromkeys({GONE})); from pqmim.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def file() -> Path:
    return next(ROOT.glob("tests/golden/*alpha-q40.pqm"))


def test_a_file_decodes(tmp_path, file):
    done = without(["decompress", file, "a.png"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    import pqmim

    with Image.open(tmp_path / "a.png") as image:
        difference = np.asarray(image, int) - np.asarray(pqmim.decompress(file), int)
    assert np.abs(difference).max() <= 1


def test_its_codes_are_the_same(tmp_path, file):
    from pqmim import Codec
    from pqmim.cli.check import digest

    done = without(["check", file], tmp_path)
    assert done.returncode == 0 and digest(Codec().codes(file.read_bytes())) in done.stdout


def test_what_needs_more_says_so(tmp_path):
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "a.png")
    np.random.seed(0)
    Image.fromarray(np.random.randint(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / "b.png")
    for words, complaint in (
        (["compress", "b.png"], "pip install torch"),
        (["qr", "b.png"], "pip install '.[qr]'"),
    ):
        done = without(words, tmp_path)
        assert done.returncode == 1 and complaint in done.stderr and done.stderr.count("\n") == 1

"""benchmarks/hybrid.py measures files that are made to a size, and how often the search codes."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pqmim import Codec

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("size", [60, 400])
def test_files_of_a_size(size):
    photo = np.asarray(Image.open(ROOT / "demo" / "coffee.png").convert("RGB"))[100:196, 200:328]
    measured = runpy.run_path(str(ROOT / "benchmarks" / "hybrid.py"))["exact_size"]
    found = measured(Codec(), {"coffee": photo}, size)
    assert found["bytes"] == size and found["over"] == found["unused_bytes"] == 0
    assert found["trials"] >= 1 and found["psnr"] > 15

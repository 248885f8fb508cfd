"""Files of released weights decode for ever, to the codes that were recorded when they were written."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from pqmim.codec import Codec

FOLDER = Path(__file__).parent
RECORDS = json.loads((FOLDER / "digests.json").read_text())


@pytest.fixture(scope="module")
def codec():
    return Codec()


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_golden_file(codec, name):
    record, data = RECORDS[name], (FOLDER / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == record["file"]
    assert hashlib.sha256(codec.codes(data).tobytes()).hexdigest() == record["codes"]
    picture = np.asarray(codec.decompress(data))
    assert list(picture.shape) == record["shape"]
    assert np.allclose(picture.mean((0, 1)), record["mean"], atol=0.1)  # pixels may differ by rounding


def test_every_golden_file_has_a_record():
    assert {path.name for path in FOLDER.glob("*.pqm")} == set(RECORDS) != set()

"""Files of released weights decode for ever, to the codes that were recorded when they were written.

Releases that left the package are in the folder weights/, named by their ids, as files are.
"""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pqmim.bitstream.header import Kind
from pqmim.codec import Codec

FOLDER = Path(__file__).parent
RELEASES = FOLDER.parents[1] / "weights"
RECORDS = json.loads((FOLDER / "digests.json").read_text())


@cache
def codec_of(name):
    """The codec of the release that a golden file's name begins with."""
    path = RELEASES / f"{name[:3]}.safetensors"
    return Codec(path if path.exists() else None)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_golden_file(name):
    codec, record, data = codec_of(name), RECORDS[name], (FOLDER / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == record["file"]
    received = codec.receive(data)
    flat = received.header.kind == Kind.FLAT  # whose file needs no weights
    assert received.header.weights == (0 if flat else int(name[:3], 16))
    assert hashlib.sha256(received.codes.tobytes()).hexdigest() == record["codes"]
    assert received.verified == (received.header.framed or received.header.checked)
    picture = np.asarray(codec.decompress(data))
    assert list(picture.shape) == record["shape"]
    assert np.allclose(picture.mean((0, 1)), record["mean"], atol=0.1)  # pixels may differ by rounding


@pytest.mark.parametrize("name", sorted(name for name, record in RECORDS.items() if "drawn" in record))
def test_golden_samples(name):
    """Half of a file, and the rest drawn: the same codes on every machine."""
    data = (FOLDER / name).read_bytes()
    for steps, digest in RECORDS[name]["drawn"].items():
        codec = codec_of(name)
        received = codec.receive(data[: len(data) // 2])
        drawn = codec.draw(received, seed=1, temperature=1.0, steps=None if steps == "plan" else int(steps))
        assert hashlib.sha256(drawn.codes.tobytes()).hexdigest() == digest


def test_every_golden_file_has_a_record():
    assert {path.name for path in FOLDER.glob("*.pqm")} == set(RECORDS) != set()


def test_the_packaged_release_has_golden_files():
    assert any(name.startswith(f"{Codec().release.id:03x}-") for name in RECORDS)

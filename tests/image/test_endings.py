"""One list says which files of a folder are pictures, whoever looks into it."""

import numpy as np
import pytest
from PIL import Image

from pqmim.cli.jobs import Wanted, expand
from pqmim.evaluation.run import find_photos
from pqmim.image.endings import PICTURES
from pqmim.image.save import FORMATS
from pqmim.integrations.shards import plan
from pqmim.training.data import _encoded


@pytest.fixture
def folder(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    for ending in PICTURES:
        Image.fromarray(pixels).save(tmp_path / f"photo{ending.upper()}")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_what_is_written_is_a_picture():
    assert set(FORMATS) <= set(PICTURES)


def test_everyone_finds_the_same_pictures(folder):
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".txt")
    assert [path.name for path in find_photos(folder)] == names and len(names) == len(PICTURES)
    assert sorted(name for _, name in expand([str(folder)], Wanted(PICTURES, ()))) == names
    assert list(plan(folder)[0].paths) == names
    assert [name for name, _ in _encoded(folder)] == names

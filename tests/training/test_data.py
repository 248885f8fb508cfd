import tarfile

import numpy as np
import pytest

from pqmim.bitstream.errors import InvalidImage
from pqmim.training.data import Photos, patches


def test_a_folder_and_its_tar_give_the_same_photos(folder, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for path in sorted(folder.iterdir()):
            shard.add(path, path.name)
    a, b, c = Photos(folder), Photos(tmp_path / "shard.tar"), Photos(tmp_path)
    for other in (b, c):
        assert len(a.train) == len(other.train) and len(a.held_back) == len(other.held_back)
        assert all(np.array_equal(x, y) for x, y in zip(a.train, other.train))


def test_every_photo_is_either_trained_on_or_held_back(folder):
    photos = Photos(folder, held_back=0.3)
    assert len(photos.train) + len(photos.held_back) == 60
    assert 5 < len(photos.held_back) < 30


def test_crops_depend_on_the_seed_alone(folder):
    photos = Photos(folder, limit=20)
    first, again, other = (photos.crops(6, 64, seed) for seed in ((1, 5), (1, 5), (1, 6)))
    assert first.shape == (6, 64, 64, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_photos_smaller_than_a_crop_are_enlarged(folder):
    assert Photos(folder, limit=5).crops(3, 256, (0,)).shape == (3, 256, 256, 3)


@pytest.mark.parametrize("limit", [1, 2, 6])
def test_a_handful_of_photos_is_enough(folder, limit):
    photos = Photos(folder, limit=limit)
    assert photos.train and photos.held_back


def test_patches(folder):
    assert patches(Photos(folder, limit=5).train, 10).shape == (10, 16, 16, 3)


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(InvalidImage, match="holds no photo"):
        Photos(tmp_path)

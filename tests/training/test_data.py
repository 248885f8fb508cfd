import shutil
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from pqmim.errors import InvalidImage
from pqmim.training import graphics
from pqmim.training.data import LARGE, Photos, is_held_back, patches
from pqmim.training.recipe import Augment, Colourful
from pqmim.training.resident import ResidentPhotos
from pqmim.training.validation import held_back, psnr, to_images


def test_a_folder_and_its_tar_give_the_same_photos(folder, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for path in sorted(folder.iterdir()):
            shard.add(path, path.name)
    a, b, c = Photos(folder), Photos(tmp_path / "shard.tar"), Photos(tmp_path)
    for other in (b, c):
        assert len(a.train) == len(other.train) and len(a.held_back) == len(other.held_back)
        assert all(np.array_equal(x, y) for x, y in zip(a.train, other.train))


def test_every_photo_is_either_trained_on_or_held_back(folder, monkeypatch):
    monkeypatch.setattr("pqmim.training.data.HELD_BACK", 0.3)
    photos = Photos(folder)
    assert len(photos.train) + len(photos.held_back) == 60
    assert 5 < len(photos.held_back) < 30


def test_large_photos_are_held_back_more_often():
    small, large = np.zeros((LARGE - 1, 800, 3), np.uint8), np.zeros((LARGE, 800, 3), np.uint8)
    names = [f"{number:04}-photo.webp" for number in range(2000)]
    held = [[name for name in names if is_held_back(name, photo)] for photo in (small, large)]
    assert 20 < len(held[0]) < 65 and 120 < len(held[1]) < 200 and set(held[0]) < set(held[1])


def test_photos_are_measured_on_largest_first(few):
    photos = Photos(few)
    photos.held_back = [np.zeros((64, 64, 3), np.uint8), np.ones((500, 80, 3), np.uint8)]
    first, second = held_back(photos, torch.device("cpu"))
    assert first.shape == (1, 3, 384, 80) and second.shape == (1, 3, 64, 64)
    assert len(held_back(photos, torch.device("cpu"), 1)) == 1
    assert psnr(255.0**2 / 1000) == pytest.approx(30)


def test_crops_are_drawn_by_area(few):
    photos = Photos(few)
    photos.train = [np.zeros((100, 100, 3), np.uint8), np.zeros((300, 300, 3), np.uint8)]
    photos.weigh()
    drawn = [crop.photo for crop in photos.draw(2000, 64, (1,))]
    assert 0.87 < np.mean(drawn) < 0.93


def test_what_cannot_be_read_is_skipped_and_named(folder, tmp_path, caplog):
    for path in sorted(folder.iterdir())[:3]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "cut.png").write_bytes((tmp_path / "00.png").read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "junk.tar").write_bytes(b"no archive")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(tmp_path / "text.jpg", "inner.webp")
        shard.addfile(tarfile.TarInfo("device.png"))
        shard.add(tmp_path / "00.png", "another.png")
    whole = (tmp_path / "shard.tar").read_bytes()
    (tmp_path / "stops.tar").write_bytes(whole[: len(whole) // 2])
    photos = Photos(tmp_path)
    assert len(photos.train) == 4
    assert {"cut.png", "text.jpg", "folder.png", "junk.tar", "inner.webp", "device.png"} <= set(photos.skipped)
    assert f"{len(photos.skipped)} of " in caplog.text and "cut.png" in caplog.text


def test_crops_depend_on_the_seed_alone(few):
    photos = Photos(few)
    first, again, other = (photos.crops(6, 64, seed) for seed in ((1, 5), (1, 5), (1, 6)))
    assert first.shape == (6, 64, 64, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_photos_smaller_than_a_crop_are_enlarged(few):
    assert Photos(few).crops(3, 256, (0,)).shape == (3, 256, 256, 3)


def test_a_part_of_the_crops_is_that_part(few):
    for photos in (Photos(few), ResidentPhotos(few, "cpu")):
        whole = photos.crops(6, 64, (2,))
        assert np.array_equal(photos.crops(6, 64, (2,), slice(3, 6)), whole[3:])


def test_without_augment_crops_are_those_of_the_releases(few):
    photos = Photos(few)
    rng = np.random.default_rng((1, 5))
    for crop in photos.crops(40, 64, (1, 5)):
        photo = photos.train[int(rng.random() * len(photos.train))]  # of one size, all
        span = int(rng.integers(64, 129)) if rng.random() < 0.5 else 64
        top, left = rng.integers(144 - span + 1), rng.integers(176 - span + 1)
        wanted = Image.fromarray(photo[top : top + span, left : left + span])
        wanted = np.asarray(wanted.resize((64, 64), Image.Resampling.BICUBIC))
        wanted = wanted[:, ::-1] if rng.random() < 0.5 else wanted
        wanted = wanted[..., rng.permutation(3)] if rng.random() < 0.1 else wanted
        assert np.array_equal(crop, wanted)


def test_augment_does_what_it_says_and_no_more(few):
    plain = Photos(few, augment=Augment()).draw(50, 64, (1,))
    assert {(crop.span, crop.flip, crop.colour) for crop in plain} == {(64, False, None)}
    flipped = Photos(few, augment=Augment(flip=True)).draw(50, 64, (1,))
    assert 10 < sum(crop.flip for crop in flipped) < 40
    scaled = Photos(few, augment=Augment(scale=0.5)).draw(50, 64, (1,))
    assert 64 <= min(crop.span for crop in scaled) < 80 and 110 < max(crop.span for crop in scaled) <= 128
    small = Photos(few, augment=Augment(scale=0.5)).draw(9, 256, (1,))
    assert {crop.span for crop in small} == {144}  # the whole height of the photos


def test_colour_is_changed_mildly(few):
    plain = Photos(few, augment=Augment()).crops(1, 64, (1,))[0].astype(int)
    photos = Photos(few, augment=Augment(colour=0.1))
    jittered = np.stack([photos.crops(1, 64, (1,))[0] for _ in range(2)]).astype(int)
    assert np.array_equal(jittered[0], jittered[1])
    assert 1 < np.abs(jittered[0] - plain).mean() < 60
    for crop in photos.draw(50, 64, (2,)):
        assert (np.abs(crop.colour @ [127.5, 127.5, 127.5, 1] / 127.5 - 1) <= 0.1**2 + 0.2 + 1e-9).all()  # of mid-grey


def test_shares_of_crops_have_full_colours(few):
    photos = Photos(few, augment=Augment(), colourful=Colourful(stretched=0.5, drawings=0.2))
    drawn = photos.draw(200, 64, (1,))
    assert 20 < sum(crop.drawing is not None for crop in drawn) < 60
    stretched = [crop.colour for crop in drawn if crop.colour is not None]
    assert 70 < len(stretched) < 130
    for colour in stretched:
        assert np.allclose(colour @ [127.5, 127.5, 127.5, 1], 127.5)  # mid-grey stays
    crops, colour = photos.crops(200, 64, (1,)), {True: [], False: []}
    for crop, pixels in zip(drawn, crops):
        if crop.drawing is not None:
            assert np.array_equal(pixels, graphics.draw(64, crop.drawing))
        else:
            colour[crop.colour is not None].append(np.ptp(pixels, axis=-1).mean())
    assert np.mean(colour[True]) > 1.2 * np.mean(colour[False])


def test_drawings_differ_by_seed_and_are_flat():
    drawings = [graphics.draw(96, seed) for seed in range(12)]
    assert np.array_equal(drawings[3], graphics.draw(96, 3))
    for number, drawing in enumerate(drawings):
        assert drawing.shape == (96, 96, 3) and drawing.dtype == np.uint8
        assert len(np.unique(drawing.reshape(-1, 3), axis=0)) > 1
        assert (drawing[:, 1:] == drawing[:, :-1]).all(-1).mean() > 0.6  # most neighbours are alike
        assert not any(np.array_equal(drawing, other) for other in drawings[:number])


@pytest.mark.parametrize("colourful", [None, Colourful(stretched=0.3, drawings=0.2)])
@pytest.mark.parametrize("augment", [None, Augment(flip=True, scale=0.5), Augment(flip=True, scale=0.5, colour=0.1)])
@pytest.mark.parametrize("size", [64, 192])  # made smaller, made larger
def test_resident_photos_are_cropped_alike(few, augment, colourful, size):
    host = Photos(few, augment=augment, colourful=colourful)
    device = ResidentPhotos(few, "cpu", augment=augment, colourful=colourful)
    crops, wanted = device.crops(12, size, (3, 1)), host.crops(12, size, (3, 1))
    assert crops.dtype == torch.uint8 and crops.shape == (12, size, size, 3)
    assert torch.equal(crops, device.crops(12, size, (3, 1)))
    difference = np.abs(crops.numpy().astype(int) - wanted)
    reach = 3 if colourful is None else 3 * 5  # stretched colours stretch that, too
    assert difference.max() <= reach and difference.mean() < 0.3  # Pillow rounds between columns and rows
    for crop, a, b in zip(device.draw(12, size, (3, 1)), crops.numpy(), wanted):
        assert crop.span != size or np.abs(a.astype(int) - b).max() <= 1  # not scaled: the same, up to colours' halves
    images = to_images(crops, torch.device("cpu"))
    assert images.shape == (12, 3, size, size) and 0 <= images.min() < images.max() <= 255


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_handful_of_photos_is_enough(folder, tmp_path, count):
    for path in sorted(folder.iterdir())[:count]:
        shutil.copy(path, tmp_path)
    photos = Photos(tmp_path)
    assert photos.train and photos.held_back


def test_patches(few):
    assert patches(Photos(few).train, 10).shape == (10, 16, 16, 3)


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(InvalidImage, match="holds no photo"):
        Photos(tmp_path)

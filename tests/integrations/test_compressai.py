import numpy as np
import pytest
import torch

from pqmim import dial
from pqmim.errors import BadArgument

pytestmark = pytest.mark.slow
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(scope="module")
def model():
    from pqmim.torch import Model

    return Model(30, effort=0)


@pytest.fixture(scope="module")
def pictures():
    coarse = torch.from_numpy(np.random.default_rng(0).random((2, 3, 4, 5), np.float32))
    return torch.nn.functional.interpolate(coarse, (48, 80), mode="bicubic").clamp(0, 1)


def test_the_shape_of_compressai(model, pictures):
    out = model.compress(pictures)
    assert set(out) == {"strings", "shape"} and out["shape"] == (3, 5)
    [files] = out["strings"]
    assert len(files) == 2 and all(isinstance(file, bytes) for file in files)
    back = model.decompress(out["strings"], out["shape"])["x_hat"]
    assert back.shape == pictures.shape and back.min() >= 0 and back.max() <= 1
    assert (back - pictures).square().mean() < 0.01
    with pytest.raises(BadArgument):
        model.decompress(out["strings"], (5, 3))


def test_likelihoods_stand_beside_the_files(model, pictures):
    out = model(pictures)
    bits = -out["likelihoods"]["codes"].log2().sum().item()
    size = 8 * sum(map(len, model.compress(pictures)["strings"][0]))
    assert 0.3 * size < bits < size  # headers and checks are not in the likelihoods
    assert out["x_hat"].shape == pictures.shape


def test_a_batch_may_hold_pictures_of_several_scales_and_of_one_colour(model, pictures, monkeypatch):
    encode, scales = model.codec.encode, iter((0, 1, 0, 0, 1, 0))

    def at_a_scale(picture, quality, effort):
        scale = next(scales)
        monkeypatch.setattr(dial, "settings", lambda quality: [(quality, scale)])
        return encode(picture, quality, effort=effort)

    monkeypatch.setattr(model.codec, "encode", at_a_scale)
    batch = torch.cat([pictures, torch.full((1, 3, 48, 80), 0.5)])
    out = model(batch)
    assert out["x_hat"].shape == batch.shape
    information = -out["likelihoods"]["codes"].log2().sum((1, 2, 3))
    assert out["likelihoods"]["codes"].shape[2:] == (3, 5) and information[0] > information[1] > information[2] == 0
    assert model.compress(batch)["shape"] == (3, 5)


def test_the_modules_are_those_of_the_release(model, pictures):
    level = torch.full((2,), 1.0)
    latents = model.analysis(255 * pictures, level)
    assert latents.shape[2:] == (3, 5)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e6


def test_other_tensors_are_refused(model):
    with pytest.raises(BadArgument):
        model.compress(torch.zeros(3, 16, 16))


@pytest.mark.parametrize("there", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
@pytest.mark.parametrize("here", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def test_results_go_back_to_where_tensors_came_from(pictures, here, there):
    from pqmim.torch import Model

    model = Model(30, effort=0, device=there)
    out = model(pictures[:1].to(here))
    assert out["x_hat"].device.type == out["likelihoods"]["codes"].device.type == here
    assert model.decompress(**model.compress(pictures[:1]))["x_hat"].device.type == there

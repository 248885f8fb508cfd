import hashlib

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.torch import save_file

from pqmim.errors import PqmimError
from pqmim.evaluation.features import SqueezeNetDistance
from pqmim.models.features import weight_shapes


def random_weights() -> dict[str, torch.Tensor]:
    """He's initialisation, so that no depth dies out or explodes, and small biases."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in weight_shapes().items():
        scale = (2 / np.prod(shape[1:])) ** 0.5 if name.endswith("weight") else 0.1
        tensors[name] = (scale * torch.randn(shape, generator=generator)).half()
    return tensors


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file(random_weights() | {"classifier.1.bias": torch.zeros(1000)}, path)
    return path


@pytest.fixture(scope="module")
def distance(path):
    return SqueezeNetDistance(path, threads=1)


def photo(height: int = 48, width: int = 61, sigma: float = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = np.stack([128 + 90 * np.sin(x / 5), 128 + 90 * np.cos(y / 7), 2.0 * x + y], axis=2)
    noise = np.random.default_rng(3).normal(0, 1, waves.shape)
    return np.clip(waves + sigma * noise, 0, 255).round().astype(np.uint8)


def direct_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The definition in NumPy, one picture at a time, every module written out as torchvision lists them."""
    tensors = {name: tensor.double().numpy() for name, tensor in random_weights().items()}

    def conv(x: np.ndarray, name: str, stride: int = 1, padding: int = 0) -> np.ndarray:
        kernel = tensors[f"{name}.weight"]
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        windows = sliding_window_view(x, kernel.shape[2:], (1, 2))[:, ::stride, ::stride]  # (C, h, w, k, k)
        return np.einsum("chwij,ocij->ohw", windows, kernel) + tensors[f"{name}.bias"][:, None, None]

    def pool(x: np.ndarray) -> np.ndarray:
        """Windows of 3 every 2; the last one hangs over where the side is even."""
        x = np.pad(x, ((0, 0), *((0, 1 - side % 2) for side in x.shape[1:])), constant_values=-np.inf)
        return sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((3, 4))

    def fire(x: np.ndarray, place: int) -> np.ndarray:
        x = np.maximum(conv(x, f"features.{place}.squeeze"), 0)
        sides = conv(x, f"features.{place}.expand1x1"), conv(x, f"features.{place}.expand3x3", padding=1)
        return np.maximum(np.concatenate(sides), 0)

    def features(rgb: np.ndarray) -> list[np.ndarray]:
        x = (rgb / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        outputs = {1: np.maximum(conv(x.transpose(2, 0, 1), "features.0", 2), 0)}
        for place in range(2, 13):
            before = outputs[place - 1]
            outputs[place] = pool(before) if place in (2, 5, 8) else fire(before, place)
        return [outputs[place] for place in (1, 4, 7, 9, 10, 11, 12)]

    distances = []
    for p, q in zip(features(a), features(b)):
        p, q = (x / np.sqrt((x**2).sum(0)) for x in (p, q))
        distances.append(((p - q) ** 2).sum(0).mean())
    return float(np.mean(distances))


@pytest.mark.parametrize("shape", [(48, 61), (17, 18)])
def test_it_agrees_with_its_definition(distance, shape):
    a, b = photo(*shape), photo(*shape, sigma=30)
    assert distance(a, b) == pytest.approx(direct_distance(a, b), rel=1e-4)


def test_equal_pictures_are_no_distance_apart(distance):
    assert distance(photo(), photo()) == pytest.approx(0, abs=1e-9)


def test_it_is_symmetric_and_grows_with_noise(distance):
    values = [distance(photo(), photo(sigma=sigma)) for sigma in (2, 10, 40)]
    assert 0 < values[0] < values[1] < values[2] < 2
    assert distance(photo(sigma=10), photo()) == pytest.approx(values[1], rel=1e-5)


def test_pictures_that_cannot_be_compared(distance):
    with pytest.raises(ValueError, match="one shape"):
        distance(photo(40, 40), photo(40, 41))
    with pytest.raises(ValueError, match="17 pixels or more, not 30x16"):
        distance(photo(16, 30), photo(16, 30))


def test_the_digest_is_the_files(distance, path):
    assert distance.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_files_are_refused(tmp_path, path):
    with pytest.raises(PqmimError, match=r"none\.bin: cannot be read"):
        SqueezeNetDistance(tmp_path / "none.bin")
    (tmp_path / "text.bin").write_text("no weights")
    with pytest.raises(PqmimError, match=r"text\.bin: not a safetensors file"):
        SqueezeNetDistance(tmp_path / "text.bin")
    (tmp_path / "cut.bin").write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PqmimError, match=r"cut\.bin: not a safetensors file"):
        SqueezeNetDistance(tmp_path / "cut.bin")
    tensors = random_weights()
    name = "features.7.expand3x3.weight"
    for wrong in (None, tensors[name][:100], tensors[name].int()):
        kept = {key: tensor for key, tensor in tensors.items() if key != name}
        save_file(kept if wrong is None else kept | {name: wrong.contiguous()}, tmp_path / "other.bin")
        with pytest.raises(PqmimError, match=r"SqueezeNet 1\.1: features\.7\.expand3x3\.weight is missing"):
            SqueezeNetDistance(tmp_path / "other.bin")

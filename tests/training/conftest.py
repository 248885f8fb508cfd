"""Photos made of smooth shapes and grain, in a folder, and the tiny recipe trained on them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def recipe():
    return Path(__file__).parents[2] / "recipes" / "tiny.yaml"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:144, :176] / 32
    for index in range(60):
        channels = []
        for _ in range(3):
            a, b, c, d = rng.normal(size=4)
            channels.append(127 + 60 * np.sin(a * x + b * y + c) + 40 * (np.hypot(x - 2, y - 2) < abs(d) * 2))
        picture = np.stack(channels, -1) + rng.normal(0, 3, (144, 176, 1))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{index:02}.png")
    return folder


@pytest.fixture(scope="session")
def few(folder, tmp_path_factory):
    """The first eight of the photos."""
    few = tmp_path_factory.mktemp("few")
    for path in sorted(folder.iterdir())[:8]:
        shutil.copy(path, few)
    return few


@pytest.fixture(scope="session")
def run(recipe, folder, tmp_path_factory):
    from pqmim.training.pipeline import train
    from pqmim.training.run import Run

    out = tmp_path_factory.mktemp("run")
    train(recipe, folder, Run.start(out))
    return out


@pytest.fixture(scope="session")
def release(recipe, few, tmp_path_factory):
    """Untrained released weights of the tiny recipe: a KLT codec with fitted codebooks and static frequencies."""
    import torch

    from pqmim.training import pipeline
    from pqmim.training import recipe as recipes
    from pqmim.training.data import Photos
    from pqmim.training.run import Run
    from pqmim.training.stages.quantizer import fit
    from pqmim.training.stages.transforms import ProxyCodec

    plan, photos, out = recipes.load(recipe), Photos(few), tmp_path_factory.mktemp("release")
    torch.manual_seed(0)
    proxy = ProxyCodec(plan.config(), torch.tensor(plan.lambdas))
    proxy.start(photos.train)
    proxy.typical.fill_(100.0)
    path = out / "tiny.safetensors"
    pipeline.release(path, pipeline.joint_codec(plan, fit(proxy, photos, plan, Run(out))), plan.rates)
    return path

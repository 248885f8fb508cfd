"""Untrained rivals in files: transforms that are the KLT of a made picture, hyper-networks and codebook at random."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from pqmim.models.proxy import ScalarProxy
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig, start_as_klt
from pqmim.rivals import weights
from pqmim.rivals.hyperprior import files as hyperprior_files
from pqmim.rivals.hyperprior.model import HyperpriorConfig, MeanScaleHyperprior
from pqmim.rivals.vq import files as vq_files
from pqmim.rivals.vq.model import VanillaVq, VqConfig

TRANSFORMS = TransformConfig(40, 3, 1, 1, 1, 1, 0.25)
LAMBDAS = torch.tensor([430.0, 4700.0, 51000.0])
HYPER = HyperpriorConfig(hidden=16, hyper_latent=8)


@pytest.fixture(scope="session")
def photo():
    """uint8 (96, 144, 3): waves, a disc and grain."""
    y, x = np.mgrid[:96, :144] / 24
    grain = np.random.default_rng(0).normal(0, 4, (96, 144, 1))
    channels = [127 + 70 * np.sin(x + y * k) + 30 * (np.hypot(x - 3, y - 2) < 1) for k in (0.3, 0.7, 1.1)]
    return (np.stack(channels, -1) + grain).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def started(photo):
    """Analysis, synthesis and scalar proxy at the KLT."""
    torch.manual_seed(0)
    analysis, synthesis, proxy = Analysis(TRANSFORMS), Synthesis(TRANSFORMS), ScalarProxy(40, 3)
    image = torch.from_numpy(photo).permute(2, 0, 1).float()
    patches = image.unfold(1, 16, 5).unfold(2, 16, 5).permute(1, 2, 0, 3, 4).flatten(0, 1)  # (N, 3, 16, 16)
    proxy.start(start_as_klt(analysis, synthesis, patches), LAMBDAS)
    return analysis, synthesis, proxy


def begun(started):
    torch.manual_seed(1)
    model = MeanScaleHyperprior(TRANSFORMS, HYPER, LAMBDAS)
    model.start(*started)
    return model


@pytest.fixture
def fresh(started):
    """A hyperprior before its first step."""
    return begun(started)


@pytest.fixture(scope="session")
def hyperprior(started):
    model = begun(started)
    torch.nn.init.normal_(model.hyper_synthesis.last.weight, std=0.1)
    with torch.no_grad():
        model.hyper.log_width -= 0.3 * torch.arange(3.0)[:, None]  # each level has a density of its own
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def hyperprior_file(hyperprior, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "hyperprior.safetensors"
    record = weights.Record("hyperprior", TRANSFORMS, asdict(HYPER))
    weights.save(path, record, hyperprior, hyperprior_files.tables_of(hyperprior))
    return path


@pytest.fixture(scope="session")
def vq(started, photo):
    model = VanillaVq(TRANSFORMS, VqConfig(bits=5, dimensions=12, level=1)).eval().requires_grad_(False)
    model.analysis.load_state_dict(started[0].state_dict())
    model.synthesis.load_state_dict(started[1].state_dict())
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    model.fit(model.vectors(image).flatten(0, 2), rounds=4)
    return model


@pytest.fixture(scope="session")
def vq_file(vq, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vq.safetensors"
    record = weights.Record("vq", TRANSFORMS, asdict(VqConfig(bits=5, dimensions=12, level=1)))
    weights.save(path, record, vq, vq_files.tables_of(vq))
    return path

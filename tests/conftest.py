"""Property tests try the same examples on every run, and are never timed; a release that is quick."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    """A release with untrained networks: it codes pictures badly, and in milliseconds."""
    import torch
    from reference_prior import random_tensors

    from pqmim.coding.schedule import Group
    from pqmim.models.modules import Modules
    from pqmim.models.quantizer import ProductQuantizer
    from pqmim.models.transforms import Analysis, Synthesis, TransformConfig, start_at_random
    from pqmim.release import Record, save

    torch.manual_seed(0)
    config = TransformConfig(
        latent=6, levels=2, analysis_fine=1, analysis_coarse=1, synthesis_coarse=1, synthesis_fine=1
    )
    analysis, synthesis = Analysis(config), Synthesis(config)
    start_at_random(analysis, synthesis, torch.rand(50, 3, 16, 16) * 255)
    dimensions = (1, 1, 2, 2)
    quantizer = ProductQuantizer(torch.arange(6), list(dimensions), 32, 2)
    quantizer.codebook.data.copy_(torch.randn_like(quantizer.codebook) * 300)
    quantizer.log2_probability.fill_(-5)
    prior = random_tensors(3, dimensions=dimensions, codewords=32)
    record = Record(
        transforms=vars(config),
        dimensions=dimensions,
        codewords=32,
        groups=(Group(0, 2, 2, 1), Group(2, 4, 1, 2)),
        rates=tuple(2 - quality / 50 for quality in range(101)),
        active=tuple(2 + quality // 51 * 2 for quality in range(101)),
        prices=tuple(2000.0 - 19 * quality for quality in range(101)),
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, record, {**Modules(analysis, quantizer, synthesis).arrays(), "prior": prior})
    return path

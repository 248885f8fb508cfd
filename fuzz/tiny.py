"""A release with networks so small that a file decodes in milliseconds: random weights, made by a seed."""

from pathlib import Path

import torch

from pqmim.coding.schedule import Group
from pqmim.models.modules import Modules
from pqmim.models.prior.export import export
from pqmim.models.prior.masked import MaskedPrior, PriorConfig
from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig
from pqmim.release import Record, save

DIMENSIONS = [1, 2, 2, 3]
QUALITIES = 101


def write(path: Path) -> int:
    """Write the release; returns its id."""
    torch.manual_seed(0)
    config = TransformConfig(8, 3, 1, 1, 1, 1, 0.5)
    quantizer = ProductQuantizer(torch.arange(8), DIMENSIONS, 16, config.levels)
    with torch.no_grad():
        slots = torch.arange(3) < torch.tensor(DIMENSIONS)[:, None]
        quantizer.codebook.copy_(torch.randn(4, 16, 3).mul(4).round() * slots[:, None])
        quantizer.log2_probability.fill_(-4)
    modules = Modules(Analysis(config), quantizer, Synthesis(config))
    prior = MaskedPrior(PriorConfig(32, 2, 2, 32, 2), quantizer.codebook, DIMENSIONS, config.levels)
    rates = [2 - 2 * quality / 100 for quality in range(QUALITIES)]
    record = Record(
        {name: getattr(config, name) for name in config.__dataclass_fields__},
        tuple(DIMENSIONS),
        16,
        (Group(0, 2, 2), Group(2, 4, 1)),
        tuple(rates),
        tuple(1 + 3 * quality // 100 for quality in range(QUALITIES)),
        tuple(100.0 / (1 + quality) for quality in range(QUALITIES)),
    )
    return save(path, record, {**modules.arrays(), "prior": export(prior, torch.tensor(rates))})

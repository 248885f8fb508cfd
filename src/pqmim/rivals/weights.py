"""Weights of a rival: one safetensors file with its tensors, its integer tables, and a JSON record of what it is."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pqmim.errors import PqmimError
from pqmim.models.proxy import LARGEST
from pqmim.models.transforms import TransformConfig
from pqmim.rivals.hyperprior.model import HyperpriorConfig, MeanScaleHyperprior
from pqmim.rivals.tables import ScaleTables, cumulative_frequencies
from pqmim.rivals.vq.model import VanillaVq, VqConfig

RECORD = "pqmim-baseline"
Tables = dict[str, np.ndarray]
Model = TypeVar("Model", MeanScaleHyperprior, VanillaVq)


def save_hyperprior(
    path: Path, transforms: TransformConfig, config: HyperpriorConfig, model: MeanScaleHyperprior
) -> None:
    """Write a hyperprior with the tables of its hyper-latent (L, N, 256) and of the scales of its latent."""
    tables = ScaleTables.build().tensors() | {"hyper": _hyper_tables(model).astype(np.int32)}
    _save(path, "hyperprior", transforms, {"hyperprior": asdict(config)}, model, tables)


def save_vq(path: Path, transforms: TransformConfig, config: VqConfig, model: VanillaVq) -> None:
    """Write a vanilla VQ-VAE with the static table (K + 1,) of its codewords."""
    used = model.usage.double().cpu().numpy() + 0.01
    tables = {"codes": cumulative_frequencies(used).astype(np.int32)}
    _save(path, "vq", transforms, {"vq": asdict(config)}, model, tables)


def load_hyperprior(path: str | Path, device: torch.device) -> tuple[MeanScaleHyperprior, Tables]:
    """A model in evaluation mode and its tables.  Raises ``PqmimError`` if the file holds none."""

    def build(record: dict, transforms: TransformConfig) -> MeanScaleHyperprior:
        lambdas = torch.zeros(transforms.levels)
        return MeanScaleHyperprior(transforms, HyperpriorConfig(**record["hyperprior"]), lambdas)

    return _load(path, "hyperprior", build, device)


def load_vq(path: str | Path, device: torch.device) -> tuple[VanillaVq, Tables]:
    """A model in evaluation mode and its table.  Raises ``PqmimError`` if the file holds none."""
    return _load(path, "vq", lambda record, transforms: VanillaVq(transforms, VqConfig(**record["vq"])), device)


@torch.no_grad()
def _hyper_tables(model: MeanScaleHyperprior) -> np.ndarray:
    """Cumulative frequencies (L, N, 256) of the hyper-latent's integers, -127 to 127."""
    device = model.lambdas.device
    grid = torch.arange(-LARGEST, LARGEST + 1, device=device)[None, None, :, None].float()  # (1, 1, 255, 1)
    levels = torch.arange(len(model.lambdas), device=device).float()
    bits = torch.cat([model.hyper.bits(grid, level[None])[..., 0] for level in levels])  # (L, N, 255)
    return cumulative_frequencies(np.exp2(-bits.double().cpu().numpy()))


def _save(path: Path, kind: str, transforms: TransformConfig, record: dict, model: nn.Module, tables: Tables) -> None:
    """Matrices in half precision, as in our own releases; written beside the target, then renamed."""
    tensors = {f"model.{key}": _halved(tensor).contiguous().cpu() for key, tensor in model.state_dict().items()}
    tensors |= {f"tables.{key}": torch.from_numpy(table) for key, table in tables.items()}
    record = {"format": 1, "kind": kind, "transforms": asdict(transforms), **record}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path.with_suffix(".part"), metadata={RECORD: json.dumps(record)})
    path.with_suffix(".part").replace(path)


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() > 10_000 else tensor


def _load(
    path: str | Path, kind: str, build: Callable[[dict, TransformConfig], Model], device: torch.device
) -> tuple[Model, Tables]:
    try:
        with safe_open(path, "pt") as file:
            record = json.loads(file.metadata()[RECORD])
            if record["kind"] != kind:
                raise PqmimError(f"{path}: weights of kind {record['kind']}, where {kind} was asked for")
            keys = file.keys()
            tensors = {key: file.get_tensor(key) for key in keys}
        model = build(record, TransformConfig(**record["transforms"]))
        own = model.state_dict()
        parts = {name: {} for name in ("model", "tables")}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        model.load_state_dict({key: tensor.to(own[key].dtype) for key, tensor in parts["model"].items()})
    except OSError as error:
        raise PqmimError(f"{path}: weights that cannot be read ({error.strerror or error})") from error
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise PqmimError(f"{path}: not weights of a rival, or damaged") from error
    return model.eval().requires_grad_(False).to(device), {key: t.numpy() for key, t in parts["tables"].items()}

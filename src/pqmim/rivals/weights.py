"""Weights of a rival: one safetensors file with its tensors, its integer tables, and a JSON record of what it is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from pqmim.errors import WeightsError
from pqmim.files import write_atomically
from pqmim.models.transforms import TransformConfig

RECORD = "pqmim-baseline"
Tables = dict[str, NDArray[Any]]
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Record:
    """What a file of weights says of itself: the rival's kind, the sizes of its transforms, and its own sizes."""

    kind: str
    transforms: TransformConfig
    sizes: Mapping[str, Any]


def save(path: Path, record: Record, model: nn.Module, tables: Tables) -> None:
    """Write weights, matrices in half precision as in our own releases; a file that exists is replaced."""
    tensors = {f"model.{key}": _halved(tensor).contiguous().cpu() for key, tensor in model.state_dict().items()}
    tensors |= {f"tables.{key}": torch.from_numpy(table) for key, table in tables.items()}
    told = {"format": 1, "kind": record.kind, "transforms": asdict(record.transforms), record.kind: record.sizes}
    write_atomically(path, save_tensors(tensors, metadata={RECORD: json.dumps(told)}), force=True, parents=True)


def load(path: str | Path, kind: str, build: Callable[[Record], Model], device: torch.device) -> tuple[Model, Tables]:
    """A model in evaluation mode, made by `build` and filled, and its tables.

    Raises:
        WeightsError: The file cannot be read, or holds no weights of that kind.
    """
    try:
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()[RECORD])
            if told["kind"] != kind:
                raise WeightsError(f"weights of kind {told['kind']}, where {kind} was asked for", path)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model = build(Record(kind, TransformConfig(**told["transforms"]), told[kind]))
        own = model.state_dict()
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "tables": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        model.load_state_dict({key: tensor.to(own[key].dtype) for key, tensor in parts["model"].items()})
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror or error})", path) from error
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise WeightsError("not weights of a rival, or damaged", path) from error
    tables = {key: tensor.numpy() for key, tensor in parts["tables"].items()}
    return model.eval().requires_grad_(False).to(device), tables


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() > 10_000 else tensor

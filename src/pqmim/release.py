"""Released weights: one safetensors file that holds all that a codec needs, and says what it is.

The file's metadata is a JSON record of the architecture and of the schedule; its id, the first ten
bits of the SHA-256 of the whole file, is what a ``.pqm`` file names.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pqmim.coding.schedule import Group
from pqmim.errors import PqmimError, UnsupportedFile
from pqmim.models.prior.integer import QUALITIES, IntegerPrior, Tensors
from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig

FOLDER = Path(__file__).parent / "weights"
DEFAULT = "default"


@dataclass
class Weights:
    """A loaded release: modules in evaluation mode, the integer prior, and the tables of the schedule.

    ``rates`` (101,) are the fractional rates of all qualities, ``active`` (101,) is the number of sub-quantizers
    sent at each, ``prices`` (101,) the squared error that is worth one bit there.
    """

    id: int
    config: TransformConfig
    analysis: Analysis
    quantizer: ProductQuantizer
    synthesis: Synthesis
    prior: IntegerPrior
    groups: list[Group]
    rates: list[float]
    active: list[int]
    prices: list[float]


def save(
    path: Path,
    config: TransformConfig,
    analysis: Analysis,
    quantizer: ProductQuantizer,
    synthesis: Synthesis,
    prior: Tensors,
    groups: list[Group],
    rates: list[float],
    active: list[int],
    prices: list[float],
) -> int:
    """Write a release, matrices in half precision; returns its id."""
    tensors: Tensors = {f"prior.{name}": tensor for name, tensor in prior.items()}
    for name, module in (("analysis", analysis), ("quantizer", quantizer), ("synthesis", synthesis)):
        for key, tensor in module.state_dict().items():
            tensors[f"{name}.{key}"] = _halved(tensor)
    record = {
        "format": 1,
        "transforms": asdict(config),
        "dimensions": quantizer.dimensions,
        "codewords": quantizer.codewords,
        "groups": [asdict(group) for group in groups],
        "rates": rates,
        "active": active,
        "prices": prices,
    }
    data = save_tensors({k: t.contiguous() for k, t in tensors.items()}, metadata={"pqmim": json.dumps(record)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".part").write_bytes(data)
    path.with_suffix(".part").replace(path)
    return identify(data)


@torch.inference_mode(False)  # encoders follow gradients through them
def load(path: str | Path | None = None, device: str | torch.device = "cpu") -> Weights:
    """Read a release; the packaged one by default.  Raises ``PqmimError`` if the file is not one."""
    path = Path(path) if path else FOLDER / f"{DEFAULT}.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PqmimError(f"{path}: weights that cannot be read ({error.strerror})") from error
    try:
        tensors = load_tensors(data)
        record = json.loads(_metadata(data)["pqmim"])
        return _build(identify(data), tensors, record, device)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise PqmimError(f"{path}: not weights of pqmim, or damaged") from error


def identify(data: bytes) -> int:
    """The id (0..1023) of a release's bytes."""
    return int.from_bytes(hashlib.sha256(data).digest()[:2], "big") >> 6


@cache
def installed() -> dict[int, Path]:
    """Releases in the package, by id."""
    return {identify(path.read_bytes()): path for path in sorted(FOLDER.glob("*.safetensors"))}


def find(wanted: int) -> Path:
    """The packaged release of an id.  Raises ``UnsupportedFile`` if there is none."""
    if wanted not in installed():
        raise UnsupportedFile(
            f"the file needs weights {wanted:03x}, which are not installed: upgrade pqmim, or name their file with --weights"
        )
    return installed()[wanted]


def _metadata(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size])["__metadata__"]


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() > 10_000 else tensor


def _build(id: int, tensors: Tensors, record: dict, device: str | torch.device) -> Weights:
    def part(name: str) -> Tensors:
        return {k.removeprefix(name + "."): t for k, t in tensors.items() if k.startswith(name + ".")}

    def fill(module: torch.nn.Module, name: str) -> None:
        own = module.state_dict()
        module.load_state_dict({k: t.to(own[k].dtype) for k, t in part(name).items()}, strict=name != "quantizer")
        module.eval().requires_grad_(False).to(device)

    config = TransformConfig(**record["transforms"])
    analysis, synthesis = Analysis(config), Synthesis(config)
    quantizer = ProductQuantizer(torch.arange(config.latent), record["dimensions"], record["codewords"], config.levels)
    for module, name in ((analysis, "analysis"), (synthesis, "synthesis"), (quantizer, "quantizer")):
        fill(module, name)
    return Weights(
        id,
        config,
        analysis,
        quantizer,
        synthesis,
        IntegerPrior(part("prior"), device),
        [Group(**group) for group in record["groups"]],
        record.get("rates") or [config.levels * (1 - q / 100) ** 1.5 for q in range(QUALITIES)],  # the first releases
        record["active"],
        record["prices"],
    )

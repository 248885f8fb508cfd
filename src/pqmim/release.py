"""Released weights: one safetensors file that holds all that a codec needs, and says what it is.  Loads without torch.

The file's metadata is a JSON record. Its tensors are named by the part that they belong to: `analysis.`, `quantizer.`
and `synthesis.` in float32, matrices in half precision, and `prior.` in integers. A .pqm file names a release by its
id, which depends on what decides codes alone: the prior, and the record's dimensions, codewords, groups and active
sub-quantizers. So transforms, rates and prices may learn on, and old files decode to the same codes.

The first files carry no id in their record. Theirs is the start of the SHA-256 of the whole file.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pqmim.coding.schedule import Group
from pqmim.errors import UnsupportedFile, WeightsError
from pqmim.files import write_atomically

FOLDER = Path(__file__).parent / "weights"
DEFAULT = "default"
KEY = "pqmim"  # of the record in the file's metadata; other files, such as looks, have another one
PARTS = ("analysis", "quantizer", "synthesis", "prior")
LARGE_MATRIX = 10_000  # numbers from which a matrix is kept in half precision

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Record:
    """What a release says of itself.

    Attributes:
        transforms: sizes of the transforms, as `models.transforms.TransformConfig` takes them.
        dimensions: (M,) channels of each sub-quantizer.
        codewords: K, those of each sub-quantizer.
        groups: of sub-quantizers that are coded together, in order.
        rates: (101,) the fractional rate of each quality.
        active: (101,) the number of sub-quantizers that each quality sends.
        prices: (101,) the squared error that is worth one bit at each quality.
    """

    transforms: Mapping[str, float]
    dimensions: tuple[int, ...]
    codewords: int
    groups: tuple[Group, ...]
    rates: tuple[float, ...]
    active: tuple[int, ...]
    prices: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Release:
    """A loaded release.

    Attributes:
        id: 0..1023, what a .pqm file names it by.
        digest: SHA-256 of the record and all tensors, in hexadecimal digits.
        record: what it says of itself.
        tensors: by name; not to be changed.
        name: of the file that it was read from.
    """

    id: int
    digest: str
    record: Record
    tensors: Mapping[str, NDArray[Any]]
    name: str = ""

    def part(self, name: str) -> Tensors:
        """The tensors of one of `PARTS`, by the rest of their names."""
        return _part(self.tensors, name)

    def digest_of(self, part: str) -> str:
        """SHA-256 of one of `PARTS`: what an add-on to the release, such as a look, names it by."""
        return hash_of({}, self.part(part)).hexdigest()


def save(path: str | os.PathLike[str], record: Record, parts: Mapping[str, Mapping[str, NDArray[Any]]]) -> int:
    """Write a release.

    Args:
        path: of the file, whose folder is made; a file that exists is replaced.
        record: what it says of itself.
        parts: tensors by name, for each of `PARTS`.

    Returns:
        Its id.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {f"{part}.{name}": _kept(tensor) for part in PARTS for name, tensor in parts[part].items()}
    facts = _facts(record) | {"format": 2, "id": f"{id_of(record, _part(tensors, 'prior')):03x}"}
    facts["sha256"] = hash_of(facts, tensors).hexdigest()
    data = save_tensors(tensors, metadata={KEY: json.dumps(facts)})
    write_atomically(path, data, force=True, parents=True)
    return int(facts["id"], 16)


def load(path: str | os.PathLike[str] | None = None) -> Release:
    """Read a release.

    Args:
        path: of its file; the packaged one by default.

    Raises:
        WeightsError: the file cannot be read, is no release, or does not match the SHA-256 that it records.
    """
    path = Path(path) if path else FOLDER / f"{DEFAULT}.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", path) from error
    try:
        facts = _metadata(data)
        return _release(facts, load_tensors(data), data, path)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError("this is no file of pqmim weights, or it is damaged", path) from error


def id_of(record: Record, prior: Mapping[str, NDArray[Any]]) -> int:
    """The id (0..1023) of what decides codes: the first ten bits of a SHA-256 of it in canonical form."""
    facts = _facts(record)
    decides = {name: facts[name] for name in ("active", "codewords", "dimensions", "groups")}
    return int.from_bytes(hash_of(decides, prior).digest()[:2], "big") >> 6


def hash_of(facts: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> "hashlib._Hash":
    """SHA-256 of facts as JSON with sorted keys and no spaces, and of tensors by name: type, shape, little-endian bytes."""
    found = hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for name, tensor in sorted(tensors.items()):
        little = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
        found.update(f"{name} {little.dtype.str} {json.dumps(little.shape)}\n".encode())
        found.update(little.reshape(-1).view(np.uint8).data if little.size else b"")
    return found


@cache
def installed() -> Mapping[int, Path]:
    """Releases in the package, by id."""
    found = {}
    for path in sorted(FOLDER.glob("*.safetensors")):
        data = path.read_bytes()
        try:
            found[_id(_metadata(data), data)] = path
        except (KeyError, ValueError):  # an add-on, or no whole file
            continue
    return found


def find(wanted: int) -> Path:
    """The packaged release of an id.

    Raises:
        UnsupportedFile: there is none.
    """
    if wanted not in installed():
        raise UnsupportedFile(
            f"the file needs weights {wanted:03x}, which are not installed: decode it with the version of pqmim that wrote it, "
            "or name the file of these weights with --weights"
        )
    return installed()[wanted]


def _release(facts: Mapping[str, Any], tensors: Tensors, data: bytes, path: Path) -> Release:
    record = _record(facts)
    own = {name: value for name, value in facts.items() if name != "sha256"}
    found = Release(_id(facts, data), hash_of(own, tensors).hexdigest(), record, tensors, path.name)
    prior = found.part("prior")
    if "id" in facts and (facts["sha256"], found.id) != (found.digest, id_of(record, prior)):
        raise WeightsError("the file is damaged: it does not match the SHA-256 that it records", path)
    if len(record.dimensions) != len(prior["dimensions"]) or len(record.active) != len(record.prices):
        raise ValueError("the record does not fit the tensors")
    return found


def _record(facts: Mapping[str, Any]) -> Record:
    levels, count = facts["transforms"]["levels"], len(facts["prices"])
    rates = facts.get("rates") or [levels * (1 - quality / 100) ** 1.5 for quality in range(count)]  # the first files
    return Record(
        facts["transforms"],
        tuple(facts["dimensions"]),
        facts["codewords"],
        tuple(Group(**group) for group in facts["groups"]),
        tuple(rates),
        tuple(facts["active"]),
        tuple(facts["prices"]),
    )


def _facts(record: Record) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(json.dumps(asdict(record)))  # as they read again: tuples are lists
    return facts


def _id(facts: Mapping[str, Any], data: bytes) -> int:
    if "id" in facts:
        return int(facts["id"], 16)
    return int.from_bytes(hashlib.sha256(data).digest()[:2], "big") >> 6


def _metadata(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    facts: dict[str, Any] = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][KEY])
    return facts


def _part(tensors: Mapping[str, NDArray[Any]], part: str) -> Tensors:
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}


def _kept(tensor: NDArray[Any]) -> NDArray[Any]:
    matrix = tensor.dtype.kind == "f" and tensor.ndim >= 2 and tensor.size > LARGE_MATRIX
    return np.ascontiguousarray(tensor, np.float16 if matrix else tensor.dtype)

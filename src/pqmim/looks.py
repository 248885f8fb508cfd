"""Looks: add-ons to a release that render the same codes in another way.  Loads without torch.

A look is a file of its own. It holds the weights of a second synthesis as a difference to the faithful one: int8
matrices with a scale a row, everything else in half precision. Its record names the synthesis that it belongs to by a
hash, so a look of another release is refused. It also holds a SHA-256 of itself and the tensors, by which damage is
found; the first looks have none. Codes do not depend on looks: files need not be coded again when a look is trained anew.

The dial between looks is a straight line in pixels from the faithful picture, at 0, to that of the look, at 1. No mixture
of both of another kind gives less error at the same realism (Freirich, Michaeli and Meir, "A theory of the
distortion-perception tradeoff in Wasserstein space", 2021). At 1 one synthesis is rendered, between 0 and 1 both.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pqmim.errors import BadArgument, WeightsError
from pqmim.files import write_atomically
from pqmim.release import hash_of

FOLDER = Path(__file__).parent / "weights"
KEY = "pqmim-look"  # of the record in the file's metadata
LIMIT = 127  # of an int8 entry
MATRIX = 1_000  # entries from which a tensor of two dimensions is stored as int8
NAMES = {"faithful": 0.0, "vivid": 1.0}
"""Where the dial stands for looks that have a name."""

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Look:
    """A look of a release.

    Attributes:
        name: of the look, such as `vivid`.
        tensors: of its synthesis, float32, by the names of `models.looks.VividSynthesis`.
        strength: (L,) how far the look goes from the faithful synthesis to this one, in the weights, at each rate level:
            0 to 1.
    """

    name: str
    tensors: Mapping[str, NDArray[np.float32]]
    strength: NDArray[np.float32]

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides how the look draws, in hexadecimal digits."""
        found = hashlib.sha256(self.strength.astype("<f4").tobytes())
        for name, tensor in sorted(self.tensors.items()):
            found.update(f"{name} {tensor.shape}\n".encode() + tensor.astype("<f4").tobytes())
        return found.hexdigest()

    def at(self, level: float, faithful: Tensors) -> Mapping[str, NDArray[np.float32]]:
        """The synthesis that the look has at a fractional rate level, from 0, beside the `faithful` one."""
        strength = float(np.interp(level, np.arange(len(self.strength)), self.strength))
        return self.tensors if strength == 1 else partway(self.tensors, faithful, strength)


def partway(found: Tensors, faithful: Tensors, share: float) -> dict[str, NDArray[np.float32]]:
    """Weights `share` of the way, 0 to 1, from the faithful synthesis to the one found; its noise is as much weaker."""
    arrays = {}
    for name, tensor in found.items():
        arrays[name] = np.asarray(tensor, np.float32)
        if name in faithful:
            start = np.asarray(faithful[name], np.float32)
            arrays[name] = start + np.float32(share) * (arrays[name] - start)
        elif name.endswith(".noise"):
            arrays[name] = np.float32(share) * arrays[name]
    return arrays


def dial_of(look: float | str) -> float:
    """Where the dial stands, 0 to 1, for a number or a name.

    Raises:
        BadArgument: the number is out of range, or the name is unknown.
    """
    if isinstance(look, str):
        if look not in NAMES:
            raise BadArgument(f"a look is faithful, vivid, or a number from 0 to 1 between them, not {look}")
        return NAMES[look]
    if not 0 <= look <= 1:
        raise BadArgument(f"a look is a number from 0, faithful, to 1, vivid, not {look}")
    return float(look)


def save(path: str | os.PathLike[str], look: Look, faithful: Tensors, digest: str) -> int:
    """Write a look; returns the size of the file in bytes.

    Args:
        path: of the file; one that exists is replaced.
        look: what is written.
        faithful: tensors of the synthesis that it is a difference to, as its release holds them.
        digest: what names that synthesis, see `release.Release.digest_of`.
    """
    tensors: dict[str, NDArray[Any]] = {"strength": look.strength.astype(np.float16)}
    for name, tensor in look.tensors.items():
        difference = np.asarray(tensor, np.float32)
        if name in faithful:
            difference = difference - np.asarray(faithful[name], np.float32)
        if tensor.ndim == 2 and tensor.size >= MATRIX:
            scale = np.maximum(np.abs(difference).max(1) / LIMIT, 1e-12).astype(np.float32)
            tensors[f"{name}.scale"] = scale
            tensors[f"{name}.int8"] = np.rint(difference / scale[:, None]).astype(np.int8)
        elif np.any(difference):
            tensors[name] = difference.astype(np.float16)
    record = {"format": 1, "name": look.name, "synthesis": digest}
    record["sha256"] = hash_of(record, tensors).hexdigest()
    data: bytes = save_tensors(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, metadata={KEY: json.dumps(record)}
    )
    write_atomically(path, data, force=True)
    return len(data)


def load(path: str | os.PathLike[str], faithful: Tensors, digest: str | None) -> Look:
    """Read a look that belongs to the synthesis `faithful`, which `digest` names.

    Without a digest the difference that the file holds is added to any synthesis of the same sizes: a look of one
    release is where that of the next one starts to learn.

    Raises:
        WeightsError: the file cannot be read, is no look, does not match the SHA-256 that it records, or belongs to another
            synthesis.
    """
    try:
        data = Path(path).read_bytes()
        record, tensors = _record(data), load_tensors(data)
        facts = {key: value for key, value in record.items() if key != "sha256"}
        if "sha256" in record and record["sha256"] != hash_of(facts, tensors).hexdigest():
            raise WeightsError("the file is damaged: it does not match the SHA-256 that it records", path)
        if digest is not None and record["synthesis"] != digest:
            raise WeightsError(f"the look {record['name']} belongs to other weights", path)
        strength = tensors.pop("strength").astype(np.float32)
        return Look(record["name"], _absolute(tensors, faithful), strength)
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", path) from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise WeightsError("this is no look of pqmim, or it is damaged", path) from error


def find(faithful: Tensors, digest: str, name: str = "vivid") -> Look | None:
    """The packaged look of a name that belongs to the synthesis `faithful`; None if there is none."""
    for path in sorted(FOLDER.glob("*.safetensors")):
        try:
            record = _record(path.read_bytes())
        except (KeyError, ValueError):  # a release
            continue
        if (record["name"], record["synthesis"]) == (name, digest):
            return load(path, faithful, digest)
    return None


def _absolute(tensors: Tensors, faithful: Tensors) -> dict[str, NDArray[np.float32]]:
    """Weights of a look's synthesis, of the differences that its file holds."""
    found = {name: np.asarray(tensor, np.float32) for name, tensor in faithful.items()}
    for name, tensor in tensors.items():
        key = name.removesuffix(".int8")
        difference = tensor.astype(np.float32)
        if key != name:
            difference = difference * tensors[f"{key}.scale"][:, None]
        elif f"{name.removesuffix('.scale')}.int8" in tensors:
            continue
        found[key] = found[key] + difference if key in faithful else difference
    return found


def _record(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][KEY])
    return found

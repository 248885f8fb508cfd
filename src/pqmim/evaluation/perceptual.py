"""How real codecs' pictures look, by networks that training never saw: every codec and setting over sets of photos.

A set of photos goes through each setting of each codec. Kernel and Fréchet distances compare the patches of all decoded
pictures with those of the photos (see `summaries`); feature distances, PSNR and rate are means over photos, and so is
`SAME`, whether a classifier's first guess about the photo is among its first five about the picture. Everything costly is kept under the digest of the photo or of the coded file, so that a run that was stopped goes on, and another
look or network costs only its own work.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pqmim.errors import InvalidImage
from pqmim.evaluation.codecs import LOOK, ImageCodec, Rgb
from pqmim.evaluation.distances import PATCH, patches
from pqmim.evaluation.metrics import psnr
from pqmim.evaluation.networks import FeatureNetwork, Networks
from pqmim.evaluation.store import Store, digest
from pqmim.image.picture import read_picture

Array = NDArray[np.float32]

SAME = "same guess"  # the measure's name
FIRST = 5  # guesses about a decoded picture


@dataclass(frozen=True)
class Photos:
    """The photos of an evaluation and the features of their patches."""

    paths: Sequence[Path]
    patch_photo: NDArray[np.int64]  # the photo of each patch, by its place in `paths`
    features: Mapping[str, Array]  # by network, (patches, D)


@dataclass(frozen=True)
class Measured:
    """One codec over all photos."""

    settings: Sequence[float]
    values: Mapping[str, NDArray[np.float64]]  # bpp, PSNR and feature distances: (settings, photos); NaN: not measured
    features: Mapping[str, Array]  # by network, (settings, patches, D)


def measure_photos(paths: Sequence[Path], networks: Networks, store: Store, progress: bool = False) -> Photos:
    """The features of the photos themselves.

    Args:
        paths: The photos.
        networks: What measures them.
        store: What was computed before.
        progress: Whether a bar is shown.

    Raises:
        InvalidImage: A photo cannot be read, or fewer than two have a patch: distances are between photos.
    """
    rows: dict[str, list[Array]] = {network.name: [] for network in networks.features}
    members = []
    for number, path in enumerate(tqdm(paths, desc="photos", unit="photo", disable=not progress)):
        rgb = read_picture(path).rgb
        measures = {_stored(network): _patches_by(network) for network in networks.features}
        found = store.arrays(f"photos/{_sha(rgb.tobytes())}", measures, lambda rgb=rgb: rgb)  # type: ignore[misc]
        for name, value in found.items():
            rows[name].append(value)
        members.append(np.full(len(patches(rgb)), number))
    if sum(len(patches_of) > 0 for patches_of in members) < 2:
        raise InvalidImage(f"realism needs two photos or more of at least {PATCH} x {PATCH} pixels")
    return Photos(paths, np.concatenate(members), {name: _joined(parts) for name, parts in rows.items()})


def measure_codec(
    photos: Photos, codec: ImageCodec, networks: Networks, store: Store, progress: bool = False
) -> Measured:
    """All photos through all settings of a codec.

    Args:
        photos: As `measure_photos` returns them.
        codec: Its settings are those that are measured.
        networks: The same as for the photos.
        store: What was computed before.
        progress: Whether a bar is shown.
    """
    shape = len(codec.settings), len(photos.paths)
    features: dict[str, list[list[Array]]] = {name: [[] for _ in codec.settings] for name in photos.features}
    values: dict[str, NDArray[np.float64]] = {}
    with tqdm(total=shape[0] * shape[1], desc=codec.name, unit="file", disable=not progress) as bar:
        for number, path in enumerate(photos.paths):
            for row, found in enumerate(_settings(read_picture(path).rgb, codec, networks, store)):
                for name, value in found.items():
                    if name in features:
                        features[name][row].append(value)
                    else:
                        values.setdefault(name, np.full(shape, np.nan))[row, number] = value
                bar.update()
    stacked = {name: np.stack([_joined(parts) for parts in rows]) for name, rows in features.items()}
    return Measured(codec.settings, values, stacked)


def _settings(rgb: Rgb, codec: ImageCodec, networks: Networks, store: Store) -> Iterator[dict[str, Any]]:
    """What is measured of one photo, setting by setting."""
    measures = _Beside(rgb, networks).measures()
    versions = dict(codec.versions)
    coding = {name: version for name, version in versions.items() if name != LOOK}  # looks share files
    files = f"{codec.coder}-{digest(coding)}/{_sha(rgb.tobytes())}"
    for setting in codec.settings:
        data = store.file(f"{files}-{setting:g}", lambda setting=setting: codec.encode(rgb, setting))  # type: ignore[misc]
        key = f"{codec.name}-{digest(versions)}/{_sha(data)}"
        found: dict[str, Any] = dict(store.arrays(key, measures, lambda data=data: codec.decode(data)))  # type: ignore[misc]
        found["bpp"] = 8 * len(data) / (rgb.shape[0] * rgb.shape[1])
        yield found


class _Beside:
    """What is measured of decoded pictures beside one photo, whose own features are made once."""

    def __init__(self, rgb: Rgb, networks: Networks) -> None:
        self.rgb, self.networks = rgb, networks

    def measures(self) -> dict[str, Callable[[Rgb], Array]]:
        """By the names that they are stored under."""
        found = {_stored(network): _patches_by(network) for network in self.networks.features}
        found["PSNR"] = lambda decoded: np.float32(psnr(self.rgb, decoded))
        side = min(self.rgb.shape[:2])
        squeezenet, lpips = self.networks.squeezenet, self.networks.lpips
        if squeezenet is not None and side >= squeezenet.min_side:
            found[f"SqueezeNet@{squeezenet.sha256[:8]}"] = lambda decoded: np.float32(squeezenet(self.rgb, decoded))
        if lpips is not None and side >= lpips.min_side:
            found[f"{lpips.name}@{lpips.sha256[:8]}"] = self._lpips_of
        if self.networks.classifier is not None:
            found[f"{SAME}@{self.networks.classifier.sha256[:8]}"] = self._taken_for_the_same
        return found

    def _taken_for_the_same(self, decoded: Rgb) -> Array:
        assert self.networks.classifier is not None
        guesses = self.networks.classifier.guesses(_tensor(decoded))[:FIRST]
        return np.asarray(self._guess in guesses, np.float32)

    @cached_property
    def _guess(self) -> int:
        assert self.networks.classifier is not None
        return self.networks.classifier.guesses(_tensor(self.rgb))[0]

    @cached_property
    def _own(self) -> list[torch.Tensor]:
        assert self.networks.lpips is not None
        return self.networks.lpips.features(_tensor(self.rgb))

    def _lpips_of(self, decoded: Rgb) -> Array:
        assert self.networks.lpips is not None
        distance = self.networks.lpips.between(self._own, self.networks.lpips.features(_tensor(decoded)))
        return np.asarray(distance, np.float32)


def _patches_by(network: FeatureNetwork) -> Callable[[Rgb], Array]:
    """Features (n, D) of a picture's patches; (0, 1) where it has none."""

    def features(rgb: Rgb) -> Array:
        cut = torch.from_numpy(patches(rgb)).permute(0, 3, 1, 2)
        return np.asarray(network(cut).numpy()) if len(cut) else np.zeros((0, 1), np.float32)

    return features


def _stored(network: FeatureNetwork) -> str:
    return f"{network.name}@{network.sha256[:8]}"


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate([part for part in parts if len(part)])


def _tensor(rgb: Rgb) -> torch.Tensor:
    return torch.tensor(rgb).permute(2, 0, 1)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]

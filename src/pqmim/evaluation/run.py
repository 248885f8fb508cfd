"""Every photo of a folder through every setting of several codecs, with rates taken from the coded files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pqmim.errors import InvalidImage
from pqmim.evaluation import update
from pqmim.evaluation.bench import DIGITS, Bench, Choices, rounded
from pqmim.evaluation.codecs import ImageCodec
from pqmim.evaluation.comparison import MEASURES as BD_MEASURES
from pqmim.evaluation.comparison import bd_tables, recorded
from pqmim.evaluation.machine import machine, versions
from pqmim.evaluation.published import PublishedCurve
from pqmim.image.endings import PICTURES
from pqmim.image.picture import read_picture

if TYPE_CHECKING:
    from pqmim.evaluation.features import SqueezeNetDistance


@dataclass(frozen=True)
class Perceptual:
    """What perceptual measures need, see `perceptual`."""

    features: str | os.PathLike[str]  # a folder with the weights of MobileNetV2 and SqueezeNet
    inception: str | os.PathLike[str] | None = None  # TorchScript, for FID and KID
    store: str | os.PathLike[str] | None = None  # a folder for what takes long


@dataclass(frozen=True)
class Options:
    """How an evaluation runs."""

    weights: str | os.PathLike[str] | None = None  # of pqmim; None: the packaged release
    device: str = "cpu"  # of pqmim and its rivals
    threads: int | None = None  # of the codecs that take more than one; None: as many as there are cores
    features: str | os.PathLike[str] | None = None  # SqueezeNet 1.1's weights, for the measure squeezenet
    perceptual: Perceptual | None = None  # for realism at equal rates; every picture is coded once more, or kept
    published: Mapping[str, PublishedCurve] = field(default_factory=dict)  # curves of the same photos
    earlier: Mapping[str, Any] | None = None  # results whose other codecs are kept
    progress: bool = True
    jobs: int = 1  # processes of one thread each, where there are several

    def bench(self, names: Sequence[str]) -> Choices:
        """What measures codecs of these names."""
        threads = 1 if self.jobs > 1 else self.threads or os.cpu_count()
        return Choices(names, self.weights, self.device, threads, self.features)


def evaluate(
    folder: str | os.PathLike[str], codec_names: Sequence[str], options: Options | None = None
) -> dict[str, Any]:
    """Runs codecs over the photos of a folder and returns the record that `results.py` writes and reads.

    {"dataset", "images": [{"name", "width", "height"}],
     "codecs": {name: {"machine", "versions", "settings": [means over the images, one a setting],
                       "per_image": {image: {measure: [one a setting]}}}},
     "machine", "versions", "bd_rate": {measure: as `comparison.recorded` has it}}

    Measures: bytes of the coded file, bpp (8 bytes / pixels), psnr in dB and ms_ssim over RGB, encode_s and decode_s
    in seconds. PSNR is null for a lossless picture, MS-SSIM for one with a side below 161; means leave these out.
    `perceptual` adds "perceptual", see `perceptual_record`. `features` adds the measure squeezenet (see
    `features.SqueezeNetDistance`; null for a side below 17) and "features": {"squeezenet": the file's SHA-256}.

    Args:
        folder: The photos.
        codec_names: Names of `codecs.CODECS`. A rival's name brings its weights along, as in "hyperprior=FILE"; files
            of several "vq=FILE" make one curve.
        options: How to run; None for the defaults.

    Raises:
        InvalidImage: The folder holds no photo or an unreadable one, or too few large ones for `perceptual`.
        MissingCodec: A codec is not here.
        PqmimError: `features` is another file, or `earlier` has other photos, or what would be lost.
    """
    options = options or Options()
    paths = find_photos(folder)
    bench = Bench(options.bench(codec_names))
    codecs, distance = bench.codecs, bench.distance
    images = [_facts(path) for path in paths]
    _check_update(options, images, [codec.name for codec in codecs], distance)
    realism = {}
    if options.perceptual is not None:  # the first, since it may refuse networks or photos
        realism["perceptual"] = perceptual_record(paths, codecs, options.perceptual, options.progress)
    per_image: dict[str, dict[str, Any]] = {codec.name: {} for codec in codecs}
    for path, found in zip(paths, bench.photos(paths, options.jobs, options.progress), strict=True):
        for name, measures in found.items():
            per_image[name][path.name] = measures
    here = machine(bench.choices.threads, device=options.device)
    results: dict[str, Any] = {
        "dataset": Path(folder).resolve().name,
        "images": images,
        "machine": here,
        "versions": versions(),
        "codecs": {codec.name: _entry(codec, per_image[codec.name], here) for codec in codecs},
    }
    if distance is not None:
        results["features"] = {"squeezenet": distance.sha256}
    results |= realism
    if options.earlier is not None:
        results = update.joined(options.earlier, results)
    results["bd_rate"] = {
        measure: recorded(bd_tables(results["codecs"], options.published, measure), measure) for measure in BD_MEASURES
    }
    return results


def perceptual_record(
    paths: Sequence[Path], codecs: Sequence[ImageCodec], options: Perceptual, progress: bool = False
) -> dict[str, Any]:
    """Perceptual measures of codecs over photos: as `summaries.record` has it, with the networks' digests.

    Args:
        paths: The photos, of one folder or several.
        codecs: The first one is what the others are compared with.
        options: What the measures need.
        progress: Whether bars are shown.

    Raises:
        PqmimError: Weights are missing or others, or `pqmim[perceptual]` is not installed.
    """
    from pqmim.evaluation.networks import Networks  # torch
    from pqmim.evaluation.perceptual import measure_codec, measure_photos
    from pqmim.evaluation.store import Store
    from pqmim.evaluation.summaries import record, summary

    networks = Networks.load(options.features, options.inception)
    store = Store(None if options.store is None else Path(options.store))
    photos = measure_photos(paths, networks, store, progress)
    summaries = {}
    for codec in codecs:
        summaries[codec.name] = summary(photos, measure_codec(photos, codec, networks, store, progress))
    reference = codecs[0].name if len(codecs) > 1 else None
    facts = {"photos": len(paths), "patches": len(photos.patch_photo), "networks": networks.digests()}
    return facts | record(summaries, reference)


def find_photos(folder: str | os.PathLike[str]) -> list[Path]:
    """The photos right in a folder, in order of their names; raises InvalidImage where there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidImage("not a folder: name one that holds photos", folder)
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not paths:
        raise InvalidImage("holds no photos (.png, .jpg, .webp, ...)", folder)
    return paths


def _check_update(
    options: Options, images: list[dict[str, Any]], names: list[str], distance: "SqueezeNetDistance | None"
) -> None:
    """Raise PqmimError where new results of codecs cannot stand beside earlier ones, if there are any."""
    if options.earlier is not None:
        update.check(options.earlier, images, names, None if distance is None else distance.sha256)
        update.check_perceptual(options.earlier, names, options.perceptual is not None)
        update.check_published(options.earlier, options.published)


def _facts(path: Path) -> dict[str, Any]:
    """Name and size of a photo, as results have them."""
    height, width = read_picture(path).rgb.shape[:2]
    return {"name": path.name, "width": width, "height": height}


def _entry(codec: ImageCodec, per_image: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    """What results have of a codec, measured on this machine."""
    return {
        "machine": here,
        "versions": dict(codec.versions),
        "settings": _means(codec.settings, per_image),
        "per_image": per_image,
    }


def _means(settings: Sequence[float], per_image: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for i, setting in enumerate(settings):
        row: dict[str, float | None] = {"setting": setting}
        for key in next(iter(per_image.values())):
            values = [measures[key][i] for measures in per_image.values() if measures[key][i] is not None]
            row[key] = rounded(float(np.mean(values)), DIGITS[key]) if values else None
        rows.append(row)
    return rows

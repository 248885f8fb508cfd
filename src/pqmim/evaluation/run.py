"""Every photo of a folder through every setting of several codecs, with rates taken from the coded files."""

import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from tqdm import tqdm

import pqmim
from pqmim.errors import InvalidImage
from pqmim.evaluation.bdrate import bd_rate
from pqmim.evaluation.codecs import ImageCodec, files_by_codec, make_codec
from pqmim.evaluation.metrics import MS_SSIM_MIN_SIDE, ms_ssim, psnr
from pqmim.evaluation.published import PublishedCurve, published_bd_rates
from pqmim.evaluation.results import MEASURES, curve
from pqmim.image.picture import read_picture

if TYPE_CHECKING:
    from pqmim.evaluation.features import SqueezeNetDistance

PHOTO_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm"}
BD_RANGES = {"jpeg": (0.1, 0.8)} | dict.fromkeys(("webp", "avif", "hyperprior"), (0.1, 0.9))  # rates in bits a pixel
DIGITS = dict(zip(MEASURES, (0, 5, 4, 6, 4, 4))) | {"squeezenet": 5}


def evaluate(
    folder: str | os.PathLike,
    codec_names: Sequence[str],
    *,
    weights: str | os.PathLike | None = None,
    device: str = "cpu",
    threads: int | None = None,
    features: str | os.PathLike | None = None,
    published: Mapping[str, PublishedCurve] | None = None,
    progress: bool = True,
) -> dict:
    """Runs codecs over the photos of a folder and returns the record that `results.py` writes and reads.

    A rival's name brings its weights along, as in "hyperprior=FILE"; files of several "vq=FILE" make one curve.

    {"dataset", "images": [{"name", "width", "height"}], "machine", "versions",
     "codecs": {name: {"versions", "settings": [means over the images, one a setting],
                       "per_image": {image: {measure: [one a setting]}}}},
     "bd_rate": {reference: {"range_bpp", "percent": {codec: ...}, "psnr": {codec: [low, high]}}}}

    Measures: bytes of the coded file, bpp (8 bytes / pixels), psnr in dB and ms_ssim over RGB, encode_s and decode_s
    in seconds. PSNR is null for a lossless picture, MS-SSIM for one with a side below 161; means leave these out.
    BD-rates are in percent of the reference's rate, over PSNR, null where curves do not meet.
    `features`, a file of SqueezeNet 1.1's weights, adds the measure squeezenet (see `features.SqueezeNetDistance`; null
    for a side below 17) and "features": {"squeezenet": the file's SHA-256}. `published` curves, of the same photos,
    add "bd_rate_published", as `published_bd_rates` returns it over PSNR.
    Raises InvalidImage where the folder holds no photo or an unreadable one, MissingCodec for a codec not here,
    PqmimError where `features` is another file.
    """
    paths = find_photos(folder)
    codecs = [
        make_codec(name, files, weights=weights, device=device, threads=threads)
        for name, files in files_by_codec(codec_names).items()
    ]
    distance = None
    if features is not None:
        from pqmim.evaluation.features import SqueezeNetDistance  # torch: not for JPEG and its like alone

        distance = SqueezeNetDistance(features, device=device, threads=threads)
    images = []
    per_image: dict[str, dict] = {codec.name: {} for codec in codecs}
    total = len(paths) * sum(len(codec.settings) for codec in codecs)
    with tqdm(total=total, unit="file", disable=not progress) as bar:
        for path in paths:
            rgb = read_picture(path).rgb
            images.append({"name": path.name, "width": rgb.shape[1], "height": rgb.shape[0]})
            for codec in codecs:
                bar.set_postfix_str(f"{path.name} {codec.name}")
                rows = []
                for setting in codec.settings:
                    rows.append(measure(codec, rgb, setting, distance))
                    bar.update()
                per_image[codec.name][path.name] = {key: [row[key] for row in rows] for key in rows[0]}
    results = {
        "dataset": Path(folder).resolve().name,
        "images": images,
        "machine": {"cpu": cpu_model(), "device": device, "threads": threads or os.cpu_count()},
        "versions": {
            "pqmim": pqmim.__version__,
            "python": platform.python_version(),
            "pillow": Image.__version__,
            "numpy": np.__version__,
        },
        "codecs": {
            codec.name: {
                "versions": dict(codec.versions),
                "settings": _means(codec.settings, per_image[codec.name]),
                "per_image": per_image[codec.name],
            }
            for codec in codecs
        },
    }
    if distance is not None:
        results["features"] = {"squeezenet": distance.sha256}
    results["bd_rate"] = bd_rates(results["codecs"])
    if published is not None:
        results["bd_rate_published"] = published_bd_rates(results["codecs"], published)
    return results


def measure(
    codec: ImageCodec, rgb: np.ndarray, setting: float, distance: "SqueezeNetDistance | None" = None
) -> dict[str, float | None]:
    """One picture through one setting: the measures of `evaluate`, rounded; squeezenet where `distance` is given."""
    start = time.perf_counter()
    data = codec.encode(rgb, setting)
    encoded = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    height, width = rgb.shape[:2]
    values = {
        "bytes": len(data),
        "bpp": 8 * len(data) / (width * height),
        "psnr": psnr(rgb, decoded),
        "ms_ssim": ms_ssim(rgb, decoded) if min(width, height) >= MS_SSIM_MIN_SIDE else None,
        "encode_s": encoded - start,
        "decode_s": end - encoded,
    }
    if distance is not None:
        values["squeezenet"] = distance(rgb, decoded) if min(width, height) >= distance.min_side else None
    return {key: _rounded(value, DIGITS[key]) for key, value in values.items()}


def bd_rates(codecs: Mapping[str, Mapping], measure: str = "psnr") -> dict[str, dict]:
    """BD-rates of all codecs against those of `BD_RANGES` that ran, from the means of `evaluate`.

    `measure` is psnr or ms_ssim, and names the table's entry of the qualities in dB.
    """
    tables = {}
    for reference in [name for name in BD_RANGES if name in codecs]:
        table = {"range_bpp": list(BD_RANGES[reference]), "percent": {}, measure: {}}
        for name in codecs:
            if name == reference:
                continue
            curves = (curve(codecs[codec], measure) for codec in (reference, name))
            try:
                result = bd_rate(*curves, BD_RANGES[reference])
            except ValueError:  # too few settings, or curves that do not meet in the range
                table["percent"][name] = table[measure][name] = None
            else:
                table["percent"][name] = round(result.percent, 2)
                table[measure][name] = [round(result.low, 3), round(result.high, 3)]
        tables[reference] = table
    return tables


def find_photos(folder: str | os.PathLike) -> list[Path]:
    """The photos right in a folder, in order of their names; raises InvalidImage where there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidImage(f"{folder} is not a folder: name one that holds photos.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_ENDINGS)
    if not paths:
        raise InvalidImage(f"{folder} holds no photos (.png, .jpg, .webp, ...).")
    return paths


def _means(settings: Sequence[float], per_image: dict[str, dict]) -> list[dict]:
    rows = []
    for i, setting in enumerate(settings):
        row: dict[str, float | None] = {"setting": setting}
        for key in next(iter(per_image.values())):
            values = [measures[key][i] for measures in per_image.values() if measures[key][i] is not None]
            row[key] = _rounded(float(np.mean(values)), DIGITS[key]) if values else None
        rows.append(row)
    return rows


def _rounded(value: float | None, digits: int) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return round(value, digits) if digits else round(value)


def cpu_model() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()

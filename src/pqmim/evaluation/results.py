"""The results of an evaluation as a JSON file, and the curves in them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pqmim.errors import PqmimError
from pqmim.evaluation.metrics import ms_ssim_db
from pqmim.files import write_atomically

MEASURES = ("bytes", "bpp", "psnr", "ms_ssim", "encode_s", "decode_s")  # of every evaluation


def write_results(results: Mapping[str, Any], path: str | os.PathLike[str], force: bool = False) -> None:
    """Writes results as JSON with a line for every list and record of plain values, so that a diff shows what changed.

    Raises OutputError where the file exists and `force` is not given, or cannot be written.
    """
    write_atomically(path, (_json(results) + "\n").encode(), force)


def read_results(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_results` wrote; raises PqmimError where the file cannot be read or holds something else."""
    try:
        results: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        results["codecs"].items()
    except OSError as error:
        raise PqmimError(f"cannot be read: {error.strerror}", path) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PqmimError("not a file of results that pqmim evaluate wrote", path) from error
    return results


def is_evaluation(record: Any) -> bool:
    """Whether what a JSON file holds is a record of `run.evaluate`, by the names in it."""
    try:
        rows = [row for codec in record["codecs"].values() for row in codec["settings"]]
        known = {"dataset", "images", "machine", "versions"} <= set(record)
        return known and bool(rows) and all(set(MEASURES) <= set(row) for row in rows)
    except (KeyError, TypeError, AttributeError):
        return False


def curve(codec: Mapping[str, Any], measure: str = "psnr") -> tuple[list[float], list[float]]:
    """Rates in bits a pixel and qualities, of the settings that have the measure, in order of their rates.

    `codec` is a codec's part of an evaluation. PSNR and MS-SSIM ("ms_ssim") are in dB, the latter by `ms_ssim_db`;
    the SqueezeNet feature distance ("squeezenet") is as it stands.
    """
    points = [(row["bpp"], row[measure]) for row in codec["settings"] if row.get(measure) is not None]
    if measure == "ms_ssim":
        points = [(rate, ms_ssim_db(value)) for rate, value in points if value < 1]
    points.sort()
    return [rate for rate, _ in points], [quality for _, quality in points]


def _json(value: Any, indent: str = "") -> str:
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(child, (dict, list)) for child in children):
        return json.dumps(value, allow_nan=False)
    inner = indent + " "
    if isinstance(value, list):
        lines, ends = [_json(child, inner) for child in value], "[]"
    else:
        lines, ends = [f"{json.dumps(key)}: {_json(child, inner)}" for key, child in value.items()], "{}"
    return f"{ends[0]}\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}{ends[1]}"

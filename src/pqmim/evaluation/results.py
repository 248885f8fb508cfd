"""The results of an evaluation as a JSON file."""

import json
import os
from pathlib import Path

from pqmim.bitstream.errors import PqmimError
from pqmim.image.files import write_atomically


def write_results(results: dict, path: str | os.PathLike, force: bool = False) -> None:
    """Writes results as JSON with a line for every list and record of plain values, so that a diff shows what changed.

    Raises OutputError where the file exists and `force` is not given, or cannot be written.
    """
    write_atomically(path, (_json(results) + "\n").encode(), force)


def read_results(path: str | os.PathLike) -> dict:
    """What `write_results` wrote; raises PqmimError where the file holds something else."""
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
        results["codecs"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PqmimError(f"{path} is not a file of results that pqmim evaluate wrote.") from error
    return results


def _json(value: object, indent: str = "") -> str:
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(child, (dict, list)) for child in children):
        return json.dumps(value, allow_nan=False)
    inner = indent + " "
    if isinstance(value, list):
        lines, ends = [_json(child, inner) for child in value], "[]"
    else:
        lines, ends = [f"{json.dumps(key)}: {_json(child, inner)}" for key, child in value.items()], "{}"
    return f"{ends[0]}\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}{ends[1]}"

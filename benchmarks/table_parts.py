"""What the modules that write tables share: names of codecs, the results, and the form of a table."""

import json
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

OWN = {"pqmim": "pqmim", "pqmim-fast": "pqmim, effort 0", "pqmim-refined": "pqmim, effort 16"}
NAMES = {
    "pqmim-fast": "effort 0",
    "pqmim-refined": "effort 16",
    "jpeg": "JPEG",
    "webp": "WebP",
    "avif": "AVIF",
    "avif-444": "AVIF, slow",
    "jxl": "JPEG XL",
    "hific": "HiFiC, trained here",
}


def result(name: str) -> dict:
    """A file of results/."""
    return json.loads((ROOT / "results" / name).read_text())


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

"""Operations of the prior, by pass: what a decoder's time goes with, on any machine.

    python benchmarks/prior_cost.py            # writes results/prior_cost.json

Counts multiply-adds twice, for a photo of 768x512 at qualities 20, 50 and 80.
"""

import argparse
import json
from pathlib import Path

from pqmim.models.prior.cost import Sizes, costs
from pqmim.release import Release, load

QUALITIES = 20, 50, 80
HEIGHT, WIDTH = 32, 48  # positions of a photo of 768x512
PARTS = "embedding", "blocks", "attention", "heads", "tables"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, default=Path("results/prior_cost.json"), metavar="FILE")
    args = parser.parse_args()
    release = load(args.weights)
    found = {str(quality): cost_of(release, quality) for quality in QUALITIES}
    record = {"weights": f"{release.id:03x}", "width": 768, "height": 512, "unit": "GOP", "qualities": found}
    args.json.write_text(json.dumps(record, indent=1) + "\n")
    for quality, one in found.items():
        print(f"quality {quality}: {one['total']} GOP in {len(one['passes'])} passes")


def cost_of(release: Release, quality: int) -> dict:
    """Operations of a file's passes, in all and by part."""
    record = release.record
    steps = costs(Sizes.of(release.part("prior")), record.groups, record.active[quality], HEIGHT, WIDTH)
    rows = [
        {
            "sub_quantizers": [step.sub_quantizers.start, step.sub_quantizers.stop],
            "ranks": [step.low, step.high],
            "blocks": step.blocks,
            "total": _giga(cost.total),
        }
        for step, cost in steps
    ]
    parts = {part: _giga(sum(getattr(cost, part) for _, cost in steps)) for part in PARTS}
    return {"total": _giga(sum(cost.total for _, cost in steps)), **parts, "passes": rows}


def _giga(operations: int) -> float:
    return round(operations / 1e9, 3)


if __name__ == "__main__":
    main()

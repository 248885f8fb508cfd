"""The paper's thesis in one table: a vector, products and scalars as the quantizer of one codec, everything else equal.

    python benchmarks/thesis.py shards/ --out runs/thesis --json results/thesis.json

`recipes/thesis.yaml` says how short the runs are.  All start from the transforms of a release, see the same crops, get
a prior of one size and one round of the joint stage, in which codebooks learn.  Measured are held-back photos as the
encoder codes them, refined and not: PSNR and ideal bits at each whole rate.  A vector has one code of 8 bits a position,
0.031 bits a pixel, and cannot reach the rates of the others.  A run that is stopped goes on where it stopped.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pqmim.evaluation.bdrate import bd_rate
from pqmim.training import pipeline, recipe
from pqmim.training.data import Photos
from pqmim.training.joint import JointCodec, rate_distortion
from pqmim.training.run import Run
from pqmim.training.stages.joint import PHOTOS, SIDE, train_joint
from pqmim.training.stages.prior import prior_codes, train_prior
from pqmim.training.stages.quantizer import fitted, train_quantizer
from pqmim.training.stages.transforms import ProxyCodec, train_transforms
from pqmim.training.validation import held_back

REFERENCE = "scalar"  # the variant that the others are compared with
ONE_GROUP = {"shares": [], "stages": [3]}  # of a quantizer whose sub-quantizers are too few to be split


@dataclass(frozen=True)
class Variant:
    """One quantizer."""

    name: str
    words: str
    quantizer: dict[str, Any]
    prior: dict[str, Any] = field(default_factory=dict)


VARIANTS = (
    Variant("scalar", "one channel each", {"uniform": 1}),
    Variant("pairs", "two channels each", {"uniform": 2}),
    Variant("triples", "three channels each", {"uniform": 3}),
    Variant("fours", "four channels each", {"uniform": 4}),
    Variant("product", "by their entropies: scalars first, the faint ones together", {"bits": 2.5}),
    Variant("vector", "one vector a position", {"uniform": 320}, ONE_GROUP),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of photos, or of tar shards")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the short runs")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes" / "thesis.yaml")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--only", nargs="+", choices=[v.name for v in VARIANTS], help="variants to run (default: all)")
    args = parser.parse_args()
    plan = recipe.load(args.recipe)
    assert isinstance(plan, recipe.Recipe)
    run = Run.start(args.out).computing(plan.precision)
    photos = pipeline.read_photos(plan, args.data, run)
    proxy = train_transforms(plan, plan.stages.transforms, photos, run.inside("transforms"))
    chosen = [variant for variant in VARIANTS if not args.only or variant.name in args.only]
    rows = [measured(plan, variant, proxy, photos, run) for variant in chosen]
    budget = {name: s.model_dump(include={"steps", "batch", "crop"}) for name, s in plan.stages if s is not None}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"budget": budget, "variants": compared(rows)}, indent=1) + "\n")


def measured(plan: recipe.Recipe, variant: Variant, proxy: ProxyCodec, photos: Photos, run: Run) -> dict[str, Any]:
    """Train one variant; its sizes, and its curves, refined and not."""
    changed = with_quantizer(plan, variant)
    here = run.inside(variant.name)
    codec = train_quantizer(changed, changed.stages.quantizer, fitted(changed, proxy, photos, here), photos, here)
    model = pipeline.joint_codec(changed, codec)
    model = train_prior(changed, model, prior_codes(changed, model, photos, here), photos, here)
    model = train_joint(changed, model, photos, here).eval()
    images = held_back(photos, run.device, PHOTOS, SIDE)
    curves = {name: curve(model, images, effort) for name, effort in (("refined", 4), ("plain", 0))}
    sizes = {"sub_quantizers": len(codec.quantizer.dimensions), "widest": max(codec.quantizer.dimensions)}
    return {"name": variant.name, "words": variant.words, **sizes, **curves}


def with_quantizer(plan: recipe.Recipe, variant: Variant) -> recipe.Recipe:
    """The recipe of a variant."""
    values = plan.model_dump()
    values["quantizer"] |= variant.quantizer
    values["prior"] |= variant.prior
    return recipe.Recipe.model_validate(values)


def curve(model: JointCodec, images: list, effort: int) -> dict[str, list[float]]:
    """PSNRs and rates of held-back photos, lowest rate first."""
    figures = rate_distortion(model, images, effort)
    points = sorted((figures[f"bpp_{n}"], figures[f"psnr_{n}"]) for n in range(len(model.codec.prices)))
    return {"bpp": [bpp for bpp, _ in points], "psnr": [psnr for _, psnr in points]}


def rising(bpp: list[float], psnr: list[float]) -> tuple[list[float], list[float]]:
    """A curve without the points that cost more than a better one."""
    kept = [i for i in range(len(bpp)) if all(psnr[i] > p for p in psnr[:i])]
    return [bpp[i] for i in kept], [psnr[i] for i in kept]


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their BD-rate against the reference; None where the two have no range of qualities in common."""
    reference = next((row for row in rows if row["name"] == REFERENCE), None)
    for row in rows if reference else ():
        for kind in ("refined", "plain"):
            first, other = (rising(r[kind]["bpp"], r[kind]["psnr"]) for r in (reference, row))
            try:
                row[kind]["bd_rate"] = round(float(bd_rate(first, other)), 2)
            except ValueError:
                row[kind]["bd_rate"] = None
    return rows


if __name__ == "__main__":
    main()

"""What each choice of the design is worth: short runs of equal budget, with one thing changed in each.

    python benchmarks/ablations.py shards/ --run runs/default --out runs/ablations --json results/ablations.json

``recipes/ablations.yaml`` says how short.  ``--run`` is the folder of a run of ``recipes/default.yaml``, whose
``transforms.pt`` all but the first comparison start from (``benchmarks/shared_start.py`` makes one of released
weights).  A run that is stopped goes on where it stopped.  Rates are ideal bits on held-back photos; what variants of
transforms and quantizer need beyond the first of their comparison, at equal PSNR, is the BD-rate with static
frequencies, over the PSNRs that both reach.  Priors are told by their share of the bits of static frequencies.
"""

import argparse
import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pqmim.coding.schedule import passes
from pqmim.evaluation.bdrate import bd_rate
from pqmim.models.prior.masked import MaskedPrior
from pqmim.training import recipe
from pqmim.training.data import Photos
from pqmim.training.joint import JointCodec, rate_distortion
from pqmim.training.rates import active_at, groups_of, static_bits
from pqmim.training.run import Run
from pqmim.training.stages.joint import PHOTOS, SIDE, train_joint
from pqmim.training.stages.prior import new_prior, prior_codes, train_prior
from pqmim.training.stages.quantizer import QuantizedCodec, fitted, train_quantizer
from pqmim.training.stages.transforms import ProxyCodec, train_transforms, trained
from pqmim.training.validation import held_back


class FreeHead(MaskedPrior):
    """A prior whose head knows nothing of codewords: low-rank logits alone."""

    @torch.no_grad()
    def start(self, log2_probability: Tensor) -> None:
        """Start at static frequencies, as `MaskedPrior.start` does."""
        self.static.copy_(log2_probability.exp2().mean(0).clamp(min=2.0**-16).log2())

    def _moments(self, tokens: Tensor, coded: range) -> tuple[Tensor, Tensor]:
        nothing = tokens.new_zeros(len(tokens), sum(self.dimensions[coded.start : coded.stop]))
        return nothing, nothing


@dataclass(frozen=True)
class Variant:
    """One run: its comparison, its name there, and what it changes."""

    question: str
    name: str
    words: str
    changes: dict[str, Any] = field(default_factory=dict)
    kind: type[MaskedPrior] = MaskedPrior


STARTS = (
    Variant("start", "klt", "KLT"),
    Variant("start", "random", "random", {"start": "random"}),
)
QUANTIZERS = (
    Variant("quantizer", "base", "as shipped: entropy-constrained, dimensions by the spectrum, 2.5 bits, K = 256"),
    Variant("quantizer", "nearest", "nearest codeword", {"quantizer": {"nearest": True}}),
    Variant("quantizer", "uniform", "2 channels each, whatever they carry", {"quantizer": {"uniform": 2}}),
    Variant("quantizer", "fine", "1.25 bits each: more sub-quantizers", {"quantizer": {"bits": 1.25}}),
    Variant("quantizer", "coarse", "5 bits each: fewer sub-quantizers", {"quantizer": {"bits": 5.0}}),
    Variant("quantizer", "few", "K = 64", {"quantizer": {"codewords": 64}}),
    Variant("quantizer", "fewest", "K = 16", {"quantizer": {"codewords": 16}}),
)
PRIORS = (
    Variant("prior", "passes-12", "12 passes, head tied to the codewords and free (as shipped)"),
    Variant("prior", "passes-8", "8 passes", {"prior": {"shares": [0.3, 0.35], "stages": [4, 2, 2]}}),
    Variant("prior", "passes-4", "4 passes", {"prior": {"shares": [], "stages": [4]}}),
    Variant("prior", "passes-1", "1 pass", {"prior": {"shares": [], "stages": [1]}}),
    Variant("prior", "tied", "12 passes, head tied alone", {"prior": {"rank": 0}}),
    Variant("prior", "free", "12 passes, head free alone, of rank 32", {"prior": {"rank": 32}}, FreeHead),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of photos, or of tar shards")
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="where transforms.pt is")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the short runs")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes" / "ablations.yaml")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    plan = recipe.load(args.recipe)
    photos, run = Photos(args.data, augment=plan.augment), Run.start(args.out).computing(plan.precision)
    stages = [(name, s) for name, s in plan.stages if s is not None]
    found = {
        "budget": {name: {"steps": s.steps, "batch": s.batch, "crop": s.crop} for name, s in stages},
        "start": starts(plan, photos, run),
    }
    proxy = trained(plan, Run(args.run))
    found["quantizer"], base = quantizers(plan, proxy, photos, run)
    found["prior"] = priors(plan, base, photos, run)
    found["joint"] = joint(plan, base, photos, run)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(found, indent=1) + "\n")


def changed(plan: recipe.Recipe, variant: Variant) -> recipe.Recipe:
    """The recipe of a variant: fields replaced, groups of fields updated."""
    values = plan.model_dump()
    for name, value in variant.changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return recipe.Recipe.model_validate(values)


def starts(plan: recipe.Recipe, photos: Photos, run: Run) -> list[dict]:
    for variant in STARTS:
        train_transforms(changed(plan, variant), plan.stages.transforms, photos, run.inside(variant.name))
    return compared([(v, {}, last(run.folder / v.name / "transforms.jsonl")) for v in STARTS])


def quantizers(plan: recipe.Recipe, proxy: ProxyCodec, photos: Photos, run: Run) -> tuple[list[dict], QuantizedCodec]:
    """Rows, and the first variant's codec."""
    runs, base = [], None
    for variant in QUANTIZERS:
        here, recipe_ = run.inside(variant.name), changed(plan, variant)
        model = fitted(recipe_, copy.deepcopy(proxy), photos, here)
        model = train_quantizer(recipe_, plan.stages.quantizer, model, photos, here)
        base = base or model
        facts = {
            "sub_quantizers": len(model.quantizer.dimensions),
            "codewords": model.quantizer.codewords,
            "widest": max(model.quantizer.dimensions),
        }
        runs.append((variant, facts, last(here.folder / "quantizer.jsonl")))
    return compared(runs), base


def priors(plan: recipe.Recipe, model: QuantizedCodec, photos: Photos, run: Run) -> list[dict]:
    rows = [{"name": "static", "words": "no prior: static frequencies", "share_of_static": 1.0}]
    rows.insert(0, {"name": "fixed", "words": "no frequencies: 8 bits a symbol sent", "share_of_static": fixed(model)})
    for variant in PRIORS:
        here = run.inside(variant.name)
        share_codes(run.inside(PRIORS[0].name), here)  # the codes are the same for all
        found = with_prior(changed(plan, variant), model, variant, photos, here)
        share = last(here.folder / "prior.jsonl")["held_back/share_of_static"]
        count = len(passes(found.groups, len(model.quantizer.dimensions)))
        rows.append({"name": variant.name, "words": variant.words, "passes": count, "share_of_static": share})
    return rows


def share_codes(source: Run, target: Run) -> None:
    """Let a run learn from the codes of another one."""
    if source.has("codes") and not target.has("codes"):
        target.checkpoint("codes").hardlink_to(source.checkpoint("codes"))


def with_prior(plan: recipe.Recipe, codec: QuantizedCodec, variant: Variant, photos: Photos, run: Run) -> JointCodec:
    """The codec with a trained prior of the variant's kind."""
    prior = new_prior(plan, codec, variant.kind)
    model = JointCodec(codec, prior, groups_of(plan.prior, codec), codec.active())
    return train_prior(plan, model, prior_codes(plan, model, photos, run), photos, run)


def fixed(model: QuantizedCodec) -> float:
    """Eight bits for each symbol sent, as a share of static frequencies: the mean over the rates that priors are told at."""
    rates = torch.linspace(0, len(model.prices) - 1, 10)
    sent = active_at(model.active(), rates)
    return float((8 * sent / static_bits(model, rates)).mean())


def joint(plan: recipe.Recipe, codec: QuantizedCodec, photos: Photos, run: Run) -> list[dict]:
    """From the same codec and prior: the prior alone for longer, or all together, on as many photos."""
    base, schedule = PRIORS[0], plan.stages.joint
    more = plan.stages.prior.steps + schedule.steps * schedule.batch // plan.stages.prior.batch
    longer = plan.stages.model_copy(update={"prior": plan.stages.prior.model_copy(update={"steps": more})})
    images = held_back(photos, run.device, PHOTOS, SIDE)
    share_codes(run.inside(base.name), run.inside("separate"))
    longer = plan.model_copy(update={"stages": longer})
    separate = with_prior(longer, codec, base, photos, run.inside("separate"))
    curves = {"separate": rate_distortion(separate.eval(), images)}
    together = with_prior(plan, codec, base, photos, run.inside(base.name))
    curves["joint"] = rate_distortion(train_joint(plan, together, photos, run.inside("joint")).eval(), images)
    words = {"separate": "the prior alone, on as many photos more", "joint": "synthesis and prior together"}
    variants = [Variant("joint", name, words[name]) for name in curves]
    prefixed = [{f"held_back/{k}": v for k, v in curve.items()} for curve in curves.values()]
    return compared([(variant, {}, curve) for variant, curve in zip(variants, prefixed)])


def last(log: Path) -> dict:
    """The last evaluation of a stage's log."""
    lines = map(json.loads, log.read_text().splitlines())
    return [line for line in lines if any(key.startswith("held_back/") for key in line)][-1]


def compared(runs: list[tuple[Variant, dict, dict]]) -> list[dict]:
    """Rows with the curve of each run and its BD-rate against the first, None where they cannot be compared."""
    rows = []
    for variant, facts, line in runs:
        levels = sorted(int(key.rsplit("_", 1)[1]) for key in line if key.startswith("held_back/psnr_"))
        points = sorted((float(line[f"held_back/bpp_{n}"]), float(line[f"held_back/psnr_{n}"])) for n in levels)
        curve = [bpp for bpp, _ in points], [psnr for _, psnr in points]
        row = {"name": variant.name, "words": variant.words, **facts, "bpp": curve[0], "psnr": curve[1]}
        if rows:
            try:
                first, other = (rows[0]["bpp"], rows[0]["psnr"]), rising(curve)
                reached = [max(first[1][0], other[1][0]), min(first[1][-1], other[1][-1])]
                row |= {"bd_rate": bd_rate(first, other), "psnr_range": reached}
            except ValueError:  # too few points, or no quality in common
                row["bd_rate"] = None
        rows.append(row)
    return rows


def rising(curve: tuple[list[float], list[float]]) -> tuple[list[float], list[float]]:
    """A curve without the points that cost more than a better one."""
    bpp, psnr = curve
    kept = [i for i in range(len(bpp)) if all(psnr[i] > p for p in psnr[:i])]
    return [bpp[i] for i in kept], [psnr[i] for i in kept]


if __name__ == "__main__":
    main()

"""`pqmim train`: new weights from a recipe and photos."""

import argparse
import math
from pathlib import Path
from typing import Any

from pqmim.cli.messages import say
from pqmim.cli.options import add_device_option, add_verb, check_device, extra_packages
from pqmim.cli.values import positive
from pqmim.errors import InvalidImage, PqmimError

STAGES = ("transforms", "quantizer", "prior", "joint")

DETAILS = """\
Writes checkpoints and losses into the folder of --out. The same command again goes on from the
last checkpoint. The recipes of the shipped weights are in the repository's folder recipes/.
Rivals start from the transforms that a run left in the same folder, if any.
Several processes, started by torchrun, share each step's batch (DistributedDataParallel).

examples:
  pqmim train recipes/tiny.yaml --data photos/ --out runs/tiny
  pqmim train recipes/default.yaml --data shards/ --out runs/default --device cuda
  pqmim train recipes/hyperprior.yaml --data shards/ --out runs/default
  torchrun --nproc-per-node 4 -m pqmim train RECIPE --data shards/ --out runs/big --device cuda
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "train",
        summary="train new weights by a recipe",
        usage="pqmim train RECIPE --data PATH --out DIR [options]",
        details=DETAILS,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file that says what to train, and how")
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="a folder of photos, or of tar shards")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of checkpoints and losses")
    add_device_option(parser)
    parser.add_argument("--minutes", type=_minutes, default=math.inf, metavar="N", help="stop then, to go on later")
    parser.add_argument("--stage", choices=STAGES, help="the last stage to do (default: all, then the weights)")
    parser.add_argument(
        "--split-checkpoints",
        type=positive,
        default=math.inf,
        metavar="MB",
        help="most megabytes of one file of a checkpoint",
    )
    parser.add_argument(
        "--features", type=Path, metavar="FILE", help="SqueezeNet 1.1's weights, for recipes that compare features"
    )
    parser.add_argument(
        "--evaluate", type=Path, metavar="DIR", help="at the end, measure a codec's weights on these photos"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    check_device(args.device)
    if args.evaluate is not None:
        _check_evaluation(args)
    with extra_packages("train"):
        from pqmim.training import ranks
        from pqmim.training.pipeline import train
        from pqmim.training.run import Run, Unfinished

        if not args.data.exists():
            raise InvalidImage("no such file or folder: name photos to train on", args.data)
        weights, options = None, {"split": args.split_checkpoints, "features": args.features}
        try:
            where = Run.start(args.out, args.device, minutes=args.minutes, **options)
            weights = train(args.recipe, args.data, where, args.stage)
        except Unfinished as stop:  # as --minutes asked for
            if ranks.first():
                say(str(stop))
    first = ranks.first()
    ranks.leave()
    if args.evaluate is not None and weights is not None and first:
        _evaluate(args, weights)
    return 0


def _check_evaluation(args: argparse.Namespace) -> None:
    """Before any training: whether what it makes can be measured, on photos that are there, with what is installed."""
    with extra_packages("train"):
        from pqmim.training import recipe

        kind = recipe.load(args.recipe).kind
    if kind != "pqmim":
        later = "pqmim evaluate measures others later"
        raise PqmimError(f"--evaluate is for recipes of kind pqmim, not {kind}: {later}", args.recipe)
    with extra_packages("eval"):
        from pqmim.evaluation.run import find_photos

        find_photos(args.evaluate)


def _evaluate(args: argparse.Namespace, weights: Path) -> None:
    """Measure the new weights, and keep the results beside them."""
    with extra_packages("eval"):
        from pqmim.evaluation.results import write_results
        from pqmim.evaluation.run import Options, evaluate

        results = evaluate(args.evaluate, ["pqmim"], Options(weights=weights, device=args.device))
        write_results(results, args.out / "evaluation.json", force=True)
    say(f"{args.out / 'evaluation.json'}: the new weights on {args.evaluate}")


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not minutes > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes")
    return minutes

"""transforms.pt from released weights, for rivals, ablations and short runs that start where the shipped codec stands.

    python benchmarks/shared_start.py shards/ --out runs/equal

Transforms and steps are those of the weights.  The density of the scalar proxy, which releases leave out, is fitted
to latents of training photos.  The checkpoint is that of a finished stage: `pqmim train` goes on behind it.
"""

import argparse
from pathlib import Path

from torch.optim.swa_utils import AveragedModel

from pqmim.training import recipe
from pqmim.training.pipeline import read_photos
from pqmim.training.run import Run
from pqmim.training.stages.transforms import NAME
from pqmim.training.start import proxy_of_release


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of photos, or of tar shards")
    parser.add_argument("--weights", type=Path, help="a weights file (default: the shipped one)")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes" / "default.yaml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    plan = recipe.load(args.recipe).model_copy(update={"weights": args.weights})
    run = Run.start(args.out).computing(plan.precision)
    model = proxy_of_release(plan, read_photos(plan, args.data, run), run)
    stages = getattr(plan.stages, NAME)
    state = {"step": stages.steps if stages else 0, "model": model.state_dict(), "optimizers": []}
    run.save(NAME, state | {"average": AveragedModel(model).state_dict()})


if __name__ == "__main__":
    main()

"""How much of the machine the trainer uses: a whole step of stage ``transforms``, data and optimizers included.

    python benchmarks/training_speed.py shards/ --json results/training/speed.json

Compared with the rate at which this machine trains the recipe's widest convolutions alone, in bfloat16 with channels
last, forward and backward.  Multiply-adds count as two operations; a step as three forward passes.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from pqmim.evaluation.machine import machine
from pqmim.models.transforms import STEM
from pqmim.training import recipe
from pqmim.training.data import Photos
from pqmim.training.run import Run
from pqmim.training.stages.transforms import train_transforms

WARM, STEPS = 10, 40  # steps before the clock starts, and in all
TRIALS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of photos, or of tar shards")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes" / "default.yaml")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    plan = recipe.load(args.recipe)
    config = plan.config()
    batch, crop = plan.stages.transforms.batch, plan.stages.transforms.crop
    seconds = step_seconds(plan, Photos(args.data, augment=plan.augment))
    operations = 2 * 3 * config.multiply_adds() * batch * crop**2
    alone = max(
        convolution_rate(batch, channels, int(channels * config.expansion) * 2, crop // stride)
        for channels, stride in ((STEM, 8), (config.latent, 16))
    )
    found = {
        "machine": machine(torch.get_num_threads()),
        "batch": batch,
        "crop": crop,
        "seconds_a_step": round(seconds, 4),
        "crops_a_second": round(batch / seconds, 2),
        "step_gflops": round(operations / seconds / 1e9, 1),
        "convolution_gflops": round(alone / 1e9, 1),
        "share": round(operations / seconds / alone, 4),
    }
    args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def step_seconds(plan: recipe.BaseRecipe, photos: Photos) -> float:
    """By the trainer's own log, without evaluations."""
    schedule = plan.stages.transforms.model_copy(update={"steps": STEPS, "log_every": WARM, "evaluate_every": 10**9})
    with tempfile.TemporaryDirectory() as folder:
        train_transforms(plan, schedule, photos, Run.start(Path(folder)).computing(plan.precision))
        lines = map(json.loads, (Path(folder) / "transforms.jsonl").read_text().splitlines())
        at = {line["step"]: line["seconds"] for line in lines if "gradient" in line}
    return (at[STEPS] - at[WARM]) / (STEPS - WARM)


def convolution_rate(batch: int, inputs: int, outputs: int, side: int) -> float:
    """Operations a second of a 1x1 convolution, forward and backward: the median of ``TRIALS``."""
    x = torch.randn(batch, inputs, side, side).to(torch.bfloat16, memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(outputs, inputs, 1, 1, dtype=torch.bfloat16, requires_grad=True)
    slope = torch.ones(batch, outputs, side, side).to(torch.bfloat16, memory_format=torch.channels_last)
    times = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        F.conv2d(x, weight).backward(slope)
        times.append(time.perf_counter() - start)
    return 2 * 3 * batch * inputs * outputs * side**2 / sorted(times)[TRIALS // 2]


if __name__ == "__main__":
    main()

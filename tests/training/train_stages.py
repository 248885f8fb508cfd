"""Each stage of a recipe from the same start, for test_ranks.py, as `torchrun ... train_stages.py RECIPE PHOTOS FOLDER`."""

import contextlib
import sys
from pathlib import Path

import torch

from pqmim.cli import main
from pqmim.training.pipeline import train
from pqmim.training.run import Run, Unfinished

torch.set_num_threads(1)

recipe, photos, folder = map(Path, sys.argv[1:])
with contextlib.suppress(Unfinished):  # after one step
    train(recipe, photos, Run.start(folder / "transforms", minutes=0, split=0.1))
train(recipe, photos, Run.start(folder / "transforms", split=0.1), "transforms")
train(recipe, photos, Run.start(folder / "quantizer"), "quantizer")
sys.exit(main(["train", str(recipe), "--data", str(photos), "--out", str(folder / "prior")]))

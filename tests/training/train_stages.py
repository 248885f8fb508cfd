"""Each stage of a recipe from the same start, for test_ranks.py, as `torchrun ... train_stages.py RECIPE PHOTOS FOLDER`.

Float32 throughout: bfloat16 rounds the gradients of half a batch otherwise than those of the whole.  Muon, too,
orthogonalizes in bfloat16, which would make 2^-8 of an update of a gradient's last bit.
"""

import contextlib
import sys
from pathlib import Path

import torch

from pqmim.cli import main
from pqmim.training.loop import Unfinished
from pqmim.training.pipeline import train

torch.autocast = lambda *args, **kwargs: contextlib.nullcontext()
torch.Tensor.bfloat16 = torch.Tensor.clone
torch.set_num_threads(1)

recipe, photos, folder = map(Path, sys.argv[1:])
with contextlib.suppress(Unfinished):  # after one step
    train(recipe, photos, folder / "transforms", minutes=0, split=0.1)
train(recipe, photos, folder / "transforms", stage="transforms", split=0.1)
train(recipe, photos, folder / "quantizer", stage="quantizer")
sys.exit(main(["train", str(recipe), "--data", str(photos), "--out", str(folder / "prior")]))

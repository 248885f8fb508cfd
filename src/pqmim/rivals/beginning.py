"""Where rivals start: at the transforms of a pqmim run, so that they differ from it only after its first stage."""

import json
from pathlib import Path
from typing import Any

import torch

from pqmim.training import ranks
from pqmim.training.data import Photos
from pqmim.training.recipe import BaseRecipe
from pqmim.training.run import Run
from pqmim.training.stages.transforms import NAME, ProxyCodec, trained
from pqmim.training.start import proxy_of_release


def begin(recipe: BaseRecipe, photos: Photos, run: Run) -> ProxyCodec:
    """The averaged transforms of the run's folder, if a pqmim run left some; else what the recipe starts from.

    The rival's log says which.

    Raises:
        RecipeError: The checkpoint, or the release, is of other transforms or lambdas than the recipe's.
        UnsuitedRanks: There are several processes: a rival's statistics are those of one.
    """
    if ranks.world() > 1:
        raise ranks.UnsuitedRanks(f"a rival ({recipe.kind}) trains in one process: start it without torchrun")
    torch.manual_seed(recipe.seed)
    if run.has(NAME):
        proxy, source = trained(recipe, run), run.checkpoint(NAME).name
    elif recipe.start == "release":
        proxy, source = proxy_of_release(recipe, photos, run), "release"
    else:
        proxy, source = ProxyCodec(recipe.config(), torch.tensor(recipe.lambdas)), recipe.start
        proxy.start(photos.train, recipe.start)
    if not run.has(recipe.name):
        _noted(run.folder / f"{recipe.name}.jsonl", {"stage": recipe.name, "step": 0, "start": source})
    return proxy


def _noted(log: Path, facts: dict[str, Any]) -> None:
    """Append a line to a log that does not have it: a run that resumes begins again."""
    line = json.dumps(facts)
    if log.exists() and line in log.read_text().splitlines():
        return
    with log.open("a") as file:
        file.write(line + "\n")

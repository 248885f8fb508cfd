"""The rivals' one stage each: mean-scale hyperprior and vanilla VQ, on the transforms that ours started from.

Both start from ``transforms.pt``, the checkpoint of a run of ours in the same folder, where there is one: trained from
the same start.  Otherwise from the KLT.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pqmim.models.transforms import TransformConfig
from pqmim.rivals.hyperprior.model import HyperpriorConfig, MeanScaleHyperprior
from pqmim.rivals.vq.model import VanillaVq, VqConfig
from pqmim.rivals.weights import save_hyperprior, save_vq
from pqmim.training import ranks
from pqmim.training.data import Photos
from pqmim.training.loop import run_stage
from pqmim.training.recipe import Recipe
from pqmim.training.stages.transforms import ProxyCodec, balanced, center, to_images, trained

COMMITMENT = 0.25  # of a squared error in the vectors, to one in the pixels (van den Oord et al. 2017)
SAMPLES = 16  # vectors for each codeword, for its first place
ROUNDS = 6  # of k-means, for the same


def train(recipe: Recipe, photos: Photos, folder: Path, device: torch.device, minutes: float) -> Path:
    """Run the stage, write ``folder/NAME.safetensors`` and return its path.  See ``run_stage`` for resuming.

    Raises ``UnsuitedRanks`` under several processes: the statistics of these codebooks are of one.
    """
    if ranks.world() > 1:
        raise ranks.UnsuitedRanks(f"A rival ({recipe.kind}) trains in one process: start it without torchrun.")
    torch.manual_seed(recipe.seed)
    transforms = TransformConfig(levels=len(recipe.lambdas), **recipe.transforms)
    path = folder / f"{recipe.name}.safetensors"
    proxy = start(recipe, transforms, photos, folder)
    if recipe.kind == "hyperprior":
        config = HyperpriorConfig(**recipe.hyperprior)
        save_hyperprior(path, transforms, config, train_hyperprior(recipe, proxy, photos, folder, device, minutes))
    else:
        config = VqConfig(**recipe.vq)
        save_vq(path, transforms, config, train_vq(recipe, proxy, photos, folder, device, minutes))
    return path


def start(recipe: Recipe, transforms: TransformConfig, photos: Photos, folder: Path) -> ProxyCodec:
    """The averaged transforms of ``folder/transforms.pt``, or the KLT of the photos; the stage's log says which.

    Raises ``RecipeError`` if the checkpoint is of other transforms or lambdas than the recipe's.
    """
    checkpoint, log = folder / "transforms.pt", folder / f"{recipe.name}.jsonl"
    if checkpoint.exists():
        proxy = trained(recipe, checkpoint)
        source = {"start": checkpoint.name}
    else:
        proxy = ProxyCodec(transforms, torch.tensor(recipe.lambdas))
        proxy.start(photos.train, recipe.start)
        source = {"start": recipe.start}
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / f"{recipe.name}.pt").exists():
        with log.open("a") as file:
            file.write(json.dumps({"stage": recipe.name, "step": 0, **source}) + "\n")
    return proxy


def train_hyperprior(
    recipe: Recipe, proxy: ProxyCodec, photos: Photos, folder: Path, device: torch.device, minutes: float
) -> MeanScaleHyperprior:
    """Distortion + lambda x rate, all rate levels at once; returns the averaged model."""
    schedule = recipe.stages["hyperprior"]
    transforms = TransformConfig(levels=len(recipe.lambdas), **recipe.transforms)
    model = MeanScaleHyperprior(transforms, HyperpriorConfig(**recipe.hyperprior), proxy.lambdas)
    model.start(proxy.analysis, proxy.synthesis, proxy.proxy)
    model.to(device, memory_format=torch.channels_last)
    levels = torch.arange(schedule.batch, device=device) % len(recipe.lambdas)
    validation = [to_images(center(p)[None], device) for p in photos.held_back[:12]]

    def loss(model: MeanScaleHyperprior, crops: np.ndarray, step: int) -> tuple[Tensor, dict[str, float]]:
        index = (levels + step * schedule.batch) % len(recipe.lambdas)
        error, rate = model(to_images(crops, device), index.float())
        value = balanced(error, rate, model.lambdas, index, model.typical)
        return value, {"loss": value.item(), "bpp": 3 * rate.mean().item()}

    def evaluate(model: MeanScaleHyperprior) -> dict[str, float]:
        figures: dict[str, float] = {}
        for index in range(len(recipe.lambdas)):
            level = torch.full((1,), float(index), device=device)
            rows = []
            for image in validation:
                error, rate = model(image, level)
                rows.append((10 * np.log10(255**2 / error.item()), 3 * rate.item()))
            figures[f"psnr_{index}"], figures[f"bpp_{index}"] = np.mean(rows, axis=0)
        return figures

    return run_stage(
        recipe.name,
        model,
        schedule,
        folder,
        lambda step: photos.crops(schedule.batch, schedule.crop, (recipe.seed, 4, step)),
        loss,
        evaluate,
        seed=recipe.seed,
        minutes=minutes,
    )


def train_vq(
    recipe: Recipe, proxy: ProxyCodec, photos: Photos, folder: Path, device: torch.device, minutes: float
) -> VanillaVq:
    """Distortion + commitment at the one rate of the codebook; returns the averaged model."""
    schedule = recipe.stages["vq"]
    model = VanillaVq(TransformConfig(levels=len(recipe.lambdas), **recipe.transforms), VqConfig(**recipe.vq))
    model.analysis.load_state_dict(proxy.analysis.state_dict())
    model.synthesis.load_state_dict(proxy.synthesis.state_dict())
    model.to(device, memory_format=torch.channels_last)
    validation = [to_images(center(p)[None], device) for p in photos.held_back[:12]]
    if not (folder / f"{recipe.name}.pt").exists():
        model.fit(_samples(model, photos, schedule.batch, schedule.crop, recipe.seed, device), ROUNDS, recipe.seed)

    def loss(model: VanillaVq, crops: np.ndarray, step: int) -> tuple[Tensor, dict[str, float]]:
        error, commitment, vectors, codes = model(to_images(crops, device))
        cost = error + COMMITMENT * commitment
        one = torch.zeros(len(cost), dtype=torch.long, device=device)  # a single level, whose rate is given
        value = balanced(cost, torch.zeros_like(cost), torch.zeros_like(model.typical), one, model.typical)
        if torch.isfinite(value):  # as `balanced`: a step gone wrong leaves no trace in the codebook
            model.observe(vectors, codes, decay=0.99)
        if schedule.revive_every and (step + 1) % schedule.revive_every == 0:
            model.revive(vectors)
        return value, {"loss": value.item(), "mse": error.mean().item(), "commitment": commitment.mean().item()}

    def evaluate(model: VanillaVq) -> dict[str, float]:
        share = (model.usage + 0.01) / (model.usage + 0.01).sum()
        rows = []
        for image in validation:
            error, _, _, codes = model(image)
            rows.append((10 * np.log10(255**2 / error.item()), -3 * share[codes].log2().sum().item() / image.numel()))
        psnr, bpp = np.mean(rows, axis=0)
        return {"psnr": psnr, "bpp": bpp, "used": (model.usage > 0.5).float().mean().item()}

    return run_stage(
        recipe.name,
        model,
        schedule,
        folder,
        lambda step: photos.crops(schedule.batch, schedule.crop, (recipe.seed, 5, step)),
        loss,
        evaluate,
        seed=recipe.seed,
        minutes=minutes,
    )


@torch.no_grad()
def _samples(model: VanillaVq, photos: Photos, batch: int, crop: int, seed: int, device: torch.device) -> Tensor:
    """Vectors (N, D) of random crops, ``SAMPLES`` a codeword."""
    model.eval()
    parts: list[Tensor] = []
    while sum(map(len, parts)) < SAMPLES * len(model.codebook):
        crops = photos.crops(batch, crop, (seed, 6, len(parts)))
        parts.append(model.vectors(to_images(crops, device)).flatten(0, 2))
    return torch.cat(parts)

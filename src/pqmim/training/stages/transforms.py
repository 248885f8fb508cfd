"""Stage 1: transforms under the scalar proxy (distortion + lambda x rate, all rate levels at once)."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pqmim.models.proxy import ScalarProxy
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig, start_as_klt, start_at_random
from pqmim.training import ranks
from pqmim.training.data import Photos, patches
from pqmim.training.loop import run_stage
from pqmim.training.recipe import Recipe, RecipeError


class ProxyCodec(nn.Module):
    """Analysis, scalar proxy and synthesis, trained together."""

    def __init__(self, config: TransformConfig, lambdas: Tensor):
        super().__init__()
        self.analysis, self.synthesis = Analysis(config), Synthesis(config)
        self.proxy = ScalarProxy(config.latent, config.levels)
        self.register_buffer("lambdas", lambdas)
        self.register_buffer("typical", torch.zeros(len(lambdas)))  # running mean of each level's loss

    def start(self, photos: list[np.ndarray], how: Literal["klt", "random"] = "klt") -> None:
        sample = torch.from_numpy(patches(photos, 40_000)).permute(0, 3, 1, 2)
        begin = start_as_klt if how == "klt" else start_at_random
        deviation = begin(self.analysis, self.synthesis, sample)
        self.proxy.start(deviation, self.lambdas)

    def forward(self, image: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error (B,) on the 0..255 scale and bits a sample (B,) of images (B, 3, H, W)."""
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.training):
            z = self.analysis(image, level)
        decoded, bits = self.proxy(z, level, ranks.uniform_like)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.training):
            restored = self.synthesis(decoded, level)
        error = (restored.float() - image).square().mean((1, 2, 3))
        return error, bits / image[0].numel()


def to_images(crops: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in 0..255."""
    if isinstance(crops, np.ndarray):
        crops = torch.from_numpy(np.require(crops, requirements=["C", "W"]))
    return crops.to(device).permute(0, 3, 1, 2).float()


def balanced(error: Tensor, rate: Tensor, lambdas: Tensor, index: Tensor, typical: Tensor) -> Tensor:
    """Distortion + lambda x rate, each level divided by its running mean, over all ranks, so that all learn alike."""
    cost = error + lambdas[index] * rate  # (B,)
    with torch.no_grad():
        costs, levels = ranks.gather(cost), ranks.gather(index)  # (W * B,)
        for level in levels.unique():
            mean = costs[levels == level].mean()
            if torch.isfinite(mean):  # a step gone wrong is skipped, and must leave no trace here either
                typical[level] = mean if typical[level] == 0 else 0.99 * typical[level] + 0.01 * mean
    return (cost / typical[index]).mean()


def train_transforms(
    recipe: Recipe, photos: Photos, folder: Path, device: torch.device, minutes: float, split: float
) -> ProxyCodec:
    """Run the stage; returns the averaged model.  See ``run_stage`` for resuming and splitting."""
    torch.manual_seed(recipe.seed)
    schedule = recipe.stages["transforms"]
    lambdas = torch.tensor(recipe.lambdas)
    model = ProxyCodec(TransformConfig(levels=len(lambdas), **recipe.transforms), lambdas)
    model.start(photos.train, recipe.start)
    model.to(device, memory_format=torch.channels_last)
    part = ranks.slice_of(schedule.batch)
    levels = torch.arange(schedule.batch, device=device)[part] % len(lambdas)
    validation = [to_images(center(p)[None], device) for p in photos.held_back[:12]]

    def loss(model: ProxyCodec, crops: np.ndarray, step: int) -> tuple[Tensor, dict[str, float]]:
        index = (levels + step * schedule.batch) % len(lambdas)
        error, rate = model(to_images(crops, device), index.float())
        value = balanced(error, rate, model.lambdas, index, model.typical)
        return value, {"loss": value.item(), "bpp": 3 * rate.mean().item()}

    def evaluate(model: ProxyCodec) -> dict[str, float]:
        figures: dict[str, float] = {}
        for index in range(len(lambdas)):
            level = torch.full((1,), float(index), device=device)
            rows = []
            for image in validation:
                y, symbols = model.proxy.quantize(model.analysis(image, level), level)
                restored = model.synthesis(model.proxy.dequantize(symbols, level), level).round().clamp(0, 255)
                mse = (restored - image).square().mean().item()
                rows.append(
                    (10 * np.log10(255**2 / mse), 3 * model.proxy.bits(symbols, level).sum().item() / image.numel())
                )
            figures[f"psnr_{index}"], figures[f"bpp_{index}"] = np.mean(rows, axis=0)
        return figures

    return run_stage(
        "transforms",
        model,
        schedule,
        folder,
        lambda step: photos.crops(schedule.batch, schedule.crop, (recipe.seed, step), part),
        loss,
        evaluate,
        seed=recipe.seed,
        minutes=minutes,
        split=split,
    )


def trained(recipe: Recipe, checkpoint: Path) -> ProxyCodec:
    """The averaged model of a run's ``transforms.pt``.

    Raises ``RecipeError`` if there is none, or one of other transforms or lambdas than the recipe's.
    """
    if not checkpoint.exists():
        raise RecipeError(f"{checkpoint} does not exist: train the transforms first, in the same folder.")
    lambdas = torch.tensor(recipe.lambdas)
    proxy = ProxyCodec(TransformConfig(levels=len(lambdas), **recipe.transforms), torch.zeros_like(lambdas))
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    prefix = "module."  # of torch's AveragedModel
    try:
        proxy.load_state_dict({k.removeprefix(prefix): t for k, t in saved["average"].items() if k.startswith(prefix)})
    except RuntimeError:
        proxy.lambdas.zero_()
    if not torch.equal(proxy.lambdas, lambdas):
        raise RecipeError(f"{checkpoint} has other transforms or lambdas than the recipe {recipe.name}.")
    return proxy


def center(photo: np.ndarray, largest: int = 384) -> np.ndarray:
    """The middle of a photo (H, W, 3): sides a multiple of 16, at most ``largest``."""
    height, width = (min(side, largest) // 16 * 16 for side in photo.shape[:2])
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return photo[top : top + height, left : left + width]

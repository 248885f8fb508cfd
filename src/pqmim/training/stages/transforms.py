"""Stage 1: transforms under the scalar proxy (distortion + lambda x rate, all rate levels at once)."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pqmim.models.proxy import ScalarProxy
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig, start_as_klt, start_at_random
from pqmim.training import loop, ranks
from pqmim.training.data import Photos, patches
from pqmim.training.recipe import BaseRecipe, RecipeError
from pqmim.training.run import Run
from pqmim.training.schedules import Schedule, TransformsSchedule
from pqmim.training.stage import Figures, Stage, rate_distortion_cost
from pqmim.training.validation import held_back, point, to_images

if TYPE_CHECKING:
    from typing_extensions import Self

NAME = "transforms"
PATCHES = 40_000  # of 16x16 pixels, whose KLT the transforms start as


class ProxyCodec(nn.Module):
    """Analysis, scalar proxy and synthesis, trained together."""

    lambdas: Tensor
    typical: Tensor

    def __init__(self, config: TransformConfig, lambdas: Tensor) -> None:
        super().__init__()
        self.analysis, self.synthesis = Analysis(config), Synthesis(config)
        self.proxy = ScalarProxy(config.latent, config.levels)
        self.register_buffer("lambdas", lambdas)
        self.register_buffer("typical", torch.zeros(len(lambdas)))  # running mean of each level's loss

    def start(self, photos: list[NDArray[np.uint8]], how: Literal["klt", "random"] = "klt") -> None:
        """Start as the KLT of the photos, or as random matrices."""
        sample = torch.from_numpy(patches(photos, PATCHES)).permute(0, 3, 1, 2)
        begin = start_as_klt if how == "klt" else start_at_random
        deviation = begin(self.analysis, self.synthesis, sample)
        self.proxy.start(deviation, self.lambdas)

    def forward(self, image: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error (B,) on the 0..255 scale and bits a sample (B,) of images (B, 3, H, W)."""
        z = self.analysis(image, level)
        decoded, bits = self.proxy(z, level, ranks.uniform_like)
        return squared_error(self.synthesis(decoded, level), image), bits / image[0].numel()


def squared_error(decoded: Tensor, image: Tensor) -> Tensor:
    """Mean squared error (B,) of decoded pictures, their values clipped to -0.5..255.5.

    A decoder rounds, and clips to 0..255. A value less than a half beyond that range still rounds into it, as values
    within the range do to their neighbours, so it counts as it is and keeps its gradient.
    """
    return (decoded.float().clamp(-0.5, 255.5) - image).square().mean((1, 2, 3))


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


class CropStage(Stage[Any, NDArray[np.uint8]]):
    """A stage that learns from fresh crops, each at a level, in turns."""

    def __init__(self, name: str, model: nn.Module, schedule: Schedule, photos: Photos, run: Run) -> None:
        super().__init__(name, model, schedule, run)
        self.photos, self.part = photos, ranks.slice_of(schedule.batch)
        self.crop_seed: tuple[int, ...] = (0,)
        self.levels = torch.arange(schedule.batch, device=run.device)[self.part]
        self.validation = held_back(photos, run.device)

    def seeded(self, seed: int, *others: int) -> "Self":
        """This stage with noise by `seed`, and crops by all numbers and the step."""
        self.seed, self.crop_seed = seed, (seed, *others)
        return self

    def batch(self, step: int) -> NDArray[np.uint8]:
        """Crops uint8 (B, S, S, 3) of this rank."""
        size = self.schedule.batch, self.schedule.crop
        return self.photos.crops(*size, (*self.crop_seed, step), self.part)

    def images(self, crops: NDArray[np.uint8]) -> Tensor:
        """Crops as float32 (B, 3, S, S) on the device."""
        return to_images(crops, self.run.device)

    def index(self, step: int, levels: int) -> Tensor:
        """Levels (B,) of the crops of a step."""
        return (self.levels + step * self.schedule.batch) % levels

    def one(self, index: int) -> Tensor:
        """A level for one picture: (1,)."""
        return torch.full((1,), float(index), device=self.run.device)


class RateDistortionStage(CropStage):
    """Distortion + lambda x rate of a model that has `lambdas` and `typical` costs, one a level."""

    def step(self, data: NDArray[np.uint8], step: int) -> Figures:
        """All levels in turns."""
        model, index = self.model, self.index(step, len(self.model.lambdas))
        with self.run.autocast():
            error, rate = model(self.images(data), index.float())
        value = balanced(error, rate, model.lambdas, index, model.typical)
        self.learners[0].follow(value)
        return {"loss": value.item(), "bpp": 3 * rate.mean().item()}

    def cost(self, figures: Figures) -> float:
        """Rate and distortion, all levels alike."""
        return rate_distortion_cost(figures, self.model.lambdas.tolist())


class TransformsStage(RateDistortionStage):
    """Analysis, synthesis and the proxy's steps and densities."""

    schedule: TransformsSchedule

    def index(self, step: int, levels: int) -> Tensor:
        """Levels (B,) of the crops of a step, of those that learn."""
        return super().index(step, min(levels, self.schedule.levels or levels))

    def cost(self, figures: Figures) -> float:
        """Rate and distortion, all levels that learn alike."""
        return rate_distortion_cost(figures, self.model.lambdas[: self.schedule.levels].tolist())

    def evaluate(self, model: ProxyCodec) -> Figures:
        """PSNR and ideal bits a pixel at each level, quantized as in a file."""
        figures: Figures = {}
        for index in range(len(model.lambdas)):
            level, rows = self.one(index), []
            for image in self.validation:
                _, symbols = model.proxy.quantize(model.analysis(image, level), level)
                restored = model.synthesis(model.proxy.dequantize(symbols, level), level).round().clamp(0, 255)
                bits = model.proxy.bits(symbols, level).sum().item()
                rows.append(((restored - image).square().mean().item(), bits / image.numel()))
            figures |= point(rows, f"_{index}")
        return figures


def train_transforms(recipe: BaseRecipe, schedule: TransformsSchedule, photos: Photos, run: Run) -> ProxyCodec:
    """Run the stage; returns the averaged model.  See `loop.train` for resuming."""
    from pqmim.training.start import proxy_of_release

    torch.manual_seed(recipe.seed)
    if recipe.start == "release":
        model = proxy_of_release(recipe, photos, run)
    else:
        model = ProxyCodec(recipe.config(), torch.tensor(recipe.lambdas))
        model.start(photos.train, recipe.start)
    stage = TransformsStage(NAME, run.placed(model), schedule, photos, run)
    found: ProxyCodec = loop.train(stage.seeded(recipe.seed))
    return found


def trained(recipe: BaseRecipe, run: Run) -> ProxyCodec:
    """The averaged model of the stage's checkpoint in the run's folder.

    Raises:
        RecipeError: There is none, or one of other transforms or lambdas than the recipe's.
    """
    saved = run.load(NAME)
    if saved is None:
        raise RecipeError("does not exist: train the transforms first, in the same folder", run.checkpoint(NAME))
    lambdas = torch.tensor(recipe.lambdas)
    proxy = ProxyCodec(recipe.config(), torch.zeros_like(lambdas))
    prefix = "module."  # of torch's AveragedModel
    try:
        proxy.load_state_dict({k.removeprefix(prefix): t for k, t in saved["average"].items() if k.startswith(prefix)})
    except RuntimeError:
        proxy.lambdas.zero_()
    if not torch.equal(proxy.lambdas, lambdas):
        raise RecipeError(f"has other transforms or lambdas than the recipe {recipe.name}", run.checkpoint(NAME))
    return proxy

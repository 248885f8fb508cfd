"""Begin from released weights: their transforms, deepened where a recipe has more blocks, their quantizer and prior."""

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pqmim import release
from pqmim.models.modules import Modules
from pqmim.models.transforms import TransformConfig
from pqmim.training.data import Photos
from pqmim.training.recipe import BaseRecipe, Recipe, RecipeError
from pqmim.training.run import Run
from pqmim.training.stages.quantizer import QuantizedCodec
from pqmim.training.stages.transforms import ProxyCodec
from pqmim.training.validation import to_images

CROPS, SIDE = 48, 192  # at each level, whose latents the densities of the proxy are fitted to
STEPS, FALLING = 260, 150  # of Adam on the densities, and over how many of them its rate falls
WIDTHS = 0.2, 0.55, 1.4  # of the components at the start, in shares of the logistic density of the channel's deviation


def proxy_of_release(recipe: BaseRecipe, photos: Photos, run: Run) -> ProxyCodec:
    """The transforms and steps of a release, with densities of the scalar proxy fitted to latents of training photos.

    Raises:
        RecipeError: The recipe's transforms are narrower, shallower or of other levels than the release's.
    """
    released = modules_of(recipe, run)
    model = ProxyCodec(recipe.config(), torch.tensor(recipe.lambdas)).to(run.device)
    _check(released.analysis.config, recipe)
    deepen(model.analysis, released.analysis)
    deepen(model.synthesis, released.synthesis)
    model.proxy.log_gain.data.copy_(released.quantizer.log_gain)
    model.proxy.log_step.data.copy_(released.quantizer.log_step)
    _fit_densities(model, _latents(model, photos, run), run)
    _measure(model, photos, run)
    return model


def codec_of_release(recipe: Recipe, run: Run) -> QuantizedCodec:
    """The transforms and the quantizer of a release, with its static frequencies.

    Raises:
        RecipeError: The recipe's transforms are not the release's.
    """
    released = modules_of(recipe, run)
    config = released.analysis.config
    if config != recipe.config():
        raise RecipeError(f"transforms: the release to start from has {config}", recipe.name)
    prices = torch.tensor(recipe.prices)
    codec = QuantizedCodec(released.analysis, released.quantizer, released.synthesis, prices)
    return run.placed(codec)


def modules_of(recipe: BaseRecipe, run: Run) -> Modules:
    """The networks of the release that a recipe starts from."""
    released = release.load(recipe.weights)
    parts = {name: released.part(name) for name in ("analysis", "quantizer", "synthesis")}
    record = released.record
    return Modules.build(record.transforms, record.dimensions, record.codewords, parts, run.device)


@torch.no_grad()
def deepen(transform: nn.Module, shallow: nn.Module) -> None:
    """Make `transform` compute what `shallow` does, by blocks in excess of its blocks that start at zero."""
    own, given = transform.state_dict(), shallow.state_dict()
    for name, tensor in own.items():
        if name in given:
            tensor.copy_(given[name])
        elif name.endswith(".scale"):  # of a new block: that of the first block in its row
            row, _, rest = name.split(".", 2)
            tensor.copy_(given.get(f"{row}.0.{rest}", tensor))


def _check(config: TransformConfig, recipe: BaseRecipe) -> None:
    wanted = recipe.config()
    same = (config.latent, config.levels, config.expansion) == (wanted.latent, wanted.levels, wanted.expansion)
    rows = "analysis_fine", "analysis_coarse", "synthesis_coarse", "synthesis_fine"
    if not same or any(getattr(config, row) > getattr(wanted, row) for row in rows):
        raise RecipeError(f"transforms: they must be those of the release, or deeper: {config}", recipe.name)


@torch.no_grad()
def _latents(model: ProxyCodec, photos: Photos, run: Run) -> Tensor:
    """Latents in quantization steps at each level: (L, C, N)."""
    found = []
    for number in range(len(model.lambdas)):
        level = torch.full((CROPS,), float(number), device=run.device)
        images = to_images(photos.crops(CROPS, SIDE, (77, number)), run.device)
        with run.autocast():
            z = model.analysis(images, level)
        found.append(model.proxy.quantize(z, level)[0].permute(1, 0, 2, 3).flatten(1))
    return torch.stack(found)


def _fit_densities(model: ProxyCodec, y: Tensor, run: Run) -> None:
    """Densities by maximum likelihood, with the noise that stands for rounding."""
    torch.manual_seed(0)
    proxy, levels = model.proxy, torch.arange(len(y), device=y.device).float()
    with torch.no_grad():
        deviation = y.std(-1).clamp(min=0.02)
        for component, width in enumerate(WIDTHS):
            proxy.log_width[component].copy_((0.55 * width * deviation).clamp(min=0.04).log())
        proxy.mean.copy_(y.mean(-1).expand_as(proxy.mean))
    solver = torch.optim.Adam([proxy.weight, proxy.mean, proxy.log_width], lr=0.05)
    fall = torch.optim.lr_scheduler.LambdaLR(solver, lambda step: min(1.0, (STEPS - step) / FALLING))
    for _ in tqdm(range(STEPS), desc="fit densities", unit="step", disable=not run.progress):
        some = y[..., torch.randint(y.shape[2], (256,), device=y.device)]
        bits = proxy.bits((some + torch.rand_like(some) - 0.5)[..., None], levels).sum(1).mean()
        solver.zero_grad()
        bits.backward()
        solver.step()
        fall.step()


@torch.no_grad()
def _measure(model: ProxyCodec, photos: Photos, run: Run) -> None:
    """The typical loss of each level, by which `balanced` divides."""
    model.eval()
    for number in range(len(model.lambdas)):
        images = to_images(photos.crops(8, SIDE, (78, number)), run.device)
        error, rate = model(images, torch.full((8,), float(number), device=run.device))
        model.typical[number] = (error + model.lambdas[number] * rate).mean()

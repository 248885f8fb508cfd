"""Begin from released weights: their transforms, deepened where a recipe has more blocks, their quantizer and prior."""

from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pqmim import release
from pqmim.models.modules import Modules
from pqmim.models.prior.export import from_integers
from pqmim.models.prior.masked import MaskedPrior, feature_scale
from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import TransformConfig
from pqmim.training.data import Photos
from pqmim.training.joint import JointCodec
from pqmim.training.rates import groups_of
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


def codec_of_release(recipe: Recipe, run: Run) -> JointCodec:
    """The transforms, the quantizer, its static frequencies, the prior and the groups of a release.

    Sub-quantizers come in the order that the recipe names. Another release is mixed in where the recipe says so.

    Raises:
        RecipeError: The recipe's transforms are not the release's, or the other release has other sizes.
    """
    model = _codec_of(recipe, run)
    if recipe.mean is not None:
        mix(model, _codec_of(recipe.model_copy(update={"weights": recipe.mean.weights}), run), recipe.mean.share)
    return model


@torch.no_grad()
def mix(model: JointCodec, other: JointCodec, share: float) -> None:
    """Move all numbers of a codec `share` of the way, 0 to 1, to those of another one, which is changed, too.

    What it sends of its sub-quantizers stays as it is.

    Raises:
        RecipeError: They differ in sizes, groups or the order of channels.
    """
    alike = model.groups == other.groups and torch.equal(model.codec.quantizer.order, other.codec.quantizer.order)
    shapes, others = ({k: t.shape for k, t in codec.state_dict().items()} for codec in (model, other))
    if not alike or shapes != others:
        raise RecipeError("mean: the other release has other sizes, groups or channels")
    codebook = torch.lerp(model.prior.codebook, other.prior.codebook, share)
    for codec in (model, other):  # in units of one codebook, so that numbers mean the same
        codec.prior = with_codebook(codec.prior, codebook.cpu()).to(codebook.device)
    given = other.state_dict()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(given[name], share)


def _codec_of(recipe: Recipe, run: Run) -> JointCodec:
    released, record = modules_of(recipe, run), release.load(recipe.weights).record
    config = released.analysis.config
    if config != recipe.config():
        raise RecipeError(f"transforms: the release to start from has {config}", recipe.name)
    integers = release.load(recipe.weights).part("prior")
    prior = from_integers(integers, torch.tensor(record.rates), len(recipe.prices))
    quantizer = released.quantizer
    first = recipe.quantizer.order or []
    order = first + list(range(len(first), len(quantizer.dimensions)))
    if first:
        quantizer, prior = reordered(quantizer.cpu(), order), reordered_prior(prior, order)
    codec = QuantizedCodec(released.analysis, quantizer, released.synthesis, torch.tensor(recipe.prices))
    return run.placed(JointCodec(codec, prior, record.groups, codec.active(), recipe.price_scale))


def quantizer_of_release(recipe: Recipe, run: Run) -> ProductQuantizer:
    """The quantizer of a release, for the transforms that went on learning."""
    return modules_of(recipe, run).quantizer.cpu()


def with_prior_of_release(recipe: Recipe, codec: QuantizedCodec, run: Run) -> JointCodec:
    """A codec whose quantizer went on from that of a release, with the prior and the groups of the release."""
    released = release.load(recipe.weights)
    prior = from_integers(released.part("prior"), torch.tensor(released.record.rates), len(recipe.prices))
    prior = with_codebook(prior, codec.quantizer.codebook.cpu())
    return run.placed(JointCodec(codec, prior, released.record.groups, codec.active(), recipe.price_scale))


@torch.no_grad()
def with_codebook(prior: MaskedPrior, codebook: Tensor) -> MaskedPrior:
    """The same prior for codebooks (M, K, D) that have moved.

    What the tokens are made of are codewords times a power of two a channel, which fills eight bits; weights make up for
    the change of that power.
    """
    found = MaskedPrior(prior.config, codebook, prior.dimensions, len(prior.level))
    change = (feature_scale(prior.codebook) / feature_scale(found.codebook)).flatten()[prior.used]  # (C,)
    state = prior.state_dict()
    embed = state["embed.weight"].clone()
    embed[:, : 2 * len(change)] *= change.repeat(2)
    found.load_state_dict(state | {"codebook": found.codebook, "embed.weight": embed})
    return found


def prior_of(recipe: Recipe, model: JointCodec) -> JointCodec:
    """The same codec with the blocks and the groups of the recipe.

    Raises:
        RecipeError: What is left of the prior has other sizes than the recipe's.
    """
    prior, dropped = model.prior, set(recipe.prior.dropped)
    kept = [block for number, block in enumerate(prior.blocks) if number not in dropped]
    config = replace(prior.config, blocks=len(kept))
    if config != recipe.prior.config():
        raise RecipeError(f"prior: what is left of the release's has {config}", recipe.name)
    found = MaskedPrior(config, prior.codebook.cpu(), prior.dimensions, len(recipe.prices)).to(prior.codebook.device)
    state = {name: tensor for name, tensor in prior.state_dict().items() if not name.startswith("blocks.")}
    for number, block in enumerate(kept):
        state |= {f"blocks.{number}.{name}": tensor for name, tensor in block.state_dict().items()}
    found.load_state_dict(state)
    codec = model.codec
    return JointCodec(codec, found, groups_of(recipe.prior, codec), model.active, model.price_scale)


def channels_in(dimensions: list[int], order: list[int]) -> list[int]:
    """Channels in the order of sub-quantizers, each with as many as `dimensions` says."""
    ends = [0, *accumulate(dimensions)]
    return [channel for m in order for channel in range(ends[m], ends[m + 1])]


@torch.no_grad()
def reordered(quantizer: ProductQuantizer, order: list[int]) -> ProductQuantizer:
    """The same quantizer with its sub-quantizers in another order."""
    channels, levels = channels_in(quantizer.dimensions, order), len(quantizer.log_gain)
    dimensions = [quantizer.dimensions[m] for m in order]
    found = ProductQuantizer(quantizer.order[channels], dimensions, quantizer.codewords, levels)
    found.log_gain.copy_(quantizer.log_gain)  # of the latent's channels, which stay where they are
    found.log_step.copy_(quantizer.log_step)
    found.codebook.copy_(quantizer.codebook[order])
    found.log2_probability.copy_(quantizer.log2_probability[:, order])
    return found


@torch.no_grad()
def reordered_prior(prior: MaskedPrior, order: list[int]) -> MaskedPrior:
    """The same prior of a quantizer with its sub-quantizers in another order."""
    channels, rank = channels_in(prior.dimensions, order), prior.config.rank
    count, state = sum(prior.dimensions), dict(prior.state_dict())
    inputs = [*channels, *(count + c for c in channels), *(2 * count + m for m in order)]
    free = [rank * m + r for m in order for r in range(rank)]
    state["embed.weight"] = state["embed.weight"][:, inputs]
    for name in ("mean.weight", "mean.bias", "precision.weight", "precision.bias"):
        state[name] = state[name][channels]
    for name in ("free.weight", "free.bias"):
        state[name] = state[name][free]
    for name in ("codebook", "term", "static"):
        state[name] = state[name][order]
    dimensions = [prior.dimensions[m] for m in order]
    found = MaskedPrior(prior.config, state["codebook"], dimensions, len(state["level"]))
    found.load_state_dict(state)
    return found


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

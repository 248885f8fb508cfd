"""From photos to released weights: the stages in order, each resumed where it stopped."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pqmim import release as weights
from pqmim.coding.schedule import Group
from pqmim.models.modules import Modules
from pqmim.models.prior import integer as integer_prior
from pqmim.models.prior.masked import MaskedPrior
from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig
from pqmim.rivals import training as rivals
from pqmim.training import checkpoints, ranks
from pqmim.training import recipe as recipes
from pqmim.training.data import Photos
from pqmim.training.resident import ResidentPhotos
from pqmim.training.stages import joint as joint_stage
from pqmim.training.stages import prior as prior_stage
from pqmim.training.stages import quantizer as quantizer_stage
from pqmim.training.stages import transforms as transform_stage

STAGES = ("transforms", "quantizer", "prior", "joint")


def train(
    recipe: Path,
    data: Path,
    out: Path,
    device: str = "cpu",
    minutes: float = float("inf"),
    stage: str | None = None,
    split: float = float("inf"),
) -> Path | None:
    """Train the stages of ``recipe`` up to ``stage`` (all by default) on photos in ``data``; write ``out/NAME.safetensors``.

    ``data`` is a tar shard, or a folder of shards or photos.  A rival has one stage: see ``rivals``.  Everything a
    run needs to resume is in ``out``, which all processes of a run share (see ``ranks``); checkpoints there are parts
    of at most ``split`` megabytes.  Returns the path of the weights, or None if ``stage`` comes before them.  Raises
    ``RecipeError``, ``InvalidImage``, ``UnsuitedRanks``, and ``Unfinished`` when ``minutes`` are over first.
    """
    plan = recipes.load(recipe)
    if plan.kind != "pqmim" and stage:
        raise recipes.RecipeError(f"{recipe} is of kind {plan.kind}, whose one stage needs no name.")
    last = STAGES.index(stage) if stage else len(STAGES) - 1
    deadline = time.monotonic() + 60 * minutes
    target = ranks.join(device)
    out.mkdir(parents=True, exist_ok=True)
    if plan.resident:
        photos = ResidentPhotos(data, target, augment=plan.augment, progress=ranks.first())
    else:
        photos = Photos(data, augment=plan.augment, progress=ranks.first())

    if plan.kind != "pqmim":
        return rivals.train(plan, photos, out, target, minutes)

    def left() -> float:
        return (deadline - time.monotonic()) / 60

    proxy = transform_stage.train_transforms(plan, photos, out, target, left(), split)
    if last == 0:
        return None
    model = fitted(plan, proxy, photos, out, target, split)
    model = quantizer_stage.train_quantizer(plan, model, photos, out, target, left(), split)
    if ranks.first():
        (out / "usage.jsonl").write_text("".join(json.dumps(row) + "\n" for row in model.usage_report()))
    if last == 1:
        return None
    rates = len(plan.lambdas) + 1
    groups = prior_stage.nested_groups(model.entropies()[1 : 1 + rates // 2])  # the rates that most files have
    prior = prior_stage.train_prior(plan, model, groups, photos, out, target, left(), split)
    if "joint" in plan.stages and last >= STAGES.index("joint"):
        joint = joint_stage.train_joint(plan, model, prior, groups, photos, out, target, left(), split)
        model, prior = joint.codec, joint.prior
    released = out / f"{plan.name}.safetensors"
    if ranks.first():
        config = TransformConfig(levels=len(plan.lambdas), **plan.transforms)
        model, prior = model.cpu(), prior.cpu()
        release(released, config, model, prior, groups, plan.dial or (0, len(plan.lambdas)), plan.price_scale)
        keep_original(out / f"{plan.name}-prior.safetensors", prior, model.quantizer.log2_probability)
    return released


def keep_original(path: Path, prior: MaskedPrior, log2_probability: Tensor) -> None:
    """Write the prior's float original, its parameters in half precision: to compare with, and to train on from.

    With it go the static frequencies (L + 1, M, K) of the training photos, which it does better than.
    """
    tensors = {
        key: (tensor if key == "codebook" else tensor.half()).contiguous() for key, tensor in prior.state_dict().items()
    }
    tensors["static_log2_probability"] = log2_probability.half().contiguous()
    tensors |= {f"config.{key}": torch.tensor(value) for key, value in asdict(prior.config).items()}
    save_file(tensors, path)


def fitted(
    plan: recipes.Recipe,
    proxy: transform_stage.ProxyCodec,
    photos: Photos,
    out: Path,
    device: torch.device,
    split: float,
) -> quantizer_stage.QuantizedCodec:
    """The fitted quantizer, from ``out/quantizer.start.pt`` if it was fitted before; the first rank fits for all."""
    start = out / "quantizer.start.pt"
    if ranks.first() and not checkpoints.exists(start):
        model = quantizer_stage.fit(proxy, photos, plan, device, **plan.quantizer)
        fitted = {
            "dimensions": model.quantizer.dimensions,
            "codewords": model.quantizer.codewords,
            "state": model.state_dict(),
        }
        checkpoints.save(fitted, start, split)
    ranks.wait()
    return rebuild(plan, checkpoints.load(start, device), device)


def rebuild(plan: recipes.Recipe, saved: dict, device: torch.device) -> quantizer_stage.QuantizedCodec:
    """A quantized codec from its saved state, only its synthesis and steps trainable."""
    config = TransformConfig(levels=len(plan.lambdas), **plan.transforms)
    quantizer = ProductQuantizer(torch.arange(config.latent), saved["dimensions"], saved["codewords"], config.levels)
    prices, nearest = torch.tensor([plan.finest, *plan.lambdas]), bool(plan.quantizer.get("nearest"))
    model = quantizer_stage.QuantizedCodec(Analysis(config), quantizer, Synthesis(config), prices, nearest)
    model.load_state_dict(saved["state"])
    model.to(device, memory_format=torch.channels_last)
    model.analysis.requires_grad_(False)
    quantizer.log_gain.requires_grad_(False)
    quantizer.codebook.requires_grad_(False)
    return model


def release(
    path: Path,
    config: TransformConfig,
    model: quantizer_stage.QuantizedCodec,
    prior: MaskedPrior,
    groups: list[Group],
    dial: tuple[float, float],
    price_scale: float,
) -> int:
    """Write released weights; returns their id."""
    first, last = dial
    dialled = [round(last + (first - last) * q / 100, 4) for q in range(integer_prior.QUALITIES)]
    rates = torch.tensor(dialled)
    record = weights.Record(
        transforms=asdict(config),
        dimensions=tuple(model.quantizer.dimensions),
        codewords=model.quantizer.codewords,
        groups=tuple(groups),
        rates=tuple(dialled),
        active=tuple(prior_stage.active_at(model.active(), rates).tolist()),
        prices=tuple(round(price_scale * price, 3) for price in model.price(rates).tolist()),
    )
    arrays = Modules(model.analysis, model.quantizer, model.synthesis).arrays()
    whole = {name: tensor.numpy() for name, tensor in integer_prior.export(prior, rates).items()}
    return weights.save(path, record, {**arrays, "prior": whole})

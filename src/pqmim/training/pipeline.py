"""From photos to released weights: the stages in order, each resumed where it stopped."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from pqmim import release as releases
from pqmim import rivals
from pqmim.files import write_atomically
from pqmim.models.modules import Modules
from pqmim.models.prior.export import export
from pqmim.models.prior.masked import MaskedPrior
from pqmim.models.prior.spec import QUALITIES
from pqmim.training import ranks, start
from pqmim.training import recipe as recipes
from pqmim.training.data import Photos
from pqmim.training.joint import JointCodec
from pqmim.training.rates import active_at, groups_of
from pqmim.training.recipe import BaseRecipe, Recipe, RecipeError
from pqmim.training.resident import ResidentPhotos
from pqmim.training.run import Run
from pqmim.training.stages.joint import train_joint
from pqmim.training.stages.look import LookRecipe, train_look
from pqmim.training.stages.prior import new_prior, prior_codes, train_prior
from pqmim.training.stages.quantizer import QuantizedCodec, fitted, train_quantizer
from pqmim.training.stages.transforms import train_transforms

STAGES = ("transforms", "quantizer", "prior", "joint")


def train(recipe: Path, data: Path, run: Run, last: str | None = None) -> Path | None:
    """Train by a recipe and write `NAME.safetensors` into the run's folder, which holds all that it needs to resume.

    Args:
        recipe: A YAML file; see `recipe.Recipe`, and the rivals' recipes.
        data: A tar shard, or a folder of shards or photos.
        run: Where and until when.
        last: The last of `STAGES` to do, one that the recipe has; all of these, and the weights, where none is named.

    Returns:
        The path of the weights; None if `last` comes before them.

    Raises:
        RecipeError: The recipe is not one, or what it starts from does not suit it.
        InvalidImage: There is no photo to train on.
        UnsuitedRanks: The batch cannot be shared by the processes.
        Unfinished: The run's time is over first.
    """
    plan = recipes.load(recipe)
    run = run.computing(plan.precision)
    if last and not isinstance(plan, Recipe):
        raise RecipeError(f"is of kind {plan.kind}: only recipes of kind pqmim may end at a stage", recipe)
    if last and isinstance(plan, Recipe) and getattr(plan.stages, last) is None:
        raise RecipeError(f"has no stage {last} to end at", recipe)
    if isinstance(plan, LookRecipe):
        return train_look(plan, read_photos(plan, data, run), run)
    if not isinstance(plan, Recipe):
        return rivals.REGISTRY[plan.kind].train(plan, read_photos(plan, data, run), run)
    return train_codec(plan, read_photos(plan, data, run), run, last)


def read_photos(plan: BaseRecipe, data: Path, run: Run) -> Photos:
    """The photos of a run, on the host or on the device as the recipe says."""
    if plan.resident:
        return ResidentPhotos(data, run.device, augment=plan.augment, colourful=plan.colourful, progress=run.progress)
    return Photos(data, augment=plan.augment, colourful=plan.colourful, progress=run.progress)


def train_codec(plan: Recipe, photos: Photos, run: Run, last: str | None = None) -> Path | None:
    """Train a pqmim codec; see `train`."""
    wanted = STAGES[: STAGES.index(last) + 1] if last else STAGES
    if plan.from_release:
        model = start.codec_of_release(plan, run)
    else:
        codec = _codec(plan, photos, run, wanted)
        if codec is None:
            return None
        model = start.with_prior_of_release(plan, codec, run) if plan.prior_known else joint_codec(plan, codec)
    if not {"prior", "joint"} & set(wanted):
        return None
    if plan.stages.prior is not None:
        data = prior_codes(plan, model, photos, run)
        model = start.prior_of(plan, model) if plan.prior_known else model
        model = train_prior(plan, model, data, photos, run)
    if plan.stages.joint is not None and "joint" in wanted:
        model = train_joint(plan, model, photos, run)
    released = run.folder / f"{plan.name}.safetensors"
    if ranks.first():
        model = model.cpu()
        release(released, model, plan.rates)
        keep_original(run.folder / f"{plan.name}-prior.safetensors", model.prior, model.codec)
    return released


def joint_codec(plan: Recipe, codec: QuantizedCodec) -> JointCodec:
    """A codec with a prior that starts at its static frequencies, and the groups of the recipe."""
    groups = groups_of(plan.prior, codec)
    return JointCodec(codec, new_prior(plan, codec), groups, codec.active(), plan.price_scale)


def _codec(plan: Recipe, photos: Photos, run: Run, wanted: tuple[str, ...]) -> QuantizedCodec | None:
    """The quantized codec that the prior learns of; None if `wanted` ends before it."""
    stages = plan.stages
    assert stages.transforms is not None
    assert stages.quantizer is not None
    proxy = train_transforms(plan, stages.transforms, photos, run)
    if "quantizer" not in wanted:
        return None
    given = start.quantizer_of_release(plan, run) if plan.quantizer.kept else None
    codec = train_quantizer(plan, stages.quantizer, fitted(plan, proxy, photos, run, given), photos, run)
    if ranks.first():
        lines = [json.dumps(row) + "\n" for row in codec.usage_report()]
        write_atomically(run.folder / "usage.jsonl", "".join(lines).encode(), force=True)
    return codec


def keep_original(path: Path, prior: MaskedPrior, codec: QuantizedCodec) -> None:
    """Write the prior's float original, its parameters in half precision: to compare with, and to train on from.

    With it go the static frequencies (L + 1, M, K) of the training photos, which it does better than.
    """
    tensors: dict[str, Tensor] = {
        key: (tensor if key == "codebook" else tensor.half()).contiguous() for key, tensor in prior.state_dict().items()
    }
    tensors["static_log2_probability"] = codec.quantizer.log2_probability.half().contiguous()
    tensors |= {f"config.{key}": torch.tensor(value) for key, value in asdict(prior.config).items()}
    write_atomically(path, save(tensors), force=True)


def release(path: Path, model: JointCodec, dial: Sequence[float]) -> int:
    """Write released weights; returns their id.

    Args:
        path: The file to write.
        model: On the CPU.
        dial: Rates at qualities evenly apart, from 100 down to 0.
    """
    qualities = np.linspace(QUALITIES - 1, 0, len(dial))
    dialled: list[float] = np.interp(np.arange(QUALITIES), qualities[::-1], dial[::-1]).round(4).tolist()
    rates, codec = torch.tensor(dialled), model.codec
    record = releases.Record(
        transforms=asdict(codec.analysis.config),
        dimensions=tuple(codec.quantizer.dimensions),
        codewords=codec.quantizer.codewords,
        groups=tuple(model.groups),
        rates=tuple(dialled),
        active=tuple(active_at(codec.active(), rates).tolist()),
        prices=tuple(round(model.price_scale * price, 3) for price in codec.price(rates).tolist()),
    )
    arrays = Modules(codec.analysis, codec.quantizer, codec.synthesis).arrays()
    whole = export(model.prior, rates)
    return releases.save(path, record, {**arrays, "prior": whole})

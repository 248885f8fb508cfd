from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pqmim import rivals
from pqmim.models.prior.masked import PriorConfig
from pqmim.models.transforms import TransformConfig
from pqmim.training.recipe import Prior, Recipe, RecipeError, Transforms, load
from pqmim.training.schedules import Part, TransformsSchedule
from pqmim.training.stages.transforms import TransformsStage

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path):
    recipe = load(path)
    assert recipe.name == path.stem
    assert recipe.kind in {"pqmim", "vivid", *rivals.REGISTRY}
    assert recipe.lambdas == sorted(recipe.lambdas)


def parts(kind):
    """A recipe's class and those of its parts."""
    found = [kind]
    for field in kind.model_fields.values():
        for other in [field.annotation, *getattr(field.annotation, "__args__", ())]:
            if isinstance(other, type) and issubclass(other, Part):
                found += parts(other)
    return found


@pytest.mark.parametrize("name", ["pqmim", *rivals.REGISTRY])
def test_every_field_says_what_it_is(name):
    found = parts(Recipe if name == "pqmim" else rivals.REGISTRY[name].recipe())
    assert len(found) > 3
    undescribed = [(p.__name__, key) for p in found for key, field in p.model_fields.items() if not field.description]
    assert not undescribed


@pytest.mark.parametrize(
    ("part", "config", "left_out"), [(Transforms, TransformConfig, {"levels"}), (Prior, PriorConfig, set())]
)
def test_sizes_are_those_of_the_models(part, config, left_out):
    ours = part().model_dump()
    theirs = {field.name: field.default for field in fields(config) if field.name not in left_out}
    assert {name: ours[name] for name in theirs} == theirs


def test_groups_are_the_recipes(tmp_path):
    text = RECIPES[0].parent.joinpath("tiny.yaml").read_text()
    path = tmp_path / "groups.yaml"
    path.write_text(
        text.replace(
            "rank: 4", "rank: 4, groups: [{start: 0, stop: 3, stages: 3, blocks: 1}, {start: 3, stop: 9, stages: 1}]"
        )
    )
    first, second = load(path).prior.named_groups()
    assert (first.start, first.stop, first.stages, first.blocks, second.blocks) == (0, 3, 3, 1, None)


MINIMAL = """\
name: x
finest: 1
lambdas: [1, 2]
stages: {transforms: {steps: 1, batch: 1}, quantizer: {steps: 1, batch: 1}, prior: {steps: 1, batch: 1}}
"""
RELEASE = """\
name: x
finest: 1
lambdas: [1, 2]
start: release
weights: a
stages: {prior: {steps: 1, batch: 1}}
"""
KEPT = RELEASE.replace("prior:", "transforms: {steps: 1, batch: 1}, quantizer: {steps: 1, batch: 1}, joint:")
VIVID = "name: x\nkind: vivid\nstages: {features: {steps: 1, batch: 1}, adversarial: {steps: 1, batch: 1}}\n"
HIFIC = VIVID.replace("vivid", "hific").replace("features", "perceptual") + "lambdas: [1, 2]\nhific: {level: 1}\n"
VQ = "name: x\nkind: vq\nlambdas: [1, 2]\nstages: {vq: {steps: 1, batch: 1}}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "not valid YAML"),
        ("[1, 2]", "valid recipe"),
        (MINIMAL + "speed: 9", "speed"),
        (MINIMAL.replace("[1, 2]", "[1]"), "lambdas"),
        (MINIMAL + "transforms: {depth: 3}", "transforms.depth"),
        (MINIMAL + "transforms: {latent: 320.5}", "transforms.latent"),
        (MINIMAL + "transforms: {synthesis_fine: -3}", "transforms.synthesis_fine"),
        (MINIMAL + "quantizer: {codewords: 300}", "quantizer.codewords"),
        (MINIMAL + "prior: {groups: [{start: 1, stop: 3, stages: 1}]}", "prior: .*starts at 1"),
        (MINIMAL + "prior: {groups: [{start: 0, stop: 3, stages: 1, blocks: 9}]}", "9 blocks of 5"),
        (MINIMAL + "prior: {stages: [1]}", "stages: one more"),
        (MINIMAL.replace("prior: {steps: 1", "prior: {crop: 100, steps: 1"), "stages.prior.crop"),
        (MINIMAL.replace("prior: {steps: 1", "prior: {revive_every: 3, steps: 1"), "stages.prior.revive_every"),
        (
            MINIMAL.replace("prior: {steps: 1", "prior: {parts: 2, completing: 2, steps: 1"),
            "stages.prior: .*completing",
        ),
        (MINIMAL.replace("finest: 1", ""), "finest"),
        (MINIMAL.replace(", prior: {steps: 1, batch: 1}", ""), "starts from klt needs prior"),
        (MINIMAL + "start: release\nstages: {transforms: {steps: 1, batch: 1}}", "need the stage quantizer"),
        (RELEASE.replace("prior:", "quantizer: {steps: 1, batch: 1}, prior:"), "it needs the stage transforms"),
        (RELEASE + "quantizer: {rounds: 9}", "quantizer.rounds: nothing"),
        (KEPT + "quantizer: {kept: true, bits: 2}", "quantizer.bits: nothing"),
        (KEPT + "quantizer: {kept: true, order: [1, 0]}", "quantizer.order: nothing"),
        (MINIMAL + "quantizer: {order: [1, 0]}", "quantizer.order: nothing"),
        (MINIMAL + "prior: {dropped: [0]}", "prior.dropped: only a stage prior"),
        (KEPT + "quantizer: {kept: true}\nprior: {dropped: [0]}", "prior.dropped: only a stage prior"),
        (MINIMAL + "weights: a", "weights: a recipe that starts from klt"),
        (VQ + "start: random\nweights: a", "weights: a recipe that starts from random"),
        (MINIMAL + "kind: jpeg", "kind"),
        (VQ.replace("{vq:", "{prior:"), "stages.vq"),
        (VQ + "vq: {bits: 15}", "vq.bits"),
        (VQ + "vq: {level: 2}", "levels 0 to 1"),
        (VQ.replace("vq", "hyperprior") + "hyperprior: {depth: 3}", "hyperprior.depth"),
        (VIVID + "lambdas: [1, 2]", "lambdas: a look has those of its release"),
        (VIVID + "transforms: {latent: 320}", "transforms: a look has"),
        (VIVID + "start: release", "start: a look has"),
        (VIVID.replace("features: {", "features: {line_search: true, "), "line_search: a look has no cost"),
        (VIVID.replace("adversarial: {", "adversarial: {crop: 128, "), "crop: the adversary sees the crops"),
        (VIVID.replace("adversarial: {", "adversarial: {muon: 0.1, "), "muon: the look follows Adam"),
        (HIFIC.replace("adversarial: {", "adversarial: {muon: 0.1, "), "muon: the model follows Adam"),
        (HIFIC + "trained: a\nstart: random", "start: a recipe that names trained weights"),
        (MINIMAL + "augment: {scale: 2}", "augment.scale"),
        (MINIMAL + "augment: {rotate: true}", "augment.rotate"),
        (MINIMAL + "colourful: {stretched: 0.7, drawings: 0.4}", "their sum is above 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, complaint):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=complaint) as error:
        load(path)
    assert "recipe.yaml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        *(MINIMAL, VIVID, HIFIC),
        RELEASE + "quantizer: {order: [1, 0]}\nprior: {dropped: [0]}",
        KEPT + "quantizer: {kept: true, crops: 16, rounds: 1, nearest: true}\nprior: {width: 64}",
        VIVID + "weights: a\nlook: b",
        VQ.replace("vq", "hyperprior") + "start: release\nweights: a",
    ],
)
def test_what_the_wrong_ones_are_made_of_is_right(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert load(path).name == "x"


def test_a_missing_recipe_is_one_sentence(tmp_path):
    with pytest.raises(RecipeError, match="does not exist"):
        load(tmp_path / "none.yaml")


def test_rivals_share_transforms_and_lambdas_with_the_default():
    default, *rivals = (load(RECIPES[0].parent / f"{name}.yaml") for name in ("default", "hyperprior", "vq", "hific"))
    for rival in rivals:
        assert (rival.lambdas, rival.transforms) == (default.lambdas, default.transforms)


def test_levels_that_do_not_learn_do_not_count_in_a_line_search():
    figures = {"psnr_0": 30.0, "bpp_0": 1.0, "psnr_1": 20.0, "bpp_1": 0.5}
    other = figures | {"psnr_1": 15.0}
    model = SimpleNamespace(lambdas=torch.tensor([100.0, 1000.0]))

    def cost(levels, figures):
        schedule = TransformsSchedule(steps=1, batch=1, levels=levels)
        return TransformsStage.cost(SimpleNamespace(model=model, schedule=schedule), figures)

    assert cost(1, figures) == cost(1, other)
    assert cost(None, figures) < cost(None, other)


@pytest.mark.parametrize("dial", [[0.0, 1.0, 1.0], [-0.1, 1.0], [0.0, 99.0]])
def test_a_dial_whose_rates_do_not_rise_within_the_lambdas_is_refused(tmp_path, dial):
    path = tmp_path / "dial.yaml"
    path.write_text(RECIPES[0].parent.joinpath("tiny.yaml").read_text() + f"\ndial: {dial}\n")
    with pytest.raises(RecipeError, match="dial: rates rise"):
        load(path)

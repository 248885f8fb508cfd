from pathlib import Path

import pytest

from pqmim.training.recipe import RecipeError, load

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path):
    recipe = load(path)
    assert recipe.name == path.stem
    assert set(recipe.stages) - {"joint"} == (
        {"transforms", "quantizer", "prior"} if recipe.kind == "pqmim" else {recipe.kind}
    )
    assert recipe.lambdas == sorted(recipe.lambdas)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("name: [", "not valid YAML"),
        ("name: x\nfinest: 1\nlambdas: [1, 2]\nstages: {}\nspeed: 9", "speed"),
        ("name: x\nfinest: 1\nlambdas: [1]\nstages: {}", "lambdas"),
        ("name: x\nfinest: 1\nlambdas: [1, 2]\nstages: {}\ntransforms: {depth: 3}", "depth is not one of"),
        ("name: x\nfinest: 1\nlambdas: [1, 2]\nstages: {prior: {steps: 1, batch: 1, crop: 100}}", "crop"),
        ("name: x\nlambdas: [1, 2]\nstages: {}", "recipe: Value error, finest"),
        ("name: x\nkind: jpeg\nlambdas: [1, 2]\nstages: {}", "kind"),
        ("name: x\nkind: vq\nlambdas: [1, 2]\nstages: {prior: {steps: 1, batch: 1}}", "has the one stage vq"),
        ("name: x\nkind: vq\nvq: {bits: 15}\nlambdas: [1, 2]\nstages: {}", "bits must be 1 to 14"),
        ("name: x\nkind: vq\nvq: {level: 2}\nlambdas: [1, 2]\nstages: {vq: {steps: 1, batch: 1}}", "levels 0 to 1"),
        ("name: x\nkind: hyperprior\nhyperprior: {depth: 3}\nlambdas: [1, 2]\nstages: {}", "depth is not one of"),
        ("name: x\nfinest: 1\nlambdas: [1, 2]\nstages: {}\naugment: {scale: 2}", "augment.scale"),
        ("name: x\nfinest: 1\nlambdas: [1, 2]\nstages: {}\naugment: {rotate: true}", "augment.rotate"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, complaint):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=complaint) as error:
        load(path)
    assert "recipe.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_recipe_is_one_sentence(tmp_path):
    with pytest.raises(RecipeError, match="does not exist"):
        load(tmp_path / "none.yaml")


def test_rivals_share_transforms_and_lambdas_with_the_default():
    default, *rivals = (load(RECIPES[0].parent / f"{name}.yaml") for name in ("default", "hyperprior", "vq"))
    for rival in rivals:
        assert (rival.lambdas, rival.transforms) == (default.lambdas, default.transforms)

from pathlib import Path

import pytest

from pqmim.training.recipe import RecipeError, load

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path):
    recipe = load(path)
    assert recipe.name == path.stem
    assert set(recipe.stages) == {"transforms", "quantizer", "prior"}
    assert recipe.lambdas == sorted(recipe.lambdas)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("name: [", "not valid YAML"),
        ("name: x\nfinest: 1\nlambdas: [1, 2]\nstages: {}\nspeed: 9", "speed"),
        ("name: x\nfinest: 1\nlambdas: [1]\nstages: {}", "lambdas"),
        ("name: x\nfinest: 1\nlambdas: [1, 2]\nstages: {}\ntransforms: {depth: 3}", "depth is not one of"),
        ("name: x\nfinest: 1\nlambdas: [1, 2]\nstages: {prior: {steps: 1, batch: 1, crop: 100}}", "crop"),
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

"""Training that goes on from released weights."""

import copy
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pqmim import Codec
from pqmim import release as releases
from pqmim.models.prior.export import export
from pqmim.training import pipeline, start
from pqmim.training import recipe as recipes
from pqmim.training.data import Photos
from pqmim.training.pipeline import train
from pqmim.training.recipe import RecipeError
from pqmim.training.run import Run, Unfinished
from pqmim.training.schedules import TransformsSchedule
from pqmim.training.stages.transforms import train_transforms

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(recipe, release, tmp_path):
    """A recipe of the tiny sizes that starts from the tiny release, with changes to it."""

    def write(base="tiny", **changes):
        plan = yaml.safe_load((ROOT / "recipes" / f"{base}.yaml").read_text())
        tiny = yaml.safe_load(recipe.read_text())
        plan |= {name: tiny[name] for name in ("lambdas", "finest", "transforms")} | {"weights": str(release)}
        path = tmp_path / f"{base}.yaml"
        path.write_text(yaml.safe_dump(plan | {"start": "release"} | changes))
        return path

    return write


def image():
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.slow
def test_deeper_transforms_begin_as_the_releases(written, few, tmp_path):
    shallow = recipes.load(written())
    modules = start.modules_of(shallow, Run(tmp_path))
    sizes = shallow.transforms.model_dump() | {"synthesis_fine": 3, "analysis_coarse": 2}
    deep = recipes.load(written(transforms=sizes))
    schedule = TransformsSchedule(steps=1, batch=3, crop=64, warmup=0, ema=0.5)
    model = start.proxy_of_release(deep, Photos(few), Run(tmp_path))
    level = torch.tensor([0.5])
    with torch.no_grad():
        z = model.analysis(image(), level)
        assert torch.allclose(z, modules.analysis(image(), level), atol=1e-3)
        assert torch.allclose(model.synthesis(z, level), modules.synthesis(z, level), atol=1e-3)
    assert len(model.synthesis.fine) == 3
    before = copy.deepcopy(model.synthesis.state_dict())
    trained = train_transforms(deep, schedule, Photos(few), Run(tmp_path))
    moved = [name for name, value in trained.synthesis.state_dict().items() if not torch.equal(value, before[name])]
    assert "fine.2.reduce" in moved  # the new block learns


@pytest.mark.slow
def test_densities_of_the_proxy_are_fitted(written, few, tmp_path):
    plan, photos = recipes.load(written()), Photos(few)
    model = start.proxy_of_release(plan, photos, Run(tmp_path))
    level = torch.tensor([1.0])
    with torch.no_grad():
        _, symbols = model.proxy.quantize(model.analysis(image(), level), level)
        flat = copy.deepcopy(model.proxy)
        flat.log_width.fill_(3.0)
        assert model.proxy.bits(symbols, level).sum() < 0.7 * flat.bits(symbols, level).sum()
    assert (model.typical > 0).all()


@pytest.mark.parametrize("change", [{"synthesis_fine": 0}, {"latent": 48}])
def test_shallower_or_other_transforms_are_refused(written, few, tmp_path, change):
    sizes = recipes.load(written()).transforms.model_dump() | change
    plan = recipes.load(written(transforms=sizes))
    with pytest.raises(RecipeError, match="release, or deeper"):
        start.proxy_of_release(plan, Photos(few), Run(tmp_path))
    with pytest.raises(RecipeError, match="the release to start from has"):
        start.codec_of_release(plan, Run(tmp_path))


def test_another_order_of_sub_quantizers_says_the_same(written, tmp_path):
    run = Run(tmp_path)
    stages = stages_of(written(), "prior")
    model = start.codec_of_release(recipes.load(written(stages=stages, quantizer={})), run)
    order = [2, 0, 1]
    other = start.codec_of_release(recipes.load(written(stages=stages, quantizer={"order": order})), run)
    size = len(model.prior.dimensions)
    order = torch.tensor([*order, *range(3, size)])
    rate, level = torch.tensor([1.5]), torch.tensor([0.5])
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(model.codec.quantizer.codewords, (1, 12, size), generator=generator)
    known = torch.rand(1, 12, size, generator=generator) < 0.5
    moved = codes[..., order]
    with torch.no_grad():
        pictures = [
            m.codec.synthesis(m.codec.quantizer.restored(m.codec.quantizer.lookup(c), level, 3), level)
            for m, c in ((model, codes), (other, moved))
        ]
        assert torch.allclose(*pictures, atol=1e-2)
        tokens = model.prior.tokens(codes, known, rate, 3)
        assert torch.allclose(tokens, other.prior.tokens(moved, known[..., order], rate, 3), atol=1e-4)
        logits, again = (m.prior.logits(tokens.flatten(0, 2), range(size)) for m in (model, other))
    assert torch.allclose(logits[:, order], again, atol=1e-3)
    static = model.codec.quantizer.log2_probability
    assert torch.equal(static[:, order], other.codec.quantizer.log2_probability)


def test_a_prior_goes_on_from_the_releases_without_some_blocks(written, recipe, release, tmp_path):
    sizes = yaml.safe_load(recipe.read_text())["prior"]
    groups = [{"start": 0, "stop": 3, "stages": 2, "blocks": 1}, {"start": 3, "stop": 40, "stages": 1}]
    last = {"stages": stages_of(written(), "prior"), "quantizer": {}}
    plan = recipes.load(written(prior=sizes | {"blocks": 1, "dropped": [0], "groups": groups}, **last))
    model = start.codec_of_release(plan, Run(tmp_path))
    found = start.prior_of(plan, model)
    assert [group.blocks for group in found.groups] == [1, None] and len(found.prior.blocks) == 1
    kept, before = (m.state_dict() for m in (found.prior.blocks[0], model.prior.blocks[1]))
    assert all(torch.equal(kept[name], before[name]) for name in kept)
    assert torch.equal(found.prior.static, model.prior.static)
    with pytest.raises(RecipeError, match="what is left of the release's has"):
        start.prior_of(recipes.load(written(prior=sizes | {"dropped": [1]}, **last)), model)
    record = releases.load(release).record
    whole = export(model.prior, torch.tensor(record.rates))
    stored = releases.load(release).part("prior")
    assert all(np.array_equal(whole[name], stored[name]) for name in stored if name != "level")


def test_a_prior_with_wider_codebooks_reads_the_others_as_before(written, tmp_path):
    prior = start.codec_of_release(recipes.load(written()), Run(tmp_path)).prior
    codebook = prior.codebook.clone()
    codebook[0, -1, 0] = 4 * codebook[0].abs().max()  # eight bits of the first channel must now hold four times as much
    moved = start.with_codebook(prior, codebook)
    codes = torch.zeros(1, 4, len(prior.dimensions), dtype=torch.long)
    codes[..., 0] = prior.codebook[0, :-1, 0].abs().argsort(descending=True)[:4]
    known, rate = torch.ones_like(codes, dtype=torch.bool), torch.ones(1)
    with torch.no_grad():
        before, after = (each.tokens(codes, known, rate, 2) for each in (prior, moved))
        assert torch.allclose(before, after, atol=0.1) and not torch.equal(before, after)
        moved.embed.weight.copy_(prior.embed.weight)
        assert not torch.allclose(before, moved.tokens(codes, known, rate, 2), atol=0.1)


def stages_of(path, *names):
    plan = yaml.safe_load(path.read_text())["stages"]
    return {name: plan[name] for name in names}


@pytest.mark.slow
def test_a_release_goes_on_with_its_last_stages(written, recipe, folder, tmp_path):
    stages = stages_of(written(), "prior", "joint")
    stages["prior"] |= {"steps": 2, "samples": 16, "chosen": True, "crop": 64}
    stages["joint"] |= {"steps": 2, "rounds": 1, "samples": 16, "evaluate_every": 2}
    sizes = yaml.safe_load(recipe.read_text())["prior"] | {"blocks": 1, "dropped": [1]}
    path = written(stages=stages, prior=sizes, quantizer={"order": [1, 0]})
    found = train(path, folder, Run.start(tmp_path / "out"))
    photo = (image()[0].permute(1, 2, 0)).byte().numpy()
    codec = Codec(found)
    assert codec.decompress(codec.compress(photo, 40)).size == (96, 64)
    assert not (tmp_path / "out" / "transforms.pt").exists()


@pytest.mark.slow
def test_a_release_goes_on_with_all_its_stages(written, recipe, folder, release, tmp_path):
    stages = stages_of(recipe, "transforms", "quantizer", "prior")
    stages = {name: stage | {"steps": 2, "evaluate_every": 2} for name, stage in stages.items()}
    stages["transforms"]["levels"] = stages["quantizer"]["levels"] = 1
    stages["prior"] |= {"samples": 16, "chosen": True, "crop": 64}
    sizes = yaml.safe_load(recipe.read_text())["prior"]
    with pytest.raises(RecipeError, match="no sub-quantizers to keep"):
        recipes.load(written(start="klt", weights=None, stages=stages, quantizer={"kept": True}))
    path = written(stages=stages, prior=sizes, quantizer={"kept": True, "crops": 16, "rounds": 1})
    found = releases.load(train(path, folder, Run.start(tmp_path / "out")))
    before = releases.load(release)
    assert found.record.dimensions == before.record.dimensions and found.record.groups == before.record.groups
    first, then = (each.part("quantizer") for each in (before, found))
    assert np.array_equal(first["order"], then["order"])
    assert not np.array_equal(first["codebook"], then["codebook"])
    assert np.abs(first["codebook"].astype(float) - then["codebook"]).mean() < 0.5
    gains = [each.part("synthesis")["fine.0.gain"] for each in (before, found)]
    assert np.array_equal(gains[0][1:], gains[1][1:]) and not np.array_equal(gains[0][0], gains[1][0])


@pytest.mark.slow
def test_the_thesis_is_one_command(written, folder, tmp_path, monkeypatch):
    short = {"steps": 2, "batch": 6, "crop": 64, "warmup": 1, "ema": 0.5, "evaluate_every": 2}
    stages = {
        "transforms": short | {"steps": 0},
        "quantizer": short,
        "prior": short | {"batch": 12, "samples": 16},
        "joint": short | {"batch": 12, "samples": 16, "logarithm": True},
    }
    prior = {"width": 32, "blocks": 1, "heads": 2, "hidden": 32, "rank": 2, "shares": [], "stages": [1]}
    path = written("thesis", stages=stages, prior=prior, quantizer={"crops": 16, "rounds": 1})
    found = tmp_path / "thesis.json"
    script = runpy.run_path(str(ROOT / "benchmarks" / "thesis.py"))
    words = [folder, "--out", tmp_path / "out", "--recipe", path, "--json", found, "--only", "scalar", "vector"]
    monkeypatch.setattr(sys, "argv", ["thesis.py", *map(str, words)])
    script["main"]()
    scalar, vector = json.loads(found.read_text())["variants"]
    assert scalar["sub_quantizers"] == 40 and (vector["sub_quantizers"], vector["widest"]) == (1, 40)
    assert max(vector["refined"]["bpp"]) < 0.2 * max(scalar["refined"]["bpp"])  # one code a position
    assert max(scalar["plain"]["psnr"]) > max(vector["plain"]["psnr"])
    assert scalar["refined"]["bd_rate"] in (0, None) and "bd_rate" in vector["plain"]


@pytest.mark.slow
def test_the_schedule_of_a_gpu_goes_on_where_it_stopped(written, folder, tmp_path):
    plan = yaml.safe_load((ROOT / "recipes" / "gpu.yaml").read_text())
    small = {"batch": 14, "crop": 64, "warmup": 1, "compile": False, "samples": 16}
    stages = {
        name: schedule | {key: value for key, value in small.items() if key in schedule} | {"steps": 2, "ema": 0.5}
        for name, schedule in plan["stages"].items()
    }
    sizes = recipes.load(written()).transforms.model_dump() | {"synthesis_fine": 2}
    prior = {"width": 32, "blocks": 1, "heads": 2, "hidden": 32, "rank": 2, "shares": [], "stages": [1]}
    changes = {"stages": stages, "transforms": sizes, "prior": prior, "quantizer": {"crops": 16, "rounds": 1}}
    path, stops, found = written("gpu", **changes, dial=None), [], None
    while found is None:
        try:
            found = train(path, folder, Run.start(tmp_path / "out", minutes=0, split=0.05))
        except Unfinished as stop:
            stops.append(stop.subject)
    assert stops == ["transforms", "quantizer", "prior", "joint-0"]
    assert all(file.stat().st_size <= 50_000 for file in (tmp_path / "out").glob("*.pt*"))
    assert pipeline.STAGES == ("transforms", "quantizer", "prior", "joint")
    assert Codec(found).compress(image()[0].permute(1, 2, 0).byte().numpy(), 50)


def test_a_mean_lies_between_two_codecs(written, release, tmp_path):
    last = {"stages": stages_of(written(), "joint"), "quantizer": {}}
    plan, run = recipes.load(written(**last)), Run(tmp_path)
    model, same = start.codec_of_release(plan, run), start.codec_of_release(plan, run)
    mixed = recipes.load(written(mean={"weights": str(release), "share": 0.3}, **last))
    alone = start.codec_of_release(mixed, run).state_dict()
    assert all(torch.allclose(alone[name].double(), t.double(), atol=1e-5) for name, t in model.state_dict().items())
    with torch.no_grad():
        same.codec.synthesis.head += 1
        same.prior.codebook *= 3  # its codewords take a step more of eight bits
    before = copy.deepcopy(model.state_dict())
    start.mix(model, same, 0.25)
    after = model.state_dict()
    assert torch.allclose(after["codec.synthesis.head"], before["codec.synthesis.head"] + 0.25, atol=1e-5)
    assert torch.allclose(after["prior.codebook"], 1.5 * before["prior.codebook"], atol=0.04)
    assert torch.equal(after["active"], before["active"])
    same.groups = same.groups[:-1]
    with pytest.raises(RecipeError, match="other sizes, groups or channels"):
        start.mix(model, same, 0.25)


def test_a_mean_needs_a_release_to_start_from(written):
    with pytest.raises(RecipeError, match="mean: only a run that starts from a release"):
        recipes.load(written(mean={"weights": "other.safetensors", "share": 0.3}))

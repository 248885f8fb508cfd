"""The joint stage: codes are chosen as the encoder does, synthesis and prior learn from them, and all else stands still."""

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from pqmim.codec import Codec
from pqmim.coding.schedule import Group, passes
from pqmim.models.prior.masked import LN2, MaskedPrior, PriorConfig
from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig, start_as_klt
from pqmim.training import pipeline, recipe
from pqmim.training.joint import EFFORTS, JointCodec, choose_all, recount
from pqmim.training.lessons import Lessons
from pqmim.training.rates import active_at, ideal_bits
from pqmim.training.run import Run
from pqmim.training.stages import joint
from pqmim.training.stages.quantizer import QuantizedCodec
from pqmim.training.validation import to_images

RECIPES = Path(__file__).parents[2] / "recipes"
GROUPS = [Group(0, 2, 2), Group(2, 4, 1)]
PRICES = torch.tensor([40.0, 430.0, 4700.0])
CPU = torch.device("cpu")


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = TransformConfig(
        latent=6, levels=2, analysis_fine=1, analysis_coarse=1, synthesis_coarse=1, synthesis_fine=1
    )
    analysis, synthesis = Analysis(config), Synthesis(config)
    start_as_klt(analysis, synthesis, torch.rand(900, 3, 16, 16) * 255)
    quantizer = ProductQuantizer(torch.arange(6), [1, 1, 2, 2], 32, 2)
    quantizer.codebook.data.copy_(torch.randn_like(quantizer.codebook) * 3)
    quantizer.codebook.data[:2, :, 1] = 0
    quantizer.log_gain.data.fill_(-3.0)
    quantizer.log_step.data.fill_(3.0)
    quantizer.log2_probability.copy_(torch.randn(1, 4, 32).mul(3).log_softmax(-1) / LN2)
    codec = QuantizedCodec(analysis, quantizer, synthesis, PRICES)
    prior = MaskedPrior(
        PriorConfig(width=32, blocks=1, heads=2, hidden=32, rank=2), quantizer.codebook, [1, 1, 2, 2], 3
    )
    prior.start(quantizer.log2_probability)
    found = JointCodec(codec, prior, GROUPS, torch.tensor([4, 4, 2]))
    found.pictures_learn()
    return found


def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255


RATES = torch.tensor([0.0, 1.0, 2.0])


def gradients(model, value):
    model.zero_grad()
    value.sum().backward()
    return {name for name, p in model.codec.named_parameters() if p.grad is not None and p.grad.any()}


def test_pictures_teach_the_synthesis_and_the_codewords_alone(model):
    codes = model.choose(images(), RATES)
    found = gradients(model, model(images(), RATES, codes))
    assert {name.split(".")[0] for name in found - {"quantizer.codebook"}} == {"synthesis"}
    assert "quantizer.codebook" in found
    assert all(p.grad is None for p in model.prior.parameters())


def test_the_codes_are_the_encoders(model, tmp_path):
    model.prior.term.data.zero_()  # fits no grid
    model.codec.synthesis.head.data.mul_(1.5)
    model.price_scale = 0.7
    model.active = model.codec.active()
    pipeline.release(tmp_path / "w.safetensors", model, (0, 2))
    codec = Codec(tmp_path / "w.safetensors")
    for effort, image in itertools.product((0, 4), images().round()):
        pixels = image.permute(1, 2, 0).byte().numpy()
        for quality in (30, 80):
            found = codec.codes(codec.compress(pixels, quality, effort=effort)).reshape(4, -1).T
            rate = torch.tensor([codec.release.record.rates[quality]])
            expected = model.choose(image[None], rate, effort)[0, :, : found.shape[1]].numpy()
            assert (found == expected).mean() > 0.9


def test_every_effort_is_another_choice(model):
    model.codec.synthesis.head.data.mul_(1.5)
    codes = [model.choose(images(), RATES, effort) for effort in set(EFFORTS)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(codes, 2))


def test_refined_codes_cost_less(model):
    model.codec.synthesis.head.data.mul_(1.5)  # no longer orthonormal, as the analysis believes it is
    costs = []
    for effort in (0, 8):
        codes = model.choose(images(), RATES, effort)
        error = model(images(), RATES, codes) * images()[0].numel()
        sent = model.active.tolist()
        orders = [passes(GROUPS, count) for count in sent]
        bits = [ideal_bits(model.prior, codes[i : i + 1], RATES[i : i + 1], orders[i], 4) for i in range(3)]
        costs.append((error + PRICES * torch.tensor(bits)).detach())
    assert (costs[1] < costs[0]).all()


def test_what_is_not_sent_stays_zero(model):
    codes = model.choose(images(), RATES)
    assert not codes[2, :, 2:].any() and codes[:2, :, 2:].any() and codes[2, :, :2].any()


def test_a_price_scale_makes_bits_cheaper(model):
    dear = model.choose(images(), RATES)
    model.price_scale = 0.3
    cheap = model.choose(images(), RATES)
    assert (model(images(), RATES, cheap) < model(images(), RATES, dear)).all()


class Noise:
    """Random crops in place of photos."""

    held_back = ()

    def crops(self, count, size, seed, part=slice(None)):
        return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)[part]


def test_crops_are_chosen_out_of_reach_evenly(model):
    schedule = recipe.JointSchedule(steps=1, batch=1, crop=32, samples=40)
    found = choose_all(model, Noise(), schedule, (0.5, 1.5), (1,))
    rate, drawn = found.codes.rate, sorted(np.random.default_rng((1,)).uniform(0.5, 1.5, 40))
    assert rate.tolist() == pytest.approx(drawn) and found.crops.shape == (40, 32, 32, 3)
    again = [model.choose(to_images(found.crops[i], CPU), rate[i], 2) for i in (slice(16, 32),)]
    assert EFFORTS[1] == 2 and torch.equal(found.codes.codes[16:32], again[0].byte())
    assert torch.equal(found.codes.active, active_at(model.active, rate))


def test_frequencies_are_counted_of_the_encoders_codes(model):
    recount(model, Noise(), 64, (3,), crops=16)
    frequencies = model.codec.quantizer.log2_probability.exp2()
    torch.testing.assert_close(frequencies.sum(-1), torch.ones(3, 4))
    assert model.codec.usage.sum((1, 2)).tolist() == [16 * 16 * 4] * 3


def test_rounds_go_on_from_each_other(model, tmp_path, monkeypatch):
    seen = []

    def trained(stage):
        drawn, _ = data = stage.batch(0)
        seen.append((stage.name, len(drawn), stage.step(data, 0)))
        reached = copy.deepcopy(stage.model)
        reached.codec.synthesis.head.data.mul_(1.1)
        return reached

    monkeypatch.setattr(joint.loop, "train", trained)
    plan = tiny(rounds=2, samples=16, crop=64)
    before = model.codec.synthesis.head.detach().clone()
    found = joint.train_joint(plan, model, Noise(), Run(tmp_path))
    assert not torch.equal(found.codec.synthesis.head, before)
    assert [row[0] for row in seen] == ["joint-0", "joint-1"] and {row[1] for row in seen} == {12}
    first, second = (torch.load(tmp_path / f"chosen-{turn}.pt") for turn in (0, 1))
    assert not torch.equal(first["crops"], second["crops"]) and not torch.equal(first["static"], second["static"])


def test_the_logarithm_of_each_crops_error_weighs_crops_alike(model, tmp_path):
    slopes = {}
    for logarithm in (False, True):
        plan = tiny(rounds=1, samples=16, crop=64, logarithm=logarithm, muon=1e-12, adam=1e-12)
        chosen = choose_all(model, Noise(), plan.stages.joint, (0, 2), (1,))
        lessons = Lessons(chosen.codes, model.codec, GROUPS, plan.stages.joint, (1, 5, 0))
        stage = joint.JointStage("joint-0", model, chosen, lessons, Run(tmp_path))
        slopes[logarithm] = stage.step(stage.batch(0), 0)["distortion"]
    assert slopes[False] == pytest.approx(1, abs=0.5)  # of the typical error
    assert 3 < slopes[True] < 10  # natural logarithm of some hundreds or thousands


def tiny(**changes):
    plan = recipe.load(RECIPES / "tiny.yaml")
    schedule = plan.stages.joint.model_copy(update=changes)
    stages = plan.stages.model_copy(update={"joint": schedule})
    return plan.model_copy(update={"stages": stages, "lambdas": PRICES.tolist()[1:], "dial": None})

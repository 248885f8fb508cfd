"""Choosing codes: refinement lowers what a file costs in pixels and bits, and its parts do what they say."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pqmim import dial, encoder, native
from pqmim.bitstream.container import read
from pqmim.codec import Codec
from pqmim.coding.grid import Grid
from pqmim.coding.loop import turns
from pqmim.models.choice import Aim
from pqmim.models.prior.compiled import Unavailable
from pqmim.release import PARTS, save


@pytest.fixture(scope="module")
def codec():
    return Codec(threads=1)  # in PyTorch the number of threads decides the last bits of refinement


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:90, :150] / 20
    grey = 120 + 60 * np.sin(x * y) + 40 * (np.hypot(x - 4, y - 2) < 1.2) + rng.normal(0, 6, x.shape)
    return np.stack([grey, grey * 0.8 + 20, 0.6 * grey], -1).clip(0, 255).astype(np.uint8)


def cost(codec, photo, data):
    """Squared error and bits of a file, at its price."""
    quality = read(data).header.quality
    error = np.square(np.asarray(codec.decompress(data), float) - photo).sum()
    return error + codec.release.record.prices[quality] * 8 * len(data)


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_refinement_pays(codec, photo, quality):
    files = [codec.compress(photo, quality, effort=effort) for effort in (0, 4, 16)]
    costs = [cost(codec, photo, data) for data in files]
    assert max(costs[1:]) < 0.985 * costs[0]
    assert len({codec.codes(data).shape for data in files}) == 1  # verified by the check of the file


@pytest.mark.parametrize("effort", [0, 8])
def test_tiles_do_as_well_as_the_whole(codec, photo, monkeypatch, effort):
    whole = codec.compress(photo, 60, effort=effort)
    monkeypatch.setattr(encoder, "TILE", 4)
    tiled = codec.compress(photo, 60, effort=effort)
    assert cost(codec, photo, tiled) == pytest.approx(cost(codec, photo, whole), rel=0.02 if effort else 1e-4)


def unavailable(*transforms):
    raise Unavailable("no library")


@pytest.mark.parametrize("library", [True, False])
def test_forms_of_the_gradient_find_codes_as_good(photo, monkeypatch, library):
    """Those that a machine may choose: bfloat16, the library and float32."""
    if not library:
        monkeypatch.setattr(encoder, "compiled", unavailable)
    costs, forms = [], []
    for half in (True, False):
        monkeypatch.setattr(encoder, "fast_in_half", lambda device, half=half: half)
        own = Codec(threads=1)
        costs.append(cost(own, photo, own.compress(photo, 60)))
        forms.append(own.engine_of(own.empty(16, 16)).encoder.transforms.form)
    assert forms[0] == "torch, bfloat16"
    assert forms[1].startswith("compiled") if library and native.library() else forms[1] == "torch, float32"
    assert costs[1] == pytest.approx(costs[0], rel=0.01)


OTHERWISE = """
import io, sys, numpy as np
from pqmim import Codec, encoder
encoder.fast_in_half = lambda device: False
sys.stdout.buffer.write(Codec(threads=3).compress(np.load(io.BytesIO(sys.stdin.buffer.read())), 60))
"""


@pytest.mark.slow
@pytest.mark.skipif(native.library() is None, reason="there is no library")
def test_in_c_a_picture_has_one_file_on_all_processors(photo, monkeypatch):
    """Another process is held to the plainest instructions, of the library and of PyTorch."""
    monkeypatch.setattr(encoder, "fast_in_half", lambda device: False)
    here = Codec(threads=1).compress(photo, 60)
    held = os.environ | {"PQMIM_NATIVE": "scalar", "ATEN_CPU_CAPABILITY": "default"}
    picture = io.BytesIO()
    np.save(picture, photo)
    ran = subprocess.run(
        [sys.executable, "-c", OTHERWISE], input=picture.getvalue(), stdout=subprocess.PIPE, env=held, check=True
    )
    assert ran.stdout == here


def test_four_steps_are_the_default(codec, photo):
    assert codec.compress(photo, 50) == codec.compress(photo, 50, effort=4) != codec.compress(photo, 50, effort=0)


def test_the_encoder_goes_by_frequencies(codec, tmp_path):
    """They are those of photographs, and help with a photograph."""
    coffee = np.asarray(Image.open(Path(__file__).parents[1] / "demo" / "coffee.png").convert("RGB"))[100:196, 200:344]
    release = codec.release
    frequencies = np.exp2(release.tensors["quantizer.log2_probability"].astype(float)).sum(-1)
    # Those of a mean of two releases are geometric means; a factor that all codewords share decides nothing.
    assert frequencies.min() > 0.5 and frequencies.max() < 1.02
    parts = {part: release.part(part) for part in PARTS}
    parts["quantizer"]["log2_probability"] = np.zeros_like(parts["quantizer"]["log2_probability"])
    save(tmp_path / "ignorant.safetensors", release.record, parts)  # as the first releases, which leave them out
    ignorant = Codec(tmp_path / "ignorant.safetensors")
    costs = [sum(cost(c, coffee, c.compress(coffee, q, effort=2)) for q in (20, 50, 80)) for c in (codec, ignorant)]
    assert costs[0] < 0.99 * costs[1]


def test_callers_may_be_in_inference_mode(codec, photo):
    with torch.inference_mode():
        assert Codec().compress(photo, 50, effort=1) == codec.compress(photo, 50, effort=1)


def test_large_pictures_are_not_refined_by_default(codec, photo, monkeypatch):
    monkeypatch.setattr(dial, "LARGE", photo.shape[0] * photo.shape[1] - 1)
    assert codec.compress(photo, 50) == codec.compress(photo, 50, effort=0)


def test_an_exact_size_is_kept(codec, photo):
    assert len(codec.compress(photo, size=300, effort=2)) == 300


@pytest.mark.parametrize("effort", [-1, 100, 1.5])
def test_absurd_efforts_are_refused(codec, photo, effort):
    with pytest.raises(ValueError, match=f"from 0 to 99, not {effort}"):
        codec.compress(photo, effort=effort)


@pytest.mark.parametrize("height, width", [(1, 1), (48, 49), (130, 20), (97, 144)])
def test_tiles_cover_every_position_once(height, width):
    seen = np.zeros((height, width), int)
    for tile, around in encoder.tiles(height, width, 3):
        assert all(side.stop - side.start <= encoder.TILE for side in tile)
        seen[tile] += 1
        for own, wide, length in zip(tile, around, (height, width)):
            assert (wide.start, wide.stop) == (max(0, own.start - 3), min(length, own.stop + 3))
    assert (seen == 1).all()


class Halves:
    """A soft choice whose mean is half of the aim."""

    def mean(self, aim):
        return aim / 2


def test_aims_move_to_where_pixels_want_them():
    worth = torch.tensor([[1.0, 1.0, 3.0]])
    aim, slope = torch.tensor([[[1.5, 1.0, 1.0]]]), torch.tensor([[[4.0, -2.0, 6.0]]])
    wanted = aim / 2 - slope / (2 * worth)
    once = encoder.followed(Halves(), worth, aim, lambda y: slope, [torch.tensor([0.3])])
    torch.testing.assert_close(once, aim + 0.3 * (wanted - aim))
    wants_nothing = encoder.followed(Halves(), worth, aim, lambda y: 2 * worth * (y - aim), [torch.ones(1)])
    torch.testing.assert_close(wants_nothing, aim)


def test_every_step_goes_a_part_of_what_is_left():
    worth, goal = torch.ones(1, 3), torch.tensor([[[4.0, -2.0, 6.0]]])
    steps = torch.tensor([[0.3], [0.2], [0.05]])  # of one picture
    aim = encoder.followed(Halves(), worth, torch.zeros(1, 1, 3), lambda y: 2 * (y - goal), list(steps))
    torch.testing.assert_close(aim, goal * (1 - (1 - steps).prod()))


def test_low_rates_take_smaller_steps_and_each_picture_has_its_own():
    rates = torch.tensor([0.2, 1.0, 2.3, 3.6, 5.0])
    steps = torch.stack(encoder.steps_at(rates, 3))
    expected = [[0.42, 0.2198, 0.115], [0.2825, 0.1508, 0.0805], [0.145, 0.0817, 0.046]]  # at 1, 2.3 and 3.6
    torch.testing.assert_close(steps.T, torch.tensor(expected)[[0, 0, 1, 2, 2]], atol=1e-4, rtol=0)
    assert encoder.steps_at(rates, 0) == [] and encoder.steps_at(rates, 1)[0].tolist() == steps[0].tolist()


@pytest.mark.parametrize(
    "effort, before, after",
    [(0, [], []), (1, [0.145], []), (2, [0.145], [0.046]), (5, [0.145, 0.1088, 0.0817], [0.0613, 0.046])],
)
def test_steps_get_smaller_and_the_prior_is_asked_half_way(codec, photo, monkeypatch, effort, before, after):
    taken, asked = [], []

    def followed(choice, worth, aim, error, steps):
        taken.append([step.item() for step in steps])
        return aim

    def bits(found):
        asked.append(found.codes.shape)
        return torch.zeros(found.codes.shape)

    monkeypatch.setattr(encoder, "followed", followed)
    own = codec.engine_of(read(codec.compress(photo, 50, effort=0))).encoder
    image = torch.tensor(photo).permute(2, 0, 1)[None]
    aim = Aim.of(4.0, 400.0, 60, torch.device("cpu"))
    taken.clear()
    own.candidates(image, aim, effort, bits)
    assert taken == [pytest.approx(steps, abs=1e-4) for steps in (before, after) if steps]
    assert len(asked) == bool(after)


def test_candidates_are_priced_as_files_are(codec, photo):
    """The bits of the chosen candidates are those of the file, and the grid holds the codes."""
    engine = codec.engine_of(read(codec.compress(photo, 50, effort=0)))
    image = torch.tensor(photo).permute(2, 0, 1)[None]
    record, prior = codec.release.record, engine.reception.prior
    aim = Aim.of(record.rates[50], record.prices[50], record.active[50], torch.device("cpu"))
    found = engine.encoder.candidates(image, aim, 0, lambda found: found.errors)
    grid = Grid(len(record.dimensions), 6, 10, record.active[50])
    bits = found.priced(grid, prior.context(6, 10, 50), turns(record.groups, grid))
    assert bits.shape == found.codes.shape and grid.complete
    same = found.codes[:, 0].permute(0, 2, 1).numpy() == grid.codes  # (F, M, n)
    told = bits[:, 0].permute(0, 2, 1).float().numpy()
    spent = np.where(same, told, np.inf).min(0)[: grid.active].sum()
    _, payload = engine.encode(photo, 50, 0)
    assert spent == pytest.approx(8 * len(payload), rel=0.01)

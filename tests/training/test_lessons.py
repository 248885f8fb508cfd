"""What the prior learns from: passes of the schedule, and holes of every kind."""

import numpy as np
import pytest
import torch

from pqmim.coding.schedule import Group, passes
from pqmim.training.lessons import COARSE, FEW, LEFT_OUT, MANY, Codes, Lessons, chunks, left_out
from pqmim.training.precision import Precision
from pqmim.training.rates import nested_groups
from pqmim.training.run import Run
from pqmim.training.schedules import PriorSchedule

SIDE, SIZE = 8, 40


def test_chunks_cover_all_sub_quantizers_few_at_a_time():
    found = chunks(SIZE)
    assert [m for chunk in found for m in chunk] == list(range(SIZE))
    assert all(len(chunk) <= (FEW if chunk.start < COARSE else MANY) for chunk in found)
    assert [list(chunk) for chunk in chunks(3)] == [[0, 1, 2]]


def drawn(count=400):
    rng, parts = np.random.default_rng(0), chunks(SIZE)
    for _ in range(count):
        wanted = parts[int(rng.integers(len(parts)))]
        known, positions = left_out(SIZE, SIDE, wanted, rng)
        yield known, wanted, positions


def test_what_is_predicted_is_not_known():
    for known, wanted, positions in drawn():
        assert known.shape == (SIDE * SIDE, SIZE) and known.dtype == bool
        assert not known[positions][:, wanted].any()
        assert len(positions) <= SIDE * SIDE // LEFT_OUT and (np.diff(positions) > 0).all()


def test_holes_halves_and_borders_are_all_met():
    kinds = set()
    for known, wanted, _ in drawn():
        seen = known[:, wanted.stop :].any(1).reshape(SIDE, SIDE)  # known of later sub-quantizers: outside a hole
        if not seen.any():
            kinds.add("none")
        elif seen[0].all() and seen[-1].all() and seen[:, 0].all() and seen[:, -1].all():
            kinds.add("border")
        elif (seen.all(1) | ~seen.any(1)).all() or (seen.all(0) | ~seen.any(0)).all():
            kinds.add("half")
        else:
            kinds.add("hole")
    assert kinds == {"none", "border", "half", "hole"}


def test_tiny_pictures_have_holes_too():
    rng = np.random.default_rng(1)
    for side in (1, 2, 3):
        for _ in range(50):
            known, _ = left_out(5, side, range(4), rng)
            assert known.shape == (side * side, 5)


class StaticCodec:
    """Stands for a codec whose static frequencies spend a bit on each sub-quantizer."""

    def entropies(self):
        return torch.ones(3, 8)


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(16, (20, 64, 8), generator=generator, dtype=torch.uint8)
    return Codes(codes, torch.linspace(0, 2, 20), torch.full((20,), 8), SIDE)


class CountingPrior:
    """A prior that takes one bit a symbol, whatever it knows, and remembers how deep it was run."""

    blocks = range(5)

    def __init__(self):
        self.depths = []

    def tokens(self, codes, known, rate, height, blocks=None):
        self.depths += [None] * len(codes) if blocks is None else blocks.tolist()
        return torch.zeros(len(codes), height, codes.shape[1] // height, 4)

    def logits(self, tokens, coded):
        found = torch.full((len(tokens), len(coded), 16), -40.0)
        found[..., :2] = 0.0
        return found


def lessons_of(data, groups, **options):
    schedule = PriorSchedule(steps=1, batch=24, **options)
    return Lessons(data, StaticCodec(), groups, schedule, (1, 4))


def test_parts_of_a_batch_run_as_deep_as_their_pass(data):
    groups = [Group(0, 2, 2, 3), Group(2, 8, 1, 1)]
    lessons = lessons_of(data, groups, parts=4, completing=1, completion=0.0)
    parts = lessons.batch(0)
    assert [part.symbols.blocks for part in parts[3:]] == [None]  # completion runs all
    prior, codes = CountingPrior(), data.codes
    codes[:] = 1
    value, share = lessons.loss(prior, parts, Run(".", precision=Precision()))
    assert {step.blocks for step in passes(groups, 8)} == {0, 3, 1} and set(prior.depths) == {0, 1, 3, 5}
    assert share == pytest.approx(1) and value.item() == pytest.approx(1)  # a bit a symbol, as static frequencies


def test_completion_adds_its_weight(data):
    data.codes[:] = 1
    lessons = lessons_of(data, [Group(0, 8, 1)], parts=2, completing=1, completion=0.5)
    values = [lessons.loss(CountingPrior(), lessons.batch(step), Run("."))[0].item() for step in range(200)]
    assert 1.2 < np.mean(values) < 1.55  # the share of positions left out varies


def test_batches_depend_on_the_step_alone(data):
    lessons = lessons_of(data, [Group(0, 2, 2), Group(2, 8, 1)], parts=3)
    first, again, other = (lessons.batch(step) for step in (5, 5, 6))
    assert all(torch.equal(a.crops, b.crops) and torch.equal(a.known, b.known) for a, b in zip(first, again))
    assert not all(torch.equal(a.crops, b.crops) for a, b in zip(first, other))


def test_groups_are_cut_by_their_share_of_the_rate():
    entropies = torch.tensor([[4.0, 2.0, 1.0, 0.5, 0.5]])
    found = nested_groups(entropies, [0.5, 0.25], [3, 2, 1])
    assert [(g.start, g.stop, g.stages) for g in found] == [(0, 1, 3), (1, 2, 2), (2, 5, 1)]

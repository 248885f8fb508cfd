import numpy as np
import pytest

from pqmim.coding.schedule import BAYER, STAGES, Group, hurried, known_before, passes, ranks

GROUPS = [Group(0, 3, 4), Group(3, 8, 2), Group(8, 20, 1)]


@pytest.mark.parametrize("active", [1, 3, 5, 8, 20])
@pytest.mark.parametrize("height, width", [(1, 1), (2, 3), (5, 7), (8, 8)])
def test_every_active_symbol_is_coded_exactly_once(active, height, width):
    count = np.zeros((20, height * width), int)
    for step in passes(GROUPS, active):
        known = known_before(step, 20, height, width)
        assert np.array_equal(known[:active], count[:active] > 0)
        count[step.sub_quantizers.start : step.sub_quantizers.stop, step.positions(height, width)] += 1
    assert (count[:active] == 1).all() and (count[active:] == 0).all()


def test_stages_grow_and_end_whole():
    for stages in STAGES.values():
        assert stages[-1] == 16 and (np.diff((0, *stages), n=2) >= 0).all()


def test_early_positions_are_spread():
    assert sorted(BAYER.ravel()) == list(range(16))
    first = ranks(8, 8).reshape(8, 8) < 8
    assert (first.sum(0) == 4).all() and (first.sum(1) == 4).all()
    assert not (first[:, 1:] & first[:, :-1]).any()  # a checkerboard


def test_passes_stop_with_what_is_sent():
    assert len(passes(GROUPS, 20)) == 7 and len(passes(GROUPS, 3)) == 4


def test_groups_say_how_many_blocks_run_and_the_first_pass_runs_none():
    groups = [Group(0, 3, 3, 4), Group(3, 8, 2, 5), Group(8, 20, 1, 2)]
    assert [step.blocks for step in passes(groups, 20)] == [0, 4, 4, 5, 5, 2]
    assert [step.blocks for step in passes(groups, 2)] == [0, 4, 4]


def test_groups_that_do_not_say_run_all_blocks():
    assert {step.blocks for step in passes(GROUPS, 20)} == {None}


def test_the_first_pass_always_has_positions():
    for stages in STAGES:
        assert len(passes([Group(0, 1, stages)], 1)[0].positions(1, 1)) == 1


def test_hurried_groups_take_a_stage_less_and_never_none():
    groups = [Group(0, 3, 3, 4), Group(3, 8, 2), Group(8, 20, 1)]
    assert hurried(groups) == [Group(0, 3, 2, 4), Group(3, 8, 1), Group(8, 20, 1)]
    assert len(passes(hurried(groups), 20)) == 4 and len(passes(groups, 20)) == 6

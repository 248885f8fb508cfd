"""Operations of the prior, counted by hand."""

from pqmim.coding.schedule import Group
from pqmim.models.prior.cost import Sizes, costs

SIZES = Sizes(dimensions=(1, 2), codewords=10, width=4, hidden=8, blocks=2, rank=3)
LAYERS = 9 * 4 + 4 * 12 + 4 * 4 + 4 * 16 + 8 * 4  # convolution, qkv, attended, expand, reduce


def test_a_pass_of_all_positions():
    ((_, cost),) = costs(SIZES, [Group(0, 2, 1)], 2, 4, 4)
    assert cost.embedding == 0
    assert cost.blocks == 2 * 2 * 16 * LAYERS
    assert cost.attention == 2 * 2 * 16 * 2 * 64 * 4
    assert cost.heads == 2 * 16 * 4 * (2 * 3 + 2 * 3)
    assert cost.tables == 2 * 16 * 10 * (3 + 3 + 5 + 3)
    assert cost.total == cost.blocks + cost.attention + cost.heads + cost.tables


def test_the_first_pass_without_blocks_is_one_token():
    first, second = (cost for _, cost in costs(SIZES, [Group(0, 1, 2, 1), Group(1, 2, 1, 2)], 1, 4, 4))
    assert first.blocks == first.attention == first.embedding == 0
    assert first.heads == 2 * 4 * (2 + 3) and first.tables == 2 * 10 * (3 + 3)
    assert second.embedding == 2 * 6 * 3 * 4  # codes of six positions, three inputs each
    assert second.blocks == 2 * (16 * (9 * 4 + 4 * 8) + 10 * (4 * 4 + 4 * 4 + 4 * 16 + 8 * 4))
    assert second.attention == 2 * 10 * 2 * 64 * 4

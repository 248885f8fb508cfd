"""The loop that fills a grid with codes: one for coding, decoding, completing and drawing.

A `Turn` is one evaluation of the prior. The prior looks at all that is known and gives frequencies of codes that are
not; a policy settles each: the encoder by its picture, the decoder by the file's bytes, the sampler by chance. Codes
become known to the prior when the turn ends.

    grid, context = Grid(M, height, width, active), prior.context(height, width, quality)
    decode(grid, context, turns(groups, grid), RangeDecoder(payload))
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.drawing import Drawing, draws
from pqmim.coding.grid import Grid
from pqmim.coding.prior import UNIT, Codes, Context, Frequencies, Positions, Prior
from pqmim.coding.range_coder import PRECISION, RangeDecoder, RangeEncoder
from pqmim.coding.sampler import Sampler
from pqmim.coding.schedule import Group, passes
from pqmim.errors import BadArgument

DRAWING = Drawing()
"""How codes that were not sent are drawn."""

Choose = Callable[[int, Positions, Frequencies], Codes]
"""A policy: the codes (n,) of a sub-quantizer at positions (n,), of which frequencies are given."""


@dataclass(frozen=True, eq=False)
class Turn:
    """One evaluation of the prior.

    Attributes:
        sub_quantizers: those whose codes are settled.
        positions: (n,) where, increasing.
        blocks: transformer blocks that run; None: all.
        temperature: of the frequencies, in sixteenths.
    """

    sub_quantizers: range
    positions: Positions
    blocks: int | None = None
    temperature: int = UNIT


def turns(groups: Sequence[Group], grid: Grid) -> Iterator[Turn]:
    """The turns of a file."""
    for step in passes(groups, grid.active):
        positions = step.positions(grid.height, grid.width)
        if len(positions):  # tiny pictures have none at some ranks
            yield Turn(step.sub_quantizers, positions, step.blocks)


def fill(grid: Grid, context: Context, order: Iterable[Turn], choose: Choose) -> None:
    """Settle all codes of all turns."""
    for turn in order:
        before = _known(grid, turn)
        for m, part, frequencies in _frequencies(context, turn):
            grid.reveal(m, turn.positions[part], choose(m, turn.positions[part], frequencies))
        _settle(grid, context, turn, before)


def decoding(grid: Grid, context: Context, order: Iterable[Turn], decoder: RangeDecoder) -> Iterator[Turn]:
    """Decode as far as bytes go, and go on when there are more.

    Yields:
        The turn at hand, each time that `decoder` is exhausted. The grid holds all that is determined. `context` does
        not know yet what this turn found, and must not change before the iterator is resumed. The iterator ends when
        all turns are done.
    """
    for turn in order:
        before = _known(grid, turn)
        for m, part, frequencies in _frequencies(context, turn):
            positions = turn.positions[part]
            while len(positions):
                codes = frequencies.decode(decoder, len(frequencies) - len(positions))
                grid.reveal(m, positions[: len(codes)], codes)
                positions = positions[len(codes) :]
                if len(positions):
                    yield turn
        _settle(grid, context, turn, before)


def decode(grid: Grid, context: Context, order: Iterable[Turn], decoder: RangeDecoder) -> None:
    """Decode all that the bytes determine, of an empty grid."""
    turn = next(decoding(grid, context, order, decoder), None)
    if turn is not None:
        _settle(grid, context, turn, np.zeros_like(_known(grid, turn)))


def encode(grid: Grid, context: Context, order: Iterable[Turn], choose: Choose) -> bytes:
    """The payload of the codes that `choose` settles, which fill the grid."""
    encoder = RangeEncoder()

    def encoded(m: int, positions: Positions, frequencies: Frequencies) -> Codes:
        codes = choose(m, positions, frequencies)
        encoder.encode(*frequencies.intervals(codes))
        return codes

    fill(grid, context, order, encoded)
    return encoder.finish()


def information(grid: Grid, context: Context, order: Iterable[Turn], codes: Codes) -> NDArray[np.float64]:
    """Ideal bits (M,) of codes (M, h * w), by sub-quantizer; they fill the grid."""
    bits = np.zeros(len(codes))

    def given(m: int, positions: Positions, frequencies: Frequencies) -> Codes:
        found: Codes = codes[m, positions]
        bits[m] += float((PRECISION - np.log2(frequencies.intervals(found)[1])).sum())
        return found

    fill(grid, context, order, given)
    return bits


def sample(grid: Grid, context: Context, order: Iterable[Turn], sampler: Sampler) -> None:
    """Draw the codes of all turns that are not known."""

    def drawn(m: int, positions: Positions, frequencies: Frequencies) -> Codes:
        codes = sampler.draw(frequencies.cumulative())
        return np.where(grid.known[m, positions], grid.codes[m, positions], codes)

    fill(grid, context, _open(grid, order), drawn)


def drawing_turns(grid: Grid, drawing: Drawing) -> Iterator[Turn]:
    """The turns in which the codes that a grid does not know now are drawn, with the whole prior."""
    unknown = ~grid.known
    for step in draws(grid.active, drawing):
        open_here = unknown[step.sub_quantizers.start : step.sub_quantizers.stop].any(0)
        positions = step.positions(open_here.reshape(grid.height, grid.width))
        if len(positions):
            yield Turn(step.sub_quantizers, positions, None, step.temperature)


def draw(grid: Grid, context: Context, sampler: Sampler, drawing: Drawing = DRAWING) -> None:
    """Draw all codes that are not known, in an order made for it: see `coding.drawing`."""
    sample(grid, context, list(drawing_turns(grid, drawing.heated(sampler.heat))), sampler)


def surest_first(grid: Grid, context: Context, groups: Sequence[Group], sampler: Sampler, steps: int) -> None:
    """Draw all codes that are not known, the surest positions first in `steps` a group.

    The order of MaskGIT (Chang et al. 2022, section 3.2).

    Raises:
        BadArgument: there are no such steps.
    """
    if steps < 1:
        raise BadArgument(f"codes are drawn in 1 or more steps, not {steps}")
    for group in groups:
        coded = range(group.start, min(group.stop, grid.active))
        for step in range(steps):
            positions = np.flatnonzero(~grid.known[coded.start : coded.stop].all(0))
            if not len(positions):
                break  # after as many steps as positions at the latest
            count = -(-len(positions) * (2 * step + 1) // (steps**2 - step**2))  # squares: growing steps
            turn = Turn(coded, positions, temperature=sampler.heat)
            _draw_surest(grid, context, turn, sampler, (step, steps), count)


def expect(
    grid: Grid,
    words: Sequence[NDArray[np.float32]],
    context: Context | None,
    stop: int | None = None,
    instead: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Codewords (h * w, C) of a grid.

    Args:
        grid: codes, of which some may be unknown.
        words: the codewords (K, d) of each sub-quantizer.
        context: what knows the same codes as the grid. Where a code that is sent is unknown, the mean of its
            distribution stands; without a context, and where codes are not sent, codeword 0.
        stop: the sub-quantizer from which on the prior is not asked; None: it is asked for all.
        instead: codewords (C,) that stand for unknown codes that are sent, from `stop` on.
    """
    vectors = [word[grid.codes[m]] for m, word in enumerate(words)]
    asked = grid.active if stop is None or instead is None else min(stop, grid.active)
    missing = np.flatnonzero(~grid.known[:asked].all(1))
    if context is not None and len(missing):
        coded = range(int(missing[0]), asked)
        positions = np.flatnonzero(~grid.known[coded.start : coded.stop].all(0))
        for m, part, mean in means(words, context, coded, positions):
            at = positions[part]
            vectors[m][at] = np.where(grid.known[m, at, None], vectors[m][at], mean)
    if instead is not None:
        ends = np.cumsum([word.shape[1] for word in words])
        for m in range(asked, grid.active):
            vectors[m][~grid.known[m]] = instead[ends[m] - words[m].shape[1] : ends[m]]
    return np.concatenate(vectors, 1)


def means(
    words: Sequence[NDArray[np.float32]], context: Context, coded: range, positions: Positions
) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
    """The mean codewords (n, d) of sub-quantizers `coded`, as `Context.frequencies` gives the frequencies."""
    for m, part, frequencies in context.frequencies(coded, positions):
        yield m, part, np.diff(frequencies.cumulative()).astype(np.float32) @ words[m] / np.float32(1 << PRECISION)


def context_of(prior: Prior, grid: Grid, quality: int) -> Context:
    """A context that knows what the grid knows."""
    context = prior.context(grid.height, grid.width, quality)
    for m in range(grid.active):
        positions = np.flatnonzero(grid.known[m])
        context.reveal(m, positions, grid.codes[m, positions])
    return context


def _frequencies(context: Context, turn: Turn) -> Iterator[tuple[int, slice, Frequencies]]:
    return context.frequencies(turn.sub_quantizers, turn.positions, turn.blocks, turn.temperature)


def _known(grid: Grid, turn: Turn) -> NDArray[np.bool_]:
    """Which codes of a turn are known: (m, n)."""
    return grid.known[turn.sub_quantizers.start : turn.sub_quantizers.stop, turn.positions]


def _settle(grid: Grid, context: Context, turn: Turn, before: NDArray[np.bool_]) -> None:
    """Make the codes that a turn found, beyond those known `before`, known to the prior."""
    for m, found in zip(turn.sub_quantizers, _known(grid, turn) & ~before):
        context.reveal(m, turn.positions[found], grid.codes[m, turn.positions[found]])


def _open(grid: Grid, order: Iterable[Turn]) -> Iterator[Turn]:
    """The turns, less the positions where all is known, with the whole prior."""
    for turn in order:
        coded = turn.sub_quantizers
        left = turn.positions[~grid.known[coded.start : coded.stop, turn.positions].all(0)]
        if len(left):
            yield Turn(coded, left, None, turn.temperature)


def _draw_surest(
    grid: Grid, context: Context, turn: Turn, sampler: Sampler, progress: tuple[int, int], count: int
) -> None:
    step, steps = progress
    found = np.zeros((len(turn.sub_quantizers), len(turn.positions)), np.uint8)
    sureness = np.zeros(len(turn.positions), np.int64)
    for m, part, frequencies in _frequencies(context, turn):
        at, table = turn.positions[part], frequencies.cumulative()
        codes = np.where(grid.known[m, at], grid.codes[m, at], sampler.draw(table))
        found[m - turn.sub_quantizers.start, part] = codes
        sureness[part] += sampler.sureness(frequencies.intervals(codes)[1])
    noise = sampler.noise(len(turn.positions), len(turn.sub_quantizers), steps - 1 - step, steps)
    kept = np.sort(np.argsort(-(sureness + noise), kind="stable")[:count])
    before = _known(grid, turn)
    for m, codes in zip(turn.sub_quantizers, found):
        grid.reveal(m, turn.positions[kept], codes[kept])
    _settle(grid, context, turn, before)

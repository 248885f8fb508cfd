"""Small changes to inputs: as Hypothesis draws them, which shrinks what fails, and quickly by chance alone."""

import random
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

INTERESTING = [0, 1, 2, 7, 8, 15, 16, 31, 63, 64, 127, 128, 129, 200, 240, 254, 255]
"""Bytes at which lengths, tags and signs change their meaning."""


@st.composite
def changed(draw: Callable[..., object], starts: Sequence[bytes]) -> bytes:
    """One of the starts with up to eight changes: bytes set, bits flipped, parts cut, doubled, moved or joined."""
    data = bytearray(draw(st.sampled_from(starts)))  # type: ignore[arg-type]
    for _ in range(draw(st.integers(0, 8))):  # type: ignore[call-overload]
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(("set", "flip", "cut", "insert", "double", "end", "join")))
        if kind == "set" and place < len(data):  # type: ignore[operator]
            data[place] = draw(st.sampled_from(INTERESTING) | st.integers(0, 255))  # type: ignore[index, call-overload]
        elif kind == "flip" and place < len(data):  # type: ignore[operator]
            data[place] ^= 1 << draw(st.integers(0, 7))  # type: ignore[index, operator]
        elif kind == "cut":
            del data[place : place + draw(st.integers(1, 8))]  # type: ignore[operator, misc]
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=8))  # type: ignore[misc, call-overload]
        elif kind == "double":
            data[place:place] = data[place : place + draw(st.integers(1, 32))]  # type: ignore[operator, misc]
        elif kind == "end":
            del data[place:]  # type: ignore[misc]
        elif kind == "join":
            data[place:] = draw(st.sampled_from(starts))[place:]  # type: ignore[index, misc]
    return bytes(data)


def quickly_changed(chance: random.Random, starts: Sequence[bytes]) -> bytes:
    """The like of `changed` without Hypothesis, a hundred times as quick: one to eight changes of one of the starts."""
    data = bytearray(chance.choice(starts))
    for _ in range(chance.randint(1, 8)):
        place, kind = chance.randint(0, len(data)), chance.randrange(7)
        if kind == 0 and place < len(data):
            data[place] = chance.choice(INTERESTING) if chance.random() < 0.5 else chance.randrange(256)
        elif kind == 1 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del data[place : place + chance.randint(1, 8)]
        elif kind == 3:
            data[place:place] = chance.randbytes(chance.randint(1, 8))
        elif kind == 4:
            data[place:place] = data[place : place + chance.randint(1, 32)]
        elif kind == 5 and chance.random() < 0.25:  # as often as the others, little would be left of an input
            del data[place:]
        elif kind == 6:
            data[place:] = chance.choice(starts)[place:]
    return bytes(data)

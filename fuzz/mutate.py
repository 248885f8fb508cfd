"""Small changes to inputs, as Hypothesis draws them: it shrinks what fails to the least change of one start."""

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

"""What docs/FORMAT.md says in bytes is what the code writes."""

import re
from pathlib import Path

import pytest

from pqmim.bitstream import Header, Kind, write
from pqmim.bitstream.header import COMMON_SIZES, VERSION

TEXT = (Path(__file__).parents[2] / "docs" / "FORMAT.md").read_text()


def test_version_and_common_sizes():
    assert TEXT.startswith(f"# The .pqm file format, version {VERSION}\n")
    listed = re.search(r"Common sizes, from 0: (.*)\.\n", TEXT)
    assert listed and listed[1].split(", ") == [f"{width}x{height}" for width, height in COMMON_SIZES]


@pytest.mark.parametrize(
    ("words", "header"),
    [
        ("framed, 768x512", Header(768, 512, 50, 0x2A7)),
        ("framed, 769x513", Header(769, 513, 50, 0x2A7)),
        ("bare, 768x512", Header(768, 512, 50, 0x2A7, framed=False)),
        ("the same with a seal", Header(768, 512, 50, 0x2A7, framed=False, checked=True)),
    ],
)
def test_examples_of_headers(words, header):
    assert f"| {words} | `{header.pack().hex(' ')}` |" in TEXT


def test_table_of_lengths():
    rows = re.findall(
        r"^\| ([^|]+) \| (\d+) \+ payload \| (\d+) \+ payload \| (\d+) \+ payload \|$", TEXT, re.MULTILINE
    )
    assert len(rows) == 3
    for row, size, payloads in zip(rows, [(768, 512), (768, 512), (769, 513)], [(64, 8191), (0, 63), (64, 8191)]):
        for payload in payloads:
            forms = [{"framed": False}, {"framed": False, "checked": True}, {}]
            lengths = [len(write(Header(*size, 50, 0x2A7, **form), bytes(payload), {}, b"")) for form in forms]
            assert [length - payload for length in lengths] == [int(number) for number in row[1:]]


def test_first_bytes():
    for kind in Kind:
        plain, checked = (Header(9, 9, 0, 0, framed=False, kind=kind, checked=check).pack()[0] for check in (0, 1))
        assert f"| `{plain:02x}`, `{checked:02x}` | {2 * kind + 1}, {2 * kind + 2} | bare, kind {kind} " in TEXT

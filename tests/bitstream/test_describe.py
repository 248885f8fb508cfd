"""What `pqmim info` can say of whole, cut and bare files."""

import json

import pytest

from pqmim.bitstream import DamagedFile, Header, Kind, Tag, describe, write

FRAMED = Header(width=768, height=512, quality=50, weights=0x0A7)
BARE = Header(width=768, height=512, quality=50, weights=0x0A7, framed=False)
WHOLE = write(FRAMED, bytes(5000), {Tag.ICC: bytes(10), 8: b"xyz"}, codes=b"codes")


def test_whole_file():
    assert describe(WHOLE) == {
        "version": 2,
        "width": 768,
        "height": 512,
        "quality": 50,
        "kind": "colour",
        "scale": 0,
        "weights": "0a7",
        "bytes": len(WHOLE),
        "bpp": 8 * len(WHOLE) / (768 * 512),
        "header_bytes": 6,
        "payload_bytes": 5000,
        "framing_bytes": 2 + 1 + 2 + 2 + 2 + 4,
        "chunks": {"icc": 10, "tag 8": 3},
        "state": "complete",
        "intact": True,
        "payload_share": 1.0,
    }


def test_cut_file():
    facts = describe(WHOLE[: 11 + 1250])
    assert (facts["state"], facts["payload_bytes"], facts["payload_share"]) == ("cut", 1250, 0.25)
    facts = describe(WHOLE[:-1])
    assert (facts["state"], facts["payload_share"]) == ("cut", 1.0)
    facts = describe(WHOLE[:11])
    assert (facts["state"], facts["payload_bytes"], facts["payload_share"], facts["intact"]) == ("cut", 0, 0, None)


def test_empty_payload_is_whole():
    assert describe(write(FRAMED, b"", {}, b""))["payload_share"] == 1.0


def test_bare_file():
    facts = describe(write(BARE, bytes(200), {}, b""))
    assert (facts["state"], facts["payload_bytes"], facts["payload_share"]) == ("bare", 200, None)
    assert facts["framing_bytes"] == 0


def test_checked_and_damaged_files():
    checked = write(Header(768, 512, 50, 0x0A7, framed=False, checked=True), bytes(200), {}, b"")
    facts = describe(checked)
    assert (facts["state"], facts["intact"], facts["framing_bytes"], facts["bytes"]) == ("bare", True, 2, 206)
    assert describe(checked[:-1])["state"] == "damaged"
    damaged = WHOLE[:100] + b"\1" + WHOLE[101:]
    assert (describe(damaged)["state"], describe(damaged)["intact"]) == ("damaged", False)


def test_kinds():
    for kind in Kind:
        assert describe(write(Header(5, 5, 0, 0, kind=kind), b"\7", {}, b""))["kind"] == kind.name.lower()


@pytest.mark.parametrize("end", [11, 12, 5010, *range(5011, len(WHOLE) + 1)])
def test_sizes_add_up_and_are_json(end):
    facts = describe(WHOLE[:end])
    assert json.loads(json.dumps(facts)) == facts
    parts = facts["header_bytes"] + facts["payload_bytes"] + facts["framing_bytes"] + sum(facts["chunks"].values())
    assert parts == facts["bytes"] == end


def test_short_file():
    with pytest.raises(DamagedFile):
        describe(WHOLE[:10])

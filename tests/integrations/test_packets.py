import zlib
from binascii import crc_hqx

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqmim.bitstream import varint
from pqmim.errors import DamagedFile, PqmimError
from pqmim.integrations.packets import MOST_PACKETS, Joiner, join, split


@given(st.binary(min_size=1, max_size=3000), st.integers(16, 300))
def test_back_in_any_order_and_twice(data, mtu):
    packets = split(data, mtu)
    assert all(len(packet) == mtu for packet in packets[:-1]) and len(packets[-1]) <= mtu
    joined = join([*reversed(packets), packets[0]])
    assert (joined.data, joined.complete, joined.missing) == (data, True, [])
    assert joined.packets == joined.received == len(packets)


@pytest.mark.parametrize("mtu, count", [(51, 43), (222, 10)])
def test_lora(mtu, count):
    assert len(split(bytes(2000), mtu)) == count


def test_loss_leaves_a_prefix_and_is_told():
    data = bytes(range(256)) * 4
    packets = split(data, 51)
    joined = join([packet for number, packet in enumerate(packets) if number not in (3, 7)])
    assert data.startswith(joined.data) and len(joined.data) == 45 + 2 * 47
    assert joined.missing == [3, 7] and not joined.complete


def test_lost_at_the_end():
    data = bytes(20_000)  # beyond packet 127, whose numbers take one byte more
    packets = split(data, 51)
    joined = join(packets[:-2])
    assert (joined.packets, joined.received, joined.missing) == (len(packets), len(packets) - 2, [])
    assert not joined.complete


def test_without_the_first_packet_there_is_nothing_yet():
    joiner = Joiner()
    packets = split(bytes(500), 51)
    joiner.feed(packets[1])
    assert (joiner.result().data, joiner.result().length, joiner.result().missing) == (b"", None, [0])
    joiner.feed(packets[0])
    assert len(joiner.result().data) == 45 + 47


def test_every_flipped_bit_is_seen():
    [packet] = split(b"some bytes", 51)
    for bit in range(8 * len(packet)):
        flipped = bytearray(packet)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not Joiner().feed(bytes(flipped))


def test_damage_and_other_files():
    ours, other = split(b"a" * 100, 51), split(b"b" * 100, 51)
    joiner = Joiner()
    assert joiner.feed(ours[0]) and not joiner.feed(ours[1][:-1]) and not joiner.feed(b"")
    assert joiner.result().damaged == 2
    with pytest.raises(PqmimError, match="another file"):
        joiner.feed(other[1])
    with pytest.raises(DamagedFile):
        join([b"none"])


def test_a_claim_costs_nothing():
    """The length is only what the first packet says."""
    from binascii import crc_hqx

    body = b"\x00\x00\xff\xff\xff\xff\x7f" + bytes(44)
    joined = join([body + crc_hqx(body, 0xFFFF).to_bytes(2, "big")])
    assert joined.packets > 10**8 and joined.missing == []


@pytest.mark.parametrize("data, mtu", [(b"a", 15), (b"a", 65536), (b"", 51)])
def test_absurd_packets(data, mtu):
    with pytest.raises(PqmimError):
        split(data, mtu)


def test_what_could_not_be_joined_is_not_split(monkeypatch):
    monkeypatch.setattr("pqmim.integrations.packets.MOST_PACKETS", 5)
    packets = split(bytes(45 + 4 * 47), 51)
    assert len(packets) == 5 and join(packets).complete
    with pytest.raises(PqmimError, match="234 bytes take more than 5 packets of 51 bytes"):
        split(bytes(45 + 4 * 47 + 1), 51)


def test_an_absurd_number_is_damage_and_costs_nothing():
    for number, damaged in ((MOST_PACKETS - 1, 0), (MOST_PACKETS, 1), (2**34, 1)):
        body = b"\7" + varint.pack(number) + b"x"
        joiner = Joiner()
        assert joiner.feed(body + crc_hqx(body, 0xFFFF).to_bytes(2, "big")) == (not damaged)
        assert joiner.result().damaged == damaged
        assert len(joiner.result().missing) == (0 if damaged else number)


def test_a_check_that_holds_by_chance_ends_nothing():
    packets = split(bytes(500), 51)
    odd = bytes([packets[0][0]]) + b"\xff" * 12  # a number that never ends
    odd += crc_hqx(odd, 0xFFFF).to_bytes(2, "big")
    joiner = Joiner()
    assert not joiner.feed(odd)
    assert all(joiner.feed(packet) for packet in packets)
    assert joiner.result().damaged == 1 and joiner.result().complete


def _with_name_of(data: bytes, length: int) -> bytes:
    """Another file of `length` bytes whose packets have the same name."""
    ends = (number.to_bytes(4, "big") for number in range(1, 10**4))
    files = (end + bytes(length - 8) + end for end in ends)
    return next(file for file in files if zlib.crc32(file) & 0xFF == zlib.crc32(data) & 0xFF)


@pytest.mark.parametrize("length", [60, 120])
def test_a_mixture_of_files_whose_names_agree_is_no_file(length):
    data = bytes(60)
    packets, others = split(data, 40), split(_with_name_of(data, length), 40)
    with pytest.raises(DamagedFile, match="several files"):
        join([packets[0], *others[1:]])
    assert join(packets).data == data

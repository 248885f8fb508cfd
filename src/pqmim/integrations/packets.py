"""Files as numbered packets, for links that carry a few dozen bytes at a time and may lose some.

    first packet:  file | 0      | length of the file | bytes of the file | check
    others:        file | number | bytes of the file                      | check

`file` is one byte that all packets of a file share, the lowest of its CRC-32. `number` and `length` are in base 128,
lowest seven bits first. `check` is a CRC-16 (CCITT, of the packet before it) in two bytes. So a packet costs 4 bytes, 5
from number 128 on. Any prefix of a file decodes: what comes before the first lost packet is a picture already.
"""

import zlib
from binascii import crc_hqx
from collections.abc import Iterable
from dataclasses import dataclass, field

from pqmim.bitstream import varint
from pqmim.errors import DamagedFile, PqmimError

LEAST_MTU, MOST_MTU = 16, 65535
"""Bytes of a packet. LoRaWAN carries 51 at its slowest data rate in Europe and 222 at its fastest ones."""

MOST_PACKETS = 1 << 20
"""Packets of a file; a larger number is damage, since all that are missing before it are listed."""

_CHECK = 2


def split(data: bytes, mtu: int) -> list[bytes]:
    """The packets of a file, of at most `mtu` bytes each, in order.

    Raises:
        PqmimError: `mtu` is not in 16..65535, there is nothing to send, or it takes more than `MOST_PACKETS`.
    """
    if not LEAST_MTU <= mtu <= MOST_MTU:
        raise PqmimError(f"packets have {LEAST_MTU} to {MOST_MTU} bytes, not {mtu}")
    if not data:
        raise PqmimError("there is nothing to send: the file is empty")
    name = zlib.crc32(data) & 0xFF
    packets: list[bytes] = []
    sent = 0
    while sent < len(data):
        if len(packets) == MOST_PACKETS:
            raise PqmimError(
                f"{len(data):,} bytes take more than {MOST_PACKETS:,} packets of {mtu} bytes: send longer ones"
            )
        head = bytes([name]) + varint.pack(len(packets)) + (b"" if packets else varint.pack(len(data)))
        taken = data[sent : sent + mtu - len(head) - _CHECK]
        packets.append(_sealed(head + taken))
        sent += len(taken)
    return packets


@dataclass
class Joined:
    """What arrived of a file.

    Attributes:
        data: the bytes before the first packet that is missing: they decode as they are.
        length: bytes of the whole file; None while its first packet is missing.
        packets: packets of the whole file; None while the first is missing.
        received: sound packets, each counted once.
        missing: numbers of the packets that did not come before the last one that did.
        damaged: packets whose check failed; they count as missing.
    """

    data: bytes = b""
    length: int | None = None
    packets: int | None = None
    received: int = 0
    missing: list[int] = field(default_factory=list)
    damaged: int = 0

    @property
    def complete(self) -> bool:
        """Whether the whole file is there."""
        return self.length is not None and len(self.data) == self.length


class Joiner:
    """Packets as they come, in any order and more than once, to the file as far as it is there."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._length: int | None = None
        self._mtu = 0
        self._name: int | None = None
        self._damaged = 0

    def feed(self, packet: bytes) -> bool:
        """Take a packet; False where its check fails.

        Raises:
            PqmimError: it is sound, but belongs to another file.
        """
        if len(packet) < 2 + _CHECK or _sealed(packet[:-_CHECK]) != packet:
            self._damaged += 1
            return False
        try:
            number, position = _parse_varint(packet, 1)
            length, position = _parse_varint(packet, position) if number == 0 else (None, position)
        except DamagedFile:  # a check of 16 bits holds by chance, too
            number = MOST_PACKETS
        if number >= MOST_PACKETS:
            self._damaged += 1
            return False
        if self._name not in (None, packet[0]):
            raise PqmimError(f"packet {number} belongs to another file")
        self._name = packet[0]
        if number == 0:
            self._length, self._mtu = length, len(packet)
        self._parts[number] = packet[position:-_CHECK]
        return True

    def result(self) -> Joined:
        """What is there so far.

        Raises:
            DamagedFile: all is there, and its name is another: names are of one byte, and two files may share one.
        """
        data = b""
        number = 0
        while number in self._parts:
            data += self._parts[number]
            number += 1
        if self._length is not None and len(data) >= self._length and zlib.crc32(data) & 0xFF != self._name:
            raise DamagedFile("the packets are of several files")
        missing = [place for place in range(max(self._parts, default=-1)) if place not in self._parts]
        total = None if self._length is None else self._total(self._length)
        return Joined(data, self._length, total, len(self._parts), missing, self._damaged)

    def _total(self, length: int) -> int:
        """Packets that a file of `length` bytes takes; all but the last are as long as the first."""
        left, count = length - len(self._parts[0]), 1
        for digits in range(1, 6):  # of base 128 in a packet's number
            capacity, last = self._mtu - 1 - digits - _CHECK, 128**digits
            if capacity < 1 or left <= 0:
                break
            taken = min(-(-left // capacity), last - count)
            left, count = left - taken * capacity, count + taken
        return count


def join(packets: Iterable[bytes]) -> Joined:
    """What the packets of one file give together.

    Raises:
        DamagedFile: not one of them is sound, or they are of several files whose names are one byte.
        PqmimError: they are of several files.
    """
    joiner = Joiner()
    if not sum([joiner.feed(packet) for packet in packets]):
        raise DamagedFile("there is no packet whose check holds")
    return joiner.result()


def _sealed(body: bytes) -> bytes:
    return body + crc_hqx(body, 0xFFFF).to_bytes(_CHECK, "big")


def _parse_varint(packet: bytes, position: int) -> tuple[int, int]:
    try:
        return varint.parse(packet, position)
    except (EOFError, DamagedFile) as error:
        raise DamagedFile("the packet is damaged: a number in it is not whole, or not in its shortest form") from error

"""What becomes of damaged files: is every damage seen?

    python benchmarks/damage.py --cases 1000000 --out results/damage.json

At container level: headers, lengths, checks and chunks are real, payload and codes are random, and a damaged payload
decodes to other random codes, as that of a real file does from the damage on. A damaged file is *seen* where reading or
verifying it is refused, or where it is told to be damaged. It *passes* where it counts as sound. It is *mistaken* where
it counts as something else that is no error: as cut, though no byte is missing, or as a bare file.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pqmim.bitstream import Header, Kind, Tag, read, write
from pqmim.errors import PqmimError

KNOWN_WEIGHTS = (0x3B6, 0x2A7, 0)
"""Ids that the reader is taken to have; files that name another are refused."""


@dataclass(frozen=True)
class File:
    """A sound file, its codes, and what it is called in the results."""

    name: str
    data: bytes
    codes: bytes
    payload: bytes


def files(chance: random.Random) -> list[File]:
    """Framed files of several sizes and kinds."""
    made = []
    for name, size, payload, chunks, kind in (
        ("tiny", (1, 1), 8, {}, Kind.COLOUR),
        ("small", (53, 37), 60, {}, Kind.COLOUR),
        ("alpha", (53, 37), 40, {Tag.ALPHA: 25}, Kind.GREY),
        ("photo at quality 0", (768, 512), 720, {}, Kind.COLOUR),
        ("photo at quality 50", (600, 400), 6600, {}, Kind.COLOUR),
        ("photo with metadata", (4032, 3024), 3000, {Tag.ALPHA: 300, Tag.EXIF: 900, Tag.ICC: 500}, Kind.COLOUR),
        ("flat", (768, 512), 3, {}, Kind.FLAT),
    ):
        body, codes = chance.randbytes(payload), b"" if kind is Kind.FLAT else chance.randbytes(2 * payload)
        parts = {tag: chance.randbytes(length) for tag, length in chunks.items()}
        header = Header(*size, 0 if kind is Kind.FLAT else 50, 0 if kind is Kind.FLAT else 0x3B6, kind=kind)
        made.append(File(name, write(header, body, parts, codes), codes, body))
    return made


def verdict(file: File, data: bytes, chance: random.Random) -> str:
    """What a reader makes of damaged bytes of a file."""
    try:
        container = read(data)
    except PqmimError:
        return "seen"
    if container.header.weights not in KNOWN_WEIGHTS:
        return "seen"
    if not container.header.framed:
        return "seen" if container.intact is False else "mistaken for a bare file"
    if not container.complete:
        return "cut" if len(data) < len(file.data) else "mistaken for a cut file"
    codes = file.codes if container.payload == file.payload else chance.randbytes(len(file.codes) or 1)
    return "passes" if container.verifies(codes) else "seen"


def replaced(data: bytes, chance: random.Random) -> bytes:
    """One to eight bytes anywhere, each other than it was."""
    damaged = bytearray(data)
    for place in chance.sample(range(len(data)), min(chance.randint(1, 8), len(data))):
        damaged[place] ^= chance.randint(1, 255)
    return bytes(damaged)


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Two to sixteen bits anywhere."""
    damaged = bytearray(data)
    for bit in chance.sample(range(8 * len(data)), chance.randint(2, 16)):
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def overwritten(data: bytes, chance: random.Random) -> bytes:
    """Up to 64 bytes in a row are random."""
    start = chance.randrange(len(data))
    length = min(chance.randint(1, 64), len(data) - start)
    return data[:start] + chance.randbytes(length) + data[start + length :]


def swapped(data: bytes, chance: random.Random) -> bytes:
    """Two parts change places."""
    a, b, c = sorted(chance.sample(range(len(data) + 1), 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def inserted(data: bytes, chance: random.Random) -> bytes:
    """Up to 16 bytes more, somewhere."""
    place = chance.randint(0, len(data))
    return data[:place] + chance.randbytes(chance.randint(1, 16)) + data[place:]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes replaced": replaced,
    "bits flipped": flipped,
    "a run overwritten": overwritten,
    "parts swapped": swapped,
    "bytes inserted": inserted,
}


def single_bits(chance: random.Random) -> dict[str, object]:
    """Every bit of every file, one at a time."""
    counts: Counter[str] = Counter()
    for file in files(chance):
        for bit in range(8 * len(file.data)):
            damaged = bytearray(file.data)
            damaged[bit // 8] ^= 1 << bit % 8
            counts[verdict(file, bytes(damaged), chance)] += 1
    return {"bits": counts.total(), "unseen": counts.total() - counts["seen"], **counts}


def random_damage(cases: int, chance: random.Random) -> dict[str, object]:
    """Cases of each kind of damage, spread over the files."""
    found: dict[str, object] = {}
    unseen = 0
    sound = files(chance)
    for name, damage in DAMAGES.items():
        counts: Counter[str] = Counter()
        for case in range(cases // len(DAMAGES)):
            file = sound[case % len(sound)]
            data = damage(file.data, chance)
            if data != file.data:
                counts[verdict(file, data, chance)] += 1
        found[name] = dict(counts)
        unseen += counts.total() - counts["seen"]
    return {"cases": cases, "unseen": unseen, "by kind": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1_000_000, help="of random damage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    start = time.monotonic()
    chance = random.Random(args.seed)
    record = {
        "command": f"python benchmarks/damage.py --cases {args.cases} --seed {args.seed}",
        "single bit flips": single_bits(chance),
        "random damage": random_damage(args.cases, chance),
    }
    print(json.dumps(record, indent=1))
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

"""A photo over a link that carries 51 or 222 bytes at a time and loses some of them.

    python examples/lora.py photo.pqm --loss 0.1

Sends the packets of a file through a link that loses one in ten, and shows after each round what is there. Whoever
receives asks for what is missing, from the first gap on: all before it is a picture already.
"""

import argparse
import random
from pathlib import Path

import pqmim
from pqmim.integrations.packets import Joiner, split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--loss", type=float, default=0.1, help="share of packets that get lost")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    data = args.file.read_bytes()
    for mtu in (51, 222):  # of LoRaWAN in Europe, at its slowest data rate and at its fastest ones
        random.seed(args.seed)
        packets = split(data, mtu)
        wanted = list(range(len(packets)))
        joiner = Joiner()
        print(f"{len(data):,} bytes in {len(packets)} packets of at most {mtu}:")
        while wanted:
            for number in wanted:
                if random.random() >= args.loss:
                    joiner.feed(packets[number])
            there = joiner.result()
            arrived = f"{there.received} packets, {len(there.data):,} bytes before the first gap"
            if there.data:
                facts = pqmim.info(there.data)
                arrived += f": {facts['width']}x{facts['height']}, {facts['state']}"
            print(f"  sent {len(wanted):4}: {arrived}")
            last = len(packets) if there.packets is None else there.packets
            wanted = sorted({*there.missing, *range(there.received + len(there.missing), last)})
        assert joiner.result().data == data


if __name__ == "__main__":
    main()

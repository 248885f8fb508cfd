"""`pqmim packets`: a photo as numbered packets for a slow link, and back."""

import argparse
import os
import re
from typing import Any

from pqmim.cli import values
from pqmim.cli.jobs import STREAM, Job
from pqmim.cli.messages import about, note
from pqmim.cli.options import add_codec_options, add_json_option, add_limit_option, add_verb, check_json
from pqmim.cli.source import add_size_option, check_back, output_of, small_file, write_picture
from pqmim.cli.streams import read, write
from pqmim.cli.work import tell
from pqmim.errors import DamagedFile, OutputError

SIZE, MTU = 2000, 222
"""Bytes of a photo, and of a packet, unless told otherwise."""

DETAILS = """\
Each packet has a number and a check, 4 or 5 bytes in all. Whatever arrived before the first lost
packet is a picture already; what was lost is told. A folder gets one file a packet; another
output gets one line a packet, in hexadecimal. LoRaWAN carries 51 bytes at its slowest data rate
in Europe, and 222 at its fastest ones.

examples:
  pqmim packets photo.jpg --mtu 222 --size 2kB       lines of hexadecimal on the screen
  pqmim packets photo.pqm --mtu 51 -o packets/       packets/0000.bin and so on
  pqmim packets --join packets/ photo.png            back, as far as they arrived
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "packets",
        summary="cut a photo into packets for a slow link, or join them",
        usage="pqmim packets PHOTO --mtu BYTES [-o OUTPUT] [options]\n"
        "       pqmim packets --join FOLDER|LINES PHOTO.png|PHOTO.pqm",
        details=DETAILS,
    )
    parser.add_argument("path", metavar="PHOTO", help="a photo or a .pqm file; with --join: what was received")
    parser.add_argument("target", nargs="?", metavar="OUTPUT", help="the same as -o")
    parser.add_argument(
        "-o", "--output", metavar="OUTPUT", help="a folder, made if it does not exist, or a file of lines"
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.add_argument("--mtu", type=values.mtu, metavar="BYTES", help=f"of a packet (default: {MTU})")
    parser.add_argument("--join", action="store_true", help="packets to a picture, or to a .pqm file")
    add_size_option(parser, SIZE)
    add_json_option(parser)
    add_limit_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    output = output_of(args)
    if not args.join:
        return _split(args, STREAM if output is None else output)
    check_back(args, "--join", size=args.size, mtu=args.mtu)
    if output is None:
        args.fail("--join needs the name of a picture or of a .pqm file to write")
    check_json(args, output)
    return _join(args, str(output))


def _split(args: argparse.Namespace, output: str) -> int:
    from pqmim.integrations.packets import split

    data, mtu = small_file(args, SIZE), args.mtu or MTU
    packets = split(data, mtu)
    facts = {"file": args.path, "bytes": len(data), "packets": len(packets), "mtu": mtu}
    line = f"{output}: {len(data):,} bytes in {len(packets)} packets"
    if output != STREAM and _is_folder(output):
        os.makedirs(output, exist_ok=True)
        if os.listdir(output) and not args.force:
            raise OutputError("not empty: packets of several files would mix", output)
        for number, packet in enumerate(packets):
            write(Job(args.path, os.path.join(output, f"{number:04}.bin")), packet, args.force)
        _remove_later(output, len(packets))
    elif args.json and output == STREAM:
        facts["hex"] = [packet.hex() for packet in packets]
    else:
        write(Job(args.path, output), "".join(f"{packet.hex()}\n" for packet in packets).encode(), args.force)
    if output != STREAM or args.json:
        tell(args, line, facts)
    return 0


def _is_folder(output: str) -> bool:
    """Whether packets become files in it: it is a folder, or ends like one, or there is nothing yet of a name without ending."""
    if os.path.exists(output):
        return os.path.isdir(output)
    return output.endswith("/") or not os.path.splitext(output)[1]


def _remove_later(folder: str, count: int) -> None:
    """Remove the packets of a longer file that was there before, which would not join with these `count`."""
    for name in os.listdir(folder):
        number = re.fullmatch(r"(\d{4,7})\.bin", name)
        if number and int(number[1]) >= count:
            os.unlink(os.path.join(folder, name))


def _join(args: argparse.Namespace, output: str) -> int:
    from pqmim.integrations.packets import join

    with about(args.path):
        joined = join(_packets(args.path))
        if not joined.data:
            raise DamagedFile("packet 0 is missing: it carries the beginning of the file")
    lost = []
    if not joined.complete:
        whole = "an unknown number" if joined.packets is None else str(joined.packets)
        lost.append(f"{joined.received} of {whole} packets arrived; {len(joined.data):,} bytes before the first gap")
    if joined.missing:
        lost.append(f"missing: {', '.join(map(str, joined.missing[:20]))}{' ...' * (len(joined.missing) > 20)}")
    if joined.damaged:
        lost.append("1 packet was damaged" if joined.damaged == 1 else f"{joined.damaged} packets were damaged")
    note(Job(args.path).name, lost)
    facts = write_picture(args, joined.data, output) | {"missing": joined.missing, "complete": joined.complete}
    if output != STREAM:
        tell(args, f"{output}: from {joined.received} packets", {"file": args.path} | facts)
    return 0


def _packets(path: str) -> list[bytes]:
    """Files of a folder, or lines of hexadecimal; a line that is none is an empty packet, which counts as damaged."""
    if os.path.isdir(path):
        return [read(os.path.join(path, name)) for name in sorted(os.listdir(path)) if not name.startswith(".")]
    packets = []
    for line in filter(bytes.strip, read(path).split(b"\n")):
        try:
            packets.append(bytes.fromhex(line.decode("ascii").strip()))
        except (ValueError, UnicodeDecodeError):
            packets.append(b"")
    return packets

"""`pqmim compress`: pictures to .pqm files."""

import argparse
import os
from typing import Any

from pqmim.cli.jobs import STREAM, Batch, Job, plan, read
from pqmim.cli.messages import note
from pqmim.cli.options import add_codec_options, add_output_options, add_verb, open_codec
from pqmim.errors import PqmimError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".tga", ".jp2")
"""Endings that mark the pictures of a folder. A file that is named itself may end as it likes."""

SMALLEST = 12
"""Bytes of the longest short header, and three more."""

DETAILS = """\
Without the name of an output, photo.jpg becomes photo.pqm beside it. Two names, the second one
ending in .pqm or being -, are input and output. A folder stands for the pictures in it. `-` is
standard input or output.

examples:
  pqmim compress photo.jpg                     photo.pqm, at quality 50
  pqmim compress photo.jpg small.pqm -q 20     smaller, and plainer
  pqmim compress a.jpg b.png holiday/ -o out   several pictures, and those of a folder
  pqmim compress photo.jpg --size 500          exactly 500 bytes, less check and transparency
  pqmim compress photo.jpg --effort 0          faster, worse at the same size; decoded as fast as any
  curl ... | pqmim compress - - > photo.pqm    in a pipe
"""


def add_to(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "compress",
        summary="make .pqm files of pictures",
        usage="pqmim compress [options] PHOTO [PHOTO.pqm]\n       pqmim compress [options] PHOTO|FOLDER ... [-o DIR]",
        details=DETAILS,
    )
    parser.add_argument("paths", nargs="+", metavar="PHOTO", help="a picture in any format that Pillow opens")
    dial = parser.add_mutually_exclusive_group()
    dial.add_argument(
        "-q",
        "--quality",
        type=_quality,
        default=50,
        metavar="0..100",
        help="0: smallest, at half the size under 12; 100: best (default: 50)",
    )
    dial.add_argument("--size", type=_size, metavar="BYTES", help="a file of exactly so many bytes: 200, 2kB")
    dial.add_argument("--bpp", type=_bpp, metavar="BITS", help="the same, as bits a pixel: 0.05")
    parser.add_argument(
        "--effort",
        type=_effort,
        default=None,
        metavar="STEPS",
        help="steps that refine the choice of codes: 0 is fastest, 8 saves another 1 %% (default: 4, 0 beyond 8 Mpx)",
    )
    add_output_options(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    batch = Batch(_jobs(args), force=args.force)
    if not batch.jobs:
        return 1
    codec = open_codec(args)

    def work(job: Job) -> str | None:
        source = read(job.source) if job.source == STREAM else job.source
        try:
            data = codec.compress(source, args.quality, size=args.size, bpp=args.bpp, effort=args.effort)
        except ValueError as error:  # no room for a header
            raise PqmimError(str(error), job.source) from error
        batch.write(job, data)
        note(job.source, codec.notes)
        return None if job.target == STREAM else _line(job.target, data)

    return batch.run(work)


def _jobs(args: argparse.Namespace) -> list[Job]:
    if args.output is None and len(args.paths) == 2:
        source, target = args.paths
        if target == STREAM or os.path.splitext(target)[1].lower() == ".pqm":
            return [Job(source, target)]
    return plan(args.paths, args.output, PICTURES, ".pqm")


def _line(target: str, data: bytes) -> str:
    from pqmim.bitstream.describe import describe

    return f"{target}: {len(data):,} bytes, {describe(data)['bpp']:.3f} bpp"


def _size(text: str) -> int:
    number, unit = (text[:-2], 1000) if text.lower().endswith("kb") else (text, 1)
    try:
        size = round(float(number) * unit)
    except (ValueError, OverflowError):
        size = 0
    if size < SMALLEST:
        raise argparse.ArgumentTypeError(f"{text} is not a number of bytes, or kB, from {SMALLEST} on")
    return size


def _bpp(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text} is not a number of bits a pixel")
    return value


def _effort(text: str) -> int:
    if not text.isdecimal() or len(text) > 2:
        raise argparse.ArgumentTypeError(f"{text} is not a number of steps from 0 to 99")
    return int(text)


def _quality(text: str) -> int:
    if not text.isdecimal() or int(text) > 100:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to 100")
    return int(text)

"""`pqmim generate`: pictures of which nothing, or only a part, was sent."""

import argparse
import re
from typing import Any

from pqmim.cli.jobs import Batch, Job, read
from pqmim.cli.messages import note
from pqmim.cli.options import add_codec_options, add_sampling_options, add_verb, numbered, open_codec, sampling
from pqmim.errors import InvalidImage

DETAILS = """\
Draws all codes of a picture from the model, or those under a mask: a picture of the photo's size,
white (or opaque) where it shall be painted anew. The same seed gives the same codes everywhere.

examples:
  pqmim generate -o dream.png --size 512x512 --seed 3
  pqmim generate -o dream.png --variants 4         dream-1.png to dream-4.png, seeds 0 to 3
  pqmim generate -o empty.png --keep photo.pqm --mask mask.png
"""


def add_to(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "generate",
        summary="make pictures of nothing, or repaint a region of one",
        usage="pqmim generate -o PICTURE.png [--size WxH | --keep PHOTO.pqm --mask MASK.png] [options]",
        details=DETAILS,
    )
    parser.add_argument("-o", "--output", required=True, metavar="PICTURE", help="its ending chooses the format")
    parser.add_argument("--size", type=_size, metavar="WxH", help="pixels (default: 512x512)")
    parser.add_argument(
        "-q", "--quality", type=int, choices=range(101), default=40, metavar="0..100", help="detail drawn (default: 40)"
    )
    parser.add_argument("--keep", metavar="PHOTO.pqm", help="repaint a region of this picture instead")
    parser.add_argument("--mask", metavar="MASK", help="with --keep: white where to repaint")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    add_sampling_options(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    if bool(args.keep) != bool(args.mask):
        args.fail("--keep and --mask come together")
    if args.keep and args.size:
        args.fail("with --keep the size is that of the picture")
    from pqmim.image.save import encode, ending_of

    ending = ending_of(args.output)
    source = args.keep or "nothing"
    targets = numbered(args.output, args.variants)
    batch = Batch([Job(source, target) for target in targets], force=args.force)
    if not batch.jobs:
        return 1
    codec = open_codec(args)
    data, mask = (read(args.keep), _mask(args.mask)) if args.keep else (b"", None)

    def work(job: Job) -> str:
        options = sampling(args, targets.index(job.target))
        if mask is None:
            image = codec.generate(*(args.size or (512, 512)), quality=args.quality, **options)
        else:
            image = codec.repaint(data, mask, **options)
        picture, notes = encode(image, ending, job.target)
        batch.write(job, picture)
        note(job.source, [*codec.notes, *notes])
        return f"{job.target}: {image.width}x{image.height}, seed {options['seed']}"

    return batch.run(work)


def _mask(path: str) -> Any:
    """(H, W) bool: bright, and opaque."""
    from pqmim.image.picture import read_picture

    picture = read_picture(path)
    bright = picture.rgb.mean(-1) >= 128
    mask = bright if picture.alpha is None else bright & (picture.alpha >= 128)
    if not mask.any():
        raise InvalidImage("masks nothing: paint white what shall be drawn anew", path)
    return mask


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a size like 512x512")
    return int(found[1]), int(found[2])

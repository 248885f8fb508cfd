"""`pqmim generate`: pictures of which nothing, or only a part, was sent."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from pqmim.cli import values
from pqmim.cli.jobs import Job, numbered
from pqmim.cli.options import (
    CodecOpener,
    add_codec_options,
    add_json_option,
    add_limit_option,
    add_look_options,
    add_output_option,
    add_sampling_options,
    add_verb,
    given,
    sampling,
)
from pqmim.cli.streams import read_file, write
from pqmim.cli.work import Batch, Options, Outcome
from pqmim.errors import InvalidImage

if TYPE_CHECKING:
    from pqmim.codec import Codec

QUALITY = 40  # of what is drawn from nothing

DETAILS = """\
Draws all codes of a picture from the model, or those under a mask: a picture of the photo's size,
white (or opaque) where it shall be painted anew. The same seed draws the same picture again on the
same machine; with --order, its codes are the same on every machine.

examples:
  pqmim generate -o dream.png --size 512x512 --seed 3
  pqmim generate -o dream.png --variants 4         dream-1.png to dream-4.png, seeds 0 to 3
  pqmim generate -o empty.png --keep photo.pqm --mask mask.png
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "generate",
        summary="make pictures of nothing, or repaint a region of one",
        usage="pqmim generate [-o PICTURE.png] [--size WxH | --keep PHOTO.pqm --mask MASK.png] [options]",
        details=DETAILS,
    )
    add_output_option(parser, "generated.png")
    parser.add_argument("--size", type=values.picture_size, metavar="WxH", help="pixels (default: 512x512)")
    parser.add_argument(
        "-q", "--quality", type=values.quality, metavar="0..100", help=f"detail drawn (default: {QUALITY})"
    )
    parser.add_argument("--keep", metavar="PHOTO.pqm", help="repaint a region of this picture instead")
    parser.add_argument("--mask", metavar="MASK", help="with --keep: white where to repaint")
    add_look_options(parser)
    add_sampling_options(parser)
    parser.add_argument(
        "--variants", type=values.positive, default=1, metavar="K", help="several drawings, seed by seed"
    )
    add_json_option(parser)
    add_limit_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    if bool(args.keep) != bool(args.mask):
        args.fail("--keep and --mask come together")
    if args.keep and args.size:
        args.fail("with --keep the size is that of the picture")
    if args.keep and args.quality is not None:
        args.fail("with --keep the quality is that of the picture")
    if args.max_pixels and not args.keep:
        args.fail("--max-pixels is for the picture that --keep names")
    from pqmim.image.save import encode, ending_of

    output = _output(args.output)
    ending = ending_of(output)
    jobs = [Job(args.keep or "", name, n) for n, name in enumerate(numbered(output, args.variants))]
    data, mask = (read_file(args.keep), _mask(args.mask, args.max_pixels)) if args.keep else (b"", None)

    def draw(codec: "Codec", job: Job) -> Outcome:
        options = sampling(args) | given(look=args.look) | {"seed": args.seed + job.number}
        if mask is None:
            width, height = args.size or (512, 512)
            quality = QUALITY if args.quality is None else args.quality
            image = codec.generate(width, height, quality=quality, **options)
        else:
            image = codec.repaint(data, mask, **options, **given(max_pixels=args.max_pixels))
        picture, notes = encode(image, ending, job.target)
        write(job, picture, args.force)
        facts = {"width": image.width, "height": image.height, "seed": options["seed"], "bytes": len(picture)}
        return Outcome(f"{job.target}: {image.width}x{image.height}, seed {options['seed']}", facts, tuple(notes))

    options = Options(force=args.force, json=args.json, label="drawing")
    return Batch(jobs, options).run(draw, CodecOpener.of(args))


def _output(output: str | None) -> str:
    if output is None or not (output.endswith("/") or os.path.isdir(output)):
        return output or "generated.png"
    os.makedirs(output, exist_ok=True)
    return os.path.join(output, "generated.png")


def _mask(path: str, max_pixels: int | None) -> Any:
    """(H, W) bool: bright, and opaque."""
    from pqmim.image.picture import read_picture

    picture = read_picture(path, max_pixels=max_pixels)
    bright = picture.rgb.mean(-1) >= 128
    mask = bright if picture.alpha is None else bright & (picture.alpha >= 128)
    if not mask.any():
        raise InvalidImage("masks nothing: paint white what shall be drawn anew", path)
    return mask

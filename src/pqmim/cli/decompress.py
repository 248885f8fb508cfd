"""`pqmim decompress`: .pqm files to pictures."""

import argparse
import os
from typing import Any

from pqmim.bitstream.errors import OutputError
from pqmim.cli.jobs import STREAM, Batch, Job, plan, read
from pqmim.cli.messages import note
from pqmim.cli.options import add_codec_options, add_output_options, add_verb, open_codec

DETAILS = """\
Without the name of an output, photo.pqm becomes photo.png beside it. Two names, the second one
not ending in .pqm, are input and output, and the output's ending chooses its format. A folder
stands for the .pqm files in it. `-` is standard input or output.

examples:
  pqmim decompress photo.pqm                   photo.png
  pqmim decompress photo.pqm photo.webp        lossless WebP, smaller than PNG
  pqmim decompress small/ -o out --format jpg  every file of a folder
  pqmim decompress - - < photo.pqm | display   in a pipe
"""


def add_to(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "decompress",
        summary="make pictures of .pqm files",
        usage="pqmim decompress [options] PHOTO.pqm [PHOTO.png]\n"
        "       pqmim decompress [options] PHOTO.pqm|FOLDER ... [-o DIR]",
        details=DETAILS,
    )
    parser.add_argument("paths", nargs="+", metavar="PHOTO.pqm", help="a .pqm file")
    parser.add_argument(
        "--format", metavar="NAME", help="png, jpg, webp, avif, tiff, ...; default: the output's ending, or png"
    )
    add_output_options(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pqmim.image.save import encode

    jobs = _jobs(args)
    _check_ending(_ending(args, jobs[0]), jobs[0].target)
    batch = Batch(jobs, force=args.force)
    if not batch.jobs:
        return 1
    codec = open_codec(args)

    def work(job: Job) -> str | None:
        image = codec.decompress(read(job.source))
        data, notes = encode(image, _ending(args, job), job.target)
        batch.write(job, data)
        note(job.source, [*codec.notes, *notes])
        return None if job.target == STREAM else f"{job.target}: {image.width}x{image.height}"

    return batch.run(work)


def _jobs(args: argparse.Namespace) -> list[Job]:
    if args.output is None and len(args.paths) == 2:
        source, target = args.paths
        if not target.lower().endswith(".pqm") and not os.path.isdir(target):
            return [Job(source, target)]
    return plan(args.paths, args.output, (".pqm",), f".{args.format or 'png'}")


def _ending(args: argparse.Namespace, job: Job) -> str:
    if args.format or job.target == STREAM:
        return f".{args.format or 'png'}"
    return os.path.splitext(job.target)[1]


def _check_ending(ending: str, target: str) -> None:
    """Before any work is done; all targets of one command end alike."""
    from pqmim.image.save import FORMATS

    if ending.lower() not in FORMATS:
        raise OutputError(f"{target} cannot be written: pictures end in {', '.join(FORMATS)}, not in {ending!r}.")

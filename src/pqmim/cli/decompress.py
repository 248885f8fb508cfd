"""`pqmim decompress`: .pqm files to pictures."""

import argparse
import os
from typing import Any

from pqmim.cli.jobs import STREAM, Batch, Job, plan, read
from pqmim.cli.messages import note
from pqmim.cli.options import (
    add_codec_options,
    add_completion_options,
    add_output_options,
    add_verb,
    completion,
    numbered,
    open_codec,
    positive,
)

DETAILS = """\
Without the name of an output, photo.pqm becomes photo.png beside it. Two names, the second one
not ending in .pqm, are input and output, and the output's ending chooses its format. A folder
stands for the .pqm files in it. `-` is standard input or output. A file that is cut, anywhere
after its header, decodes to what its bytes determine, and the model completes the rest.

examples:
  pqmim decompress photo.pqm                   photo.png
  pqmim decompress photo.pqm photo.webp        lossless WebP, smaller than PNG
  pqmim decompress small/ -o out --format jpg  every file of a folder
  pqmim decompress - - < photo.pqm | display   in a pipe
  pqmim decompress cut.pqm a.png --complete sample --variants 3   a-1.png, a-2.png, a-3.png
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
    parser.add_argument("--partial", action="store_true", help="decode a damaged file as far as it goes")
    add_completion_options(parser)
    parser.add_argument(
        "--variants", type=positive, default=1, metavar="K", help="with --complete sample: several drawings"
    )
    add_output_options(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    from pqmim.image.save import encode

    if args.variants > 1 and args.complete != "sample":
        args.fail("--variants needs --complete sample")
    jobs = _jobs(args)
    if jobs[0].target == STREAM and args.variants > 1:
        args.fail("--variants cannot go to standard output")
    _ending(args, jobs[0])  # says at once what cannot be written
    variants = {target: n for job in jobs for n, target in enumerate(numbered(job.target, args.variants))}
    jobs = [Job(job.source, target) for job in jobs for target in numbered(job.target, args.variants)]
    batch = Batch(jobs, force=args.force)
    if not batch.jobs:
        return 1
    codec = open_codec(args)

    def work(job: Job) -> str | None:
        image = codec.decompress(read(job.source), partial=args.partial, **completion(args, variants[job.target]))
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
    from pqmim.image.save import ending_of

    return ending_of(f"output.{args.format or 'png'}" if args.format or job.target == STREAM else job.target)

"""`pqmim preview`: a picture as its bytes arrive."""

import argparse
import io
import os
from typing import Any

from pqmim.cli.jobs import check_target, read
from pqmim.cli.messages import say
from pqmim.cli.options import (
    add_codec_options,
    add_completion_options,
    add_verb,
    completion,
    open_codec,
    positive,
)
from pqmim.errors import OutputError

MILLISECONDS = 700
"""A frame of an animation is shown so long, the last one three times."""

COLUMNS = 4

DETAILS = """\
Each step shows about twice as many bytes as the one before. The ending chooses the form: .gif and
.apng move, others show all steps side by side.

examples:
  pqmim preview photo.pqm                        photo-preview.png, 8 steps
  pqmim preview photo.pqm --steps 12 -o it.gif   an animation
"""


def add_to(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "preview",
        summary="show a picture as its bytes arrive",
        usage="pqmim preview PHOTO.pqm [-o STRIP.png] [options]",
        details=DETAILS,
    )
    parser.add_argument("path", metavar="PHOTO.pqm", help="a .pqm file, or - for standard input")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: beside the input, -preview.png after its name")
    parser.add_argument("--steps", type=positive, default=8, metavar="N", help="pictures to show (default: 8)")
    parser.add_argument("--force", action="store_true", help="overwrite a file that exists")
    add_completion_options(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = args.output or f"{os.path.splitext(args.path)[0]}-preview.png"
    _check_ending(target)
    check_target(target, args.force)
    data = read(args.path)
    codec = open_codec(args)
    from pqmim.preview import frames

    shown = list(frames(codec, data, args.steps, **completion(args)))
    if target.lower().endswith((".gif", ".apng")):
        _animate([image for _, image in shown], target, args.force)
    else:
        from pqmim.image.contact_sheet import Cell, contact_sheet

        cells = [Cell(image, f"{length:,} bytes") for length, image in shown]
        rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
        contact_sheet(rows, target, force=args.force)
    say(f"{target}: {len(shown)} steps, {shown[0][0]:,} to {shown[-1][0]:,} bytes")
    return 0


def _check_ending(target: str) -> None:
    from pqmim.image.save import FORMATS

    endings = (*FORMATS, ".gif", ".apng")
    if os.path.splitext(target)[1].lower() not in endings:
        raise OutputError(f"cannot be written: a preview ends in {', '.join(endings)}", target)


def _animate(images: list, target: str, force: bool) -> None:
    from pqmim.files import write_atomically

    durations = [MILLISECONDS] * (len(images) - 1) + [3 * MILLISECONDS]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        "GIF" if target.lower().endswith(".gif") else "PNG",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
    )
    write_atomically(target, buffer.getvalue(), force)

"""`pqmim preview`: a picture as its bytes arrive."""

import argparse
import io
import os
from typing import TYPE_CHECKING, Any

from pqmim.cli import values
from pqmim.cli.jobs import STREAM, check_target, ending
from pqmim.cli.messages import about, waiting
from pqmim.cli.options import (
    add_codec_options,
    add_completion_options,
    add_json_option,
    add_limit_option,
    add_look_options,
    add_output_option,
    add_verb,
    check_completion,
    given,
    open_codec,
    rendering,
)
from pqmim.cli.streams import read_file
from pqmim.cli.work import tell
from pqmim.errors import OutputError

if TYPE_CHECKING:
    from PIL import Image

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
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "preview",
        summary="show a picture as its bytes arrive",
        usage="pqmim preview PHOTO.pqm [-o STRIP.png] [options]",
        details=DETAILS,
    )
    parser.add_argument("path", metavar="PHOTO.pqm", help="a .pqm file, or - for standard input")
    add_output_option(parser, "photo-preview.png beside photo.pqm")
    parser.add_argument("--steps", type=values.positive, default=8, metavar="N", help="pictures to show (default: 8)")
    add_look_options(parser)
    add_completion_options(parser)
    add_json_option(parser)
    add_limit_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    from pqmim.decoder import frames

    check_completion(args)
    target = _target(args.path, args.output)
    _check_ending(target)
    check_target(target, args.force)
    data = read_file(args.path)
    options = rendering(args) | given(max_pixels=args.max_pixels)
    with waiting(f"{args.path}: decoding {args.steps} steps"), about(args.path):
        shown = list(frames(open_codec(args), data, args.steps, **options))
    if target.lower().endswith((".gif", ".apng")):
        _animate([image for _, image in shown], target, args.force)
    else:
        from pqmim.image.contact_sheet import Cell, contact_sheet

        cells = [Cell(image, f"{length:,} bytes") for length, image in shown]
        rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
        contact_sheet(rows, target, force=args.force)
    lengths = [length for length, _ in shown]
    line = f"{target}: {len(shown)} steps, {lengths[0]:,} to {lengths[-1]:,} bytes"
    tell(args, line, {"file": args.path, "output": target, "bytes": lengths})
    return 0


def _target(path: str, output: str | None) -> str:
    stem = "photo" if path == STREAM else os.path.splitext(path)[0]
    if output is None:
        return f"{stem}-preview.png"
    if output.endswith("/") or os.path.isdir(output):
        os.makedirs(output, exist_ok=True)
        return os.path.join(output, f"{os.path.basename(stem)}-preview.png")
    return output


def _check_ending(target: str) -> None:
    from pqmim.image.save import FORMATS

    endings = (*FORMATS, ".gif", ".apng")
    if ending(target) not in endings:
        raise OutputError(f"cannot be written: a preview ends in {', '.join(endings)}", target)


def _animate(images: "list[Image.Image]", target: str, force: bool) -> None:
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

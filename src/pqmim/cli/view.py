"""`pqmim view`: shows a .pqm file."""

import argparse
import os
import shutil
import sys
from typing import Any

from pqmim.cli.jobs import Job
from pqmim.cli.messages import about, is_terminal, note, say, waiting
from pqmim.cli.options import (
    add_codec_options,
    add_completion_options,
    add_json_option,
    add_limit_option,
    add_look_options,
    add_verb,
    check_completion,
    given,
    open_codec,
    rendering,
)
from pqmim.cli.streams import read_file
from pqmim.cli.work import tell

DETAILS = """\
Opens the picture in the viewer of this desktop. Where there is none, or with --terminal, draws it
with coloured characters.

examples:
  pqmim view photo.pqm
  pqmim view photo.pqm --look vivid
  pqmim view photo.pqm --terminal
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    for name, summary in (("view", "show a .pqm file"), ("open", "the same as view")):
        parser = add_verb(
            verbs,
            name,
            summary=summary,
            usage=f"pqmim {name} PHOTO.pqm [options]",
            details=DETAILS.replace("pqmim view", f"pqmim {name}"),
        )
        parser.add_argument("path", metavar="PHOTO.pqm", help="a .pqm file, or - for standard input")
        parser.add_argument("--terminal", action="store_true", help="draw it with coloured characters")
        add_look_options(parser)
        add_completion_options(parser)
        add_json_option(parser)
        add_limit_option(parser)
        add_codec_options(parser)
        parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    if args.json and args.terminal:
        args.fail("--json and the drawing cannot both go to standard output")
    check_completion(args)
    data = read_file(args.path)
    with waiting(f"{args.path}: decompressing"), about(args.path):
        codec = open_codec(args)
        rendered = codec.render(codec.receive(data, **given(max_pixels=args.max_pixels)), **rendering(args))
    note(Job(args.path).name, rendered.notes)
    shown = not args.terminal and _has_screen() and _show(rendered.image)
    if not shown and not args.json:
        from pqmim.integrations.terminal import drawn

        columns = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else 80
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # one without half blocks shows question marks
        print(drawn(rendered.image, columns).encode(encoding, "replace").decode(encoding))
    if args.json:
        tell(args, "", {"file": args.path, "width": rendered.image.width, "height": rendered.image.height})
    elif not args.terminal:
        say(f"{args.path}: {rendered.image.width}x{rendered.image.height}")
    return 0


def _has_screen() -> bool:
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _show(image: Any) -> bool:
    from PIL import ImageShow

    return ImageShow.show(image)

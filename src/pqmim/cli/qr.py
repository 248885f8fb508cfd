"""`pqmim qr`: a photo as a QR code, and back."""

import argparse
import os
from typing import Any

from pqmim.cli.jobs import STREAM, Job, check_target, ending
from pqmim.cli.messages import about
from pqmim.cli.options import (
    add_codec_options,
    add_json_option,
    add_limit_option,
    add_output_option,
    add_verb,
    check_json,
    extra_packages,
)
from pqmim.cli.source import add_size_option, check_back, output_of, small_file, write_picture
from pqmim.cli.streams import read, write
from pqmim.cli.work import tell

SIZE = 200
"""Bytes of a photo, unless told otherwise."""

DETAILS = """\
The code carries the file itself. --link makes it an address that phones open: the file stands after
the #, where no server receives it, and the page at that address decodes it, as that of
`pqmim serve` does. Without --link it is plain text, which `pqmim qr --read` understands.

examples:
  pqmim qr photo.jpg code.svg                 the photo in 200 bytes, as a QR code
  pqmim qr photo.jpg                          in the terminal
  pqmim qr photo.pqm code.png --link https://example.org/view
  pqmim qr --read screenshot.png photo.png    a photo or screenshot of a code, back to a picture
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "qr",
        summary="make a QR code of a photo, or read one",
        usage="pqmim qr PHOTO [CODE.svg|CODE.png] [options]\n       pqmim qr --read PICTURE PHOTO.png|PHOTO.pqm",
        details=DETAILS,
    )
    parser.add_argument("path", metavar="PHOTO", help="a photo or a .pqm file; with --read: a picture of a code")
    parser.add_argument("target", nargs="?", metavar="OUTPUT", help="the same as -o")
    add_output_option(parser, "the terminal; with --read: photo.png beside the picture")
    parser.add_argument("--read", action="store_true", help="find the code in a picture, and the photo in it")
    add_size_option(parser, SIZE)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--link", metavar="ADDRESS", help="of a page that decodes what stands after its #")
    forms.add_argument("--raw", dest="form", action="store_const", const="raw", help="bytes as they are: smallest")
    forms.add_argument("--base45", dest="form", action="store_const", const="base45", help="as small, and text")
    add_json_option(parser)
    add_limit_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    output = output_of(args)
    check_json(args, output)
    if args.read:
        check_back(args, "--read", size=args.size, link=args.link, raw=args.form == "raw", base45=args.form == "base45")
    with extra_packages("qr"):
        from pqmim.integrations import qr

        qr.require()
    return _read(args, output) if args.read else _write(args, output)


def _write(args: argparse.Namespace, output: str | None) -> int:
    from pqmim.integrations.qr import Form, write_qr

    if output is not None and output != STREAM:
        check_target(output, args.force)
    data = small_file(args, SIZE)
    form: Form = "link" if args.link else args.form or "text"
    kind = ".txt" if output in (None, STREAM) else ending(output)
    picture = write_qr(data, kind, form, args.link)
    if output is None:
        facts = {"file": args.path, "form": form, "bytes": len(data), "code": picture.decode()}
        tell(args, picture.decode(), facts)
        return 0
    write(Job(args.path, output), picture, args.force)
    facts = {"file": args.path, "output": output, "form": form, "bytes": len(data)}
    if output != STREAM:
        tell(args, f"{output}: a QR code of {len(data):,} bytes", facts)
    return 0


def _read(args: argparse.Namespace, output: str | None) -> int:
    from PIL import Image

    from pqmim.image.picture import read_picture, to_pil
    from pqmim.integrations.qr import read_qr

    source = read(STREAM) if args.path == STREAM else args.path
    with about(args.path):
        picture = read_picture(source, max_pixels=args.max_pixels)
        code = to_pil(picture.rgb, picture.alpha)
        if picture.alpha is not None:  # what is clear is paper
            code = Image.alpha_composite(Image.new("RGBA", code.size, "white"), code).convert("RGB")
        data = read_qr(code)
    target = output or ("photo.png" if args.path == STREAM else f"{os.path.splitext(args.path)[0]}-photo.png")
    facts = write_picture(args, data, target)
    if target != STREAM:
        tell(args, f"{target}: from a QR code of {len(data):,} bytes", {"file": args.path} | facts)
    return 0

"""`pqmim text`: a photo as text, and back."""

import argparse
from typing import Any

from pqmim.cli.jobs import STREAM, Job
from pqmim.cli.messages import about, say
from pqmim.cli.options import add_codec_options, add_json_option, add_limit_option, add_verb, check_json
from pqmim.cli.source import add_size_option, check_back, output_of, small_file, write_picture
from pqmim.cli.streams import read, write
from pqmim.cli.work import tell

SIZE, POST = 200, 385
"""Bytes of a photo, unless told otherwise: of base64url, and of base2048, of which a post of 280 characters holds so many."""

DETAILS = """\
A post of 280 characters holds 210 bytes as base64url, and 385 as base2048. --link makes an address
that carries the file after its #. Back from text, white space does not matter, and the form is found.

examples:
  pqmim text photo.jpg                     200 bytes, as base64url
  pqmim text photo.jpg --base2048          385 bytes: 280 characters, a post
  pqmim text photo.pqm | pqmim text --read - photo.png
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "text",
        summary="make text of a photo, or a photo of text",
        usage="pqmim text PHOTO [-o TEXT] [options]\n       pqmim text --read TEXT PHOTO.png|PHOTO.pqm",
        details=DETAILS,
    )
    parser.add_argument("path", metavar="PHOTO", help="a photo or a .pqm file; with --read: a file of text, or -")
    parser.add_argument("target", nargs="?", metavar="OUTPUT", help="the same as -o")
    parser.add_argument("-o", "--output", metavar="OUTPUT", help="the file to write (default: the screen)")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    parser.add_argument("--read", action="store_true", help="text to a picture, or to a .pqm file")
    add_size_option(parser, f"{SIZE}, or {POST} with --base2048")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--base2048", action="store_true", help="11 bits a character, for posts")
    forms.add_argument("--link", metavar="ADDRESS", help="of a page that decodes what stands after its #")
    add_json_option(parser)
    add_limit_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    output = output_of(args)
    return _read(args, output) if args.read else _write(args, output)


def _write(args: argparse.Namespace, output: str | None) -> int:
    from pqmim.integrations.text import to_base64url, to_base2048, to_link

    data = small_file(args, POST if args.base2048 else SIZE)
    text = to_link(data, args.link) if args.link else to_base2048(data) if args.base2048 else to_base64url(data)
    if output not in (None, STREAM):
        write(Job(args.path, str(output)), f"{text}\n".encode(), args.force)
        facts = {"file": args.path, "output": output, "bytes": len(data), "characters": len(text)}
        tell(args, f"{output}: {len(data):,} bytes in {len(text):,} characters", facts)
    elif args.json:
        tell(args, text, {"file": args.path, "bytes": len(data), "characters": len(text), "text": text})
    else:
        say(text)
    return 0


def _read(args: argparse.Namespace, output: str | None) -> int:
    from pqmim.errors import DamagedFile
    from pqmim.integrations.text import from_text

    check_back(args, "--read", size=args.size, base2048=args.base2048, link=args.link)
    if output is None:
        args.fail("--read needs the name of a picture or of a .pqm file to write")
    check_json(args, output)
    try:
        text = read(args.path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile("not text in UTF-8", args.path) from error
    with about(args.path):
        data = from_text(text)
    facts = write_picture(args, data, str(output))
    if output != STREAM:
        tell(args, f"{output}: from text of {len(data):,} bytes", {"file": args.path} | facts)
    return 0

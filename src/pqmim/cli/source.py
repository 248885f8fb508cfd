"""The one file that small-message verbs send: a .pqm file as it is, or a photo compressed to a size."""

import argparse
from typing import Any

from pqmim.bitstream.header import Header, begins
from pqmim.cli import values
from pqmim.cli.jobs import STREAM, Job
from pqmim.cli.messages import about, note, waiting
from pqmim.cli.options import given, open_codec
from pqmim.cli.streams import read


def add_size_option(parser: argparse.ArgumentParser, default: int | str) -> None:
    """How small a photo is made before it is sent; `default` tells what `small_file` is given."""
    parser.add_argument(
        "--size",
        type=values.byte_size,
        metavar="BYTES",
        help=f"of a photo that is no .pqm file yet (default: {default})",
    )


def check_back(args: argparse.Namespace, way: str, **options: Any) -> None:
    """A usage error where one of the `options`, by name, is given on the `way` back, which none of them changes."""
    for name, value in options.items():
        if value is not None and value is not False:
            args.fail(f"--{name} is not for {way}")


def output_of(args: argparse.Namespace) -> str | None:
    """The output, named as a word of its own or by -o; None where it is not named."""
    if args.target and args.output:
        args.fail("the output is named twice")
    output: str | None = args.output or args.target
    return output


def small_file(args: argparse.Namespace, size: int) -> bytes:
    """The bytes of `args.path`, made of a photo to `args.size` bytes, or `size`, where it is one."""
    data = read(args.path, args.max_pixels)
    if begins(data):
        if args.size:
            args.fail(f"--size is for photos: {args.path} is a .pqm file already")
        return data
    with waiting(f"{args.path}: compressing"), about(args.path):
        encoded = open_codec(args).encode(data, size=args.size or size, **given(max_pixels=args.max_pixels))
    note(Job(args.path).name, encoded.notes)
    return encoded.data


def write_picture(args: argparse.Namespace, data: bytes, target: str) -> dict[str, Any]:
    """A received file to `target`: as it is, or decoded, as the ending says.

    Returns:
        Facts about it.

    Raises:
        UnsupportedFile: it is no .pqm file; nothing is written.
    """
    from pqmim.cli.jobs import check_target, is_pqm
    from pqmim.cli.streams import write

    if target != STREAM:
        check_target(target, args.force)
    facts: dict[str, Any] = {"output": target, "bytes": len(data)}
    if is_pqm(target) or target == STREAM:
        with about(args.path):
            Header.parse(data)
        write(Job(args.path, target), data, args.force)
        return facts
    from pqmim.image.save import encode, ending_of

    ending = ending_of(target)
    with about(args.path), waiting(f"{args.path}: decompressing"):
        codec = open_codec(args)
        rendered = codec.render(codec.receive(data, **given(max_pixels=args.max_pixels)))
    picture, notes = encode(rendered.image, ending, target)
    write(Job(args.path, target), picture, args.force)
    note(Job(args.path).name, [*rendered.notes, *notes])
    return facts | {"width": rendered.image.width, "height": rendered.image.height}

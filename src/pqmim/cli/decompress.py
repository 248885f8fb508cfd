"""`pqmim decompress`: .pqm files to pictures."""

import argparse
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pqmim.cli import values
from pqmim.cli.compress import manifest_of, settings_of
from pqmim.cli.jobs import STREAM, Job, Wanted, alone, check_target, ending, is_pqm, make_folders, numbered, pair, plan
from pqmim.cli.options import (
    CodecOpener,
    add_codec_options,
    add_completion_options,
    add_folder_options,
    add_limit_option,
    add_look_options,
    add_output_option,
    add_verb,
    check_completion,
    given,
    rendering,
)
from pqmim.cli.streams import read_file, write
from pqmim.cli.work import Batch, Options, Outcome
from pqmim.errors import DamagedFile

if TYPE_CHECKING:
    from pqmim.codec import Codec

SMALL = 0.1  # bits a pixel below which the faithful picture is blurred

DETAILS = """\
Without the name of an output, photo.pqm becomes photo.png beside it. Two names, the second one
not ending in .pqm, are input and output, and the output's ending chooses its format. A folder
stands for the .pqm files in it, with -r for those below it, too; with -o its tree is mirrored.
`-` is standard input or output. A file that is cut, anywhere after its header, decodes to what its
bytes determine, and the model completes the rest.

examples:
  pqmim decompress photo.pqm                   photo.png
  pqmim decompress photo.pqm photo.webp        lossless WebP, smaller than PNG
  pqmim decompress -r small/ -o out --format jpg  every file of a tree
  pqmim decompress - - < photo.pqm | display   in a pipe
  pqmim decompress photo.pqm --look vivid --show-invented    photo.png and photo-invented.png
  pqmim decompress cut.pqm a.png --complete sample --variants 3   a-1.png, a-2.png, a-3.png
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "decompress",
        summary="make pictures of .pqm files",
        usage="pqmim decompress [options] PHOTO.pqm [PHOTO.png]\n"
        "       pqmim decompress [options] PHOTO.pqm|FOLDER ... [-o OUTPUT]",
        details=DETAILS,
    )
    parser.add_argument("paths", nargs="+", metavar="PHOTO.pqm", help="a .pqm file, a folder of them, or -")
    parser.add_argument(
        "--format",
        type=values.picture_format,
        metavar="NAME",
        help="png, jpg, webp, avif, tiff, ...; default: the output's ending, or png",
    )
    parser.add_argument("--partial", action="store_true", help="decode a damaged file as far as it goes")
    add_look_options(parser)
    add_completion_options(parser)
    parser.add_argument(
        "--variants",
        type=values.positive,
        default=1,
        metavar="K",
        help="with --complete sample or --look vivid: several drawings, seed by seed",
    )
    parser.add_argument(
        "--show-invented", action="store_true", help="write a map beside the picture: bright where it is invented"
    )
    add_limit_option(parser)
    add_output_option(parser, "photo.png beside photo.pqm")
    add_folder_options(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    from pqmim.image.save import FORMATS, ending_of

    if args.variants > 1 and args.complete != "sample" and not args.look:
        args.fail("--variants needs --complete sample or --look vivid")
    check_completion(args)
    makes = tuple(dict.fromkeys((f".{args.format or 'png'}", *FORMATS)))
    jobs = _jobs(args, Wanted((".pqm",), makes, args.recursive, bool(args.format)))
    for job in jobs:
        if args.format and FORMATS.get(ending(job.target), FORMATS[makes[0]]) != FORMATS[makes[0]]:
            args.fail(f"{job.target} and --format {args.format} are two formats")
        if not args.format and job.target != STREAM:
            ending_of(job.target)  # says at once what cannot be written
    make_folders(jobs)
    receiving = given(partial=args.partial or None, max_pixels=args.max_pixels)
    decides = rendering(args) | given(partial=args.partial or None, show_invented=args.show_invented or None)
    options = Options(
        force=args.force,
        skip_existing=args.skip_existing,
        json=args.json,
        workers=args.jobs,
        manifest=manifest_of(args),
        settings=settings_of(args, decides),
        label="decompressing",
    )
    task = Decompressing(receiving, rendering(args), args.format, args.force, args.show_invented)
    return Batch(jobs, options).run(task, CodecOpener.of(args))


def _jobs(args: argparse.Namespace, wanted: Wanted) -> list[Job]:
    if args.output is None and len(args.paths) == 2 and not is_pqm(args.paths[1]) and not os.path.isdir(args.paths[1]):
        jobs = pair(args.paths, None, wanted) or [Job(*args.paths)]
    else:
        jobs = plan(args.paths, args.output, wanted)
    if any(job.target == STREAM for job in jobs) and (args.variants > 1 or args.show_invented or args.json):
        args.fail("only one picture can go to standard output, and nothing beside it")
    if any(job.source == STREAM for job in jobs) and args.variants > 1:
        args.fail("standard input can be read once: --variants needs the name of a file")
    if not alone(jobs):
        args.fail("standard input and output go alone: name no other files beside -")
    found = [Job(job.source, name, n) for job in jobs for n, name in enumerate(numbered(job.target, args.variants))]
    pictures = {os.path.abspath(job.target) for job in found}  # one place has several names: a.png, ./a.png
    for name in map(_map_of, found) if args.show_invented else ():
        if os.path.abspath(name) in pictures:
            args.fail(f"{name} would be a picture and a map: choose other names")
    return found


@dataclass(frozen=True)
class Decompressing:
    """One file to one picture.

    Attributes:
        receiving: arguments of `Codec.receive`.
        rendering: arguments of `Codec.render`; the seed is that of the first variant.
        format: of the picture, where the output's ending does not say it.
        force: an existing picture is replaced.
        show_invented: write a map of what is invented, too.
    """

    receiving: dict[str, Any]
    rendering: dict[str, Any]
    format: str | None
    force: bool
    show_invented: bool

    def __call__(self, codec: "Codec", job: Job) -> Outcome:
        """Do it to one file."""
        from pqmim.image.save import encode

        if self.show_invented:
            check_target(_map_of(job), self.force)
        options = self.rendering | {"seed": self.rendering["seed"] + job.number}
        if self.show_invented:
            options["invented"] = True
        data = read_file(job.source)
        try:
            received = codec.receive(data, **self.receiving)
        except DamagedFile as error:
            way = "" if "partial" in self.receiving else "; --partial decodes it as far as it goes"
            raise DamagedFile(f"{error.message}{way}", error.subject) from error
        rendered = codec.render(received, **options)
        end = f".{self.format}" if self.format else ".png" if job.target == STREAM else _ending(job.target)
        picture, notes = encode(rendered.image, end, job.target)
        write(job, picture, self.force)
        facts: dict[str, Any] = {"width": rendered.image.width, "height": rendered.image.height, "bytes": len(picture)}
        line = None if job.target == STREAM else f"{job.target}: {rendered.image.width}x{rendered.image.height}"
        if self.show_invented:
            facts["invented"] = self._write_map(job, rendered.invented)
        small = 8 * received.size < SMALL * received.header.width * received.header.height
        if small and "look" not in self.rendering and codec.has_look(received):
            notes = [*notes, "a small file: --look vivid shows it sharper, partly invented"]
        return Outcome(line, facts, (*rendered.notes, *notes))

    def _write_map(self, job: Job, invented: Any) -> str:
        """The map's name. Its pixels are 0 where all was sent, 255 where nothing was."""
        import numpy as np
        from PIL import Image

        from pqmim.files import write_atomically
        from pqmim.image.save import encode

        target = _map_of(job)
        grey = Image.fromarray(np.rint(255 * np.clip(invented, 0, 1)).astype(np.uint8))
        write_atomically(target, encode(grey, ".png", target)[0], self.force)
        return target


def _map_of(job: Job) -> str:
    return f"{os.path.splitext(job.target)[0]}-invented.png"


def _ending(target: str) -> str:
    from pqmim.image.save import ending_of

    return ending_of(target)

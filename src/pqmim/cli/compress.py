"""`pqmim compress`: pictures to .pqm files."""

import argparse
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pqmim.cli import values
from pqmim.cli.jobs import STREAM, Job, Wanted, alone, is_device, is_pqm, make_folders, pair, passed_over, plan
from pqmim.cli.manifest import NAME
from pqmim.cli.messages import warn
from pqmim.cli.options import (
    CodecOpener,
    add_codec_options,
    add_folder_options,
    add_limit_option,
    add_output_option,
    add_verb,
    check_json,
    digests,
    given,
)
from pqmim.cli.streams import read, write
from pqmim.cli.work import Batch, Options, Outcome
from pqmim.errors import OutputError, PqmimError, UnsupportedFile
from pqmim.image.endings import PICTURES

if TYPE_CHECKING:
    from pqmim.codec import Codec

DETAILS = """\
Without the name of an output, photo.jpg becomes photo.pqm beside it. Two names, the second one
ending in .pqm or being -, are input and output. A folder stands for the pictures in it, with -r
for those below it, too; with -o its tree is mirrored, and OUTPUT/pqmim.jsonl keeps the list: the
same command again goes on where it stopped. `-` is standard input or output.

--size and --bpp make files of at most that many bytes, nearly always of exactly so many. They hold
colours alone: transparency and metadata are dropped. From 100 bytes on, two are a check.

examples:
  pqmim compress photo.jpg                     photo.pqm, at quality 50
  pqmim compress photo.jpg -q 20 small.pqm     smaller, and plainer
  pqmim compress -r holiday/ -o out --jobs 4   the pictures of a tree, by four processes
  pqmim compress photo.jpg --size 500          500 bytes, without transparency and metadata
  pqmim compress photo.jpg --psnr 35           as few bytes as 35 dB take
  pqmim compress photo.jpg --effort 0          faster, worse at the same size; decoded as fast as any
  curl ... | pqmim compress - - > photo.pqm    in a pipe
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "compress",
        summary="make .pqm files of pictures",
        usage="pqmim compress [options] PHOTO [PHOTO.pqm]\n       pqmim compress [options] PHOTO|FOLDER ... [-o OUTPUT]",
        details=DETAILS,
    )
    parser.add_argument("paths", nargs="+", metavar="PHOTO", help="a picture, a folder of pictures, or -")
    _add_dial(parser)
    parser.add_argument(
        "--effort",
        type=values.effort,
        metavar="STEPS",
        help="steps that refine the choice of codes: 0 is fastest, 8 saves another half percent (default: 4, 0 beyond 8 Mpx)",
    )
    parser.add_argument("--keep-metadata", action="store_true", help="keep EXIF, XMP and the colour profile")
    parser.add_argument("--verify", action="store_true", help="decode each file and compare, before it is written")
    add_limit_option(parser)
    add_output_option(parser, "photo.pqm beside photo.jpg")
    add_folder_options(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run, fail=parser.error)


def _add_dial(parser: argparse.ArgumentParser) -> None:
    dial = parser.add_mutually_exclusive_group()
    dial.add_argument(
        "-q",
        "--quality",
        type=values.quality,
        metavar="0..100",
        help="0: smallest; under 20 coded at half the size where that does better; 100: best (default: 50)",
    )
    dial.add_argument("--size", type=values.byte_size, metavar="BYTES", help="a file of at most this size: 200, 2kB")
    dial.add_argument("--bpp", type=values.bpp, metavar="BITS", help="the same, as bits a pixel: 0.05")
    dial.add_argument("--psnr", type=values.psnr, metavar="DB", help="the smallest file that has this PSNR: 35")
    dial.add_argument("--msssim", type=values.msssim, metavar="S", help="the smallest file that has this MS-SSIM: 0.97")


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    wanted = Wanted(PICTURES, (".pqm",), args.recursive)
    jobs = pair(args.paths, args.output, wanted) or plan(args.paths, args.output, wanted)
    if not alone(jobs):
        args.fail("standard input and output go alone: name no other files beside -")
    for job in jobs:
        check_json(args, job.target)
    make_folders(jobs)
    if others := passed_over(args.paths, args.recursive):
        kinds = ", ".join(f"{count} {end}" for end, count in others.most_common())
        warn(f"pqmim: pictures of kinds that are not read are passed over: {kinds}")
    encoding = given(
        quality=args.quality,
        size=args.size,
        bpp=args.bpp,
        psnr=args.psnr,
        msssim=args.msssim,
        effort=args.effort,
        max_pixels=args.max_pixels,
        keep_metadata=args.keep_metadata or None,
        verify=args.verify or None,
    )
    options = Options(
        force=args.force,
        skip_existing=args.skip_existing,
        json=args.json,
        workers=args.jobs,
        manifest=manifest_of(args),
        settings=settings_of(args, {name: value for name, value in encoding.items() if name != "verify"}),
        label="compressing",
        refuse=refuse_files,
    )
    return Batch(jobs, options).run(Compressing(encoding, args.force), CodecOpener.of(args))


def refuse_files(job: Job) -> None:
    """Raises UnsupportedFile where the source is no picture, but a .pqm file."""
    if is_pqm(job.source):
        raise UnsupportedFile("a .pqm file already; `pqmim decompress` makes a picture of it", job.source)


def manifest_of(args: argparse.Namespace) -> str | None:
    """Where the list of a folder's files is kept: in the folder that they go to, once it is made; None without one."""
    if args.output in (None, STREAM) or not os.path.isdir(args.output):
        return None
    if not any(os.path.isdir(path) for path in args.paths):
        return None
    return os.path.join(args.output, NAME)


def settings_of(args: argparse.Namespace, options: dict[str, Any]) -> str:
    """What decides the results beside the sources, for the list of a folder's files; empty where none is kept.

    Raises:
        WeightsError: the weights cannot be read.
    """
    if manifest_of(args) is None:
        return ""
    decides = options | digests(args.weights, look=bool(getattr(args, "look", None)))
    return " ".join(f"{name}={value}" for name, value in decides.items())


@dataclass(frozen=True)
class Compressing:
    """One picture to one file.

    Attributes:
        options: arguments of `Codec.encode`.
        force: an existing file is replaced.
    """

    options: dict[str, Any]
    force: bool

    def __call__(self, codec: "Codec", job: Job) -> Outcome:
        """Do it to one file."""
        source = read(job.source, self.options.get("max_pixels")) if job.source == STREAM else job.source
        try:
            encoded = codec.encode(source, **self.options)
        except ValueError as error:  # no room for a header
            raise error if isinstance(error, PqmimError) else PqmimError(str(error), job.source) from error
        write(job, encoded.data, self.force)
        readable = job.target != STREAM and not is_device(job.target)
        if "verify" in self.options and readable and read(job.target) != encoded.data:
            raise OutputError("what was written does not read back", job.target)
        count, bpp = len(encoded.data), encoded.bpp
        facts = {
            "width": encoded.width,
            "height": encoded.height,
            "quality": encoded.quality,
            "bytes": count,
            "bpp": bpp,
            "sha256": hashlib.sha256(encoded.data).hexdigest(),
        }
        line = None if job.target == STREAM else f"{job.target}: {count:,} bytes, {bpp:.3f} bpp"
        return Outcome(line, facts, encoded.notes)

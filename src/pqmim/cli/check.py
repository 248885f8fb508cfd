"""`pqmim check`: whether a .pqm file is whole, and a digest of what it says."""

import argparse
import hashlib
from typing import TYPE_CHECKING, Any

from pqmim.bitstream import container
from pqmim.cli.jobs import Job, Wanted, expand
from pqmim.cli.options import CodecOpener, add_codec_options, add_json_option, add_limit_option, add_verb, given
from pqmim.cli.streams import read_file
from pqmim.cli.work import Batch, Options, Outcome
from pqmim.errors import DamagedFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pqmim.codec import Codec

UNPROVEN = 3
"""Exit status where nothing is wrong, and some file carries nothing to prove it by."""

DETAILS = """\
Decodes the codes and compares them with the file's check. The digest is the start of the codes'
SHA-256, one byte a code, sub-quantizer by sub-quantizer and row by row: the same file gives the
same digest on every machine.

exit status:
  0  every file is whole, and its check proves it
  1  a file is damaged, cut, or cannot be read
  3  nothing is wrong, but a file is bare and without a check (made to a small size)

examples:
  pqmim check photo.pqm
  pqmim check -r small/ && echo all well
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "check",
        summary="decode the codes of .pqm files and verify them",
        usage="pqmim check [options] PHOTO.pqm|FOLDER ...",
        details=DETAILS,
    )
    parser.add_argument("paths", nargs="+", metavar="PHOTO.pqm", help="a .pqm file, a folder of them, or -")
    parser.add_argument("-r", "--recursive", action="store_true", help="folders with all that is below them")
    add_limit_option(parser)
    add_json_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    jobs = [Job(path) for path, _ in expand(args.paths, Wanted((".pqm",), (), args.recursive))]
    options = given(max_pixels=args.max_pixels)

    def check(codec: "Codec", job: Job) -> Outcome:
        data = read_file(job.source)
        received, intact = codec.receive(data, **options), container.read(data).intact
        codes = received.codes.reshape(-1, *received.shape)
        facts = {"verified": received.verified, "codes": list(codes.shape), "digest": digest(codes)}
        words = f"{'x'.join(map(str, codes.shape))} codes, digest {facts['digest']}"
        if received.verified or (intact and not received.header.framed):
            return Outcome(f"{job.source}: good, {words}", facts)
        if received.header.framed:
            raise DamagedFile("the file was cut short, so it carries no check to verify")
        if intact is False:
            raise DamagedFile("the file is cut or damaged: its bytes do not match its check")
        line = f"{job.source}: bare, so nothing proves it whole; {received.share:.0%} of {words}"
        return Outcome(line, facts, status=UNPROVEN)

    return Batch(jobs, Options(json=args.json, label="checking")).run(check, CodecOpener.of(args))


def digest(codes: "NDArray[np.uint8]") -> str:
    """The first 16 hexadecimal digits of the SHA-256 of codes (M, h, w) uint8, in this order."""
    return hashlib.sha256(codes.tobytes()).hexdigest()[:16]

"""`pqmim check`: whether a .pqm file is whole, and a digest of what it says."""

import argparse
import hashlib
from typing import TYPE_CHECKING, Any

from pqmim.cli.jobs import Batch, Job, expand, read
from pqmim.cli.options import add_codec_options, add_verb, open_codec

if TYPE_CHECKING:
    import numpy as np

DETAILS = """\
Decodes the codes and compares them with the file's check. The digest is the start of the codes'
SHA-256, one byte a code, sub-quantizer by sub-quantizer and row by row: the same file gives the
same digest on every machine.

examples:
  pqmim check photo.pqm
  pqmim check small/ && echo all well
"""


def add_to(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "check",
        summary="decode the codes of .pqm files and verify them",
        usage="pqmim check [options] PHOTO.pqm|FOLDER ...",
        details=DETAILS,
    )
    parser.add_argument("paths", nargs="+", metavar="PHOTO.pqm", help="a .pqm file, or - for standard input")
    add_codec_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    batch = Batch([Job(path) for path in expand(args.paths, (".pqm",))])
    codec = open_codec(args)

    def work(job: Job) -> str:
        codes = codec.codes(read(job.source))
        return f"{job.source}: good, {'x'.join(map(str, codes.shape))} codes, digest {digest(codes)}"

    return batch.run(work)


def digest(codes: "np.ndarray") -> str:
    """The first 16 hexadecimal digits of the SHA-256 of codes (M, h, w) uint8, in this order."""
    return hashlib.sha256(codes.tobytes()).hexdigest()[:16]

"""The command line: one thin file a verb, which imports what it needs when it runs, so that help and info are quick."""

import argparse
import os
import sys
from collections.abc import Sequence

from pqmim import __version__
from pqmim.cli import check, compress, decompress, evaluate, generate, info, preview, report, train
from pqmim.cli.messages import USER_ERRORS, complain

VERBS = (compress, decompress, info, check, preview, generate, evaluate, report, train)

EXAMPLES = """\
examples:
  pqmim compress photo.jpg              photo.pqm beside it, at quality 50
  pqmim decompress photo.pqm            and a picture again: photo.png
  pqmim compress holiday/ -o small/     every picture of a folder
  pqmim info photo.pqm                  what a file is, without decoding it

`pqmim VERB --help` tells more of each verb.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0; 1 after an error, told in one sentence; 130 if interrupted.

    Usage errors leave through argparse, with status 2.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.run is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails to flush at its exit
        return 1
    except USER_ERRORS as error:
        complain(error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pqmim",
        description="Compress photos with a learned codec.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"pqmim {__version__}")
    parser.set_defaults(run=None)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    for verb in VERBS:
        verb.add_to(verbs)
    return parser

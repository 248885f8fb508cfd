"""Options that several verbs share, and what they open."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pqmim.bitstream.errors import PqmimError

if TYPE_CHECKING:
    from pqmim.codec import Codec


def add_verb(verbs: Any, name: str, *, summary: str, usage: str, details: str) -> argparse.ArgumentParser:
    """A verb whose help reads: usage, summary, options, details as they stand."""
    return verbs.add_parser(
        name,
        help=summary,
        usage=usage,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="DIR", help="folder to write into, made if it does not exist")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")


def add_codec_options(parser: argparse.ArgumentParser) -> None:
    add_device_option(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: one a core)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="other weights than those in the package")


def check_device(device: str) -> None:
    """Raises PqmimError where torch has no such device here."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise PqmimError("--device cuda: torch finds no CUDA device here, so use --device cpu.")


def open_codec(args: argparse.Namespace) -> "Codec":
    check_device(args.device)
    from pqmim.codec import Codec

    return Codec(args.weights, device=args.device, threads=args.threads)


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


@contextmanager
def extra_packages(extra: str) -> Iterator[None]:
    """Says how to install what is missing, for work that needs an extra of the package."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"This needs a package that is not installed ({error.name}): pip install 'pqmim[{extra}]'."
        raise PqmimError(message) from error

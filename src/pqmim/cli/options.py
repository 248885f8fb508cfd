"""Options that several verbs share, and what they open."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pqmim.errors import BadArgument, MissingPackage

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


def add_completion_options(parser: argparse.ArgumentParser) -> None:
    """How to fill in what a file leaves out."""
    parser.add_argument(
        "--complete",
        choices=("expect", "sample", "none"),
        default="expect",
        help="what a cut file leaves out: expected (least error, the default), drawn (most alive), or not filled in",
    )
    add_sampling_options(parser, variants=False)


def add_sampling_options(parser: argparse.ArgumentParser, *, variants: bool = True) -> None:
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of what is drawn (default: 0)")
    parser.add_argument(
        "--temperature", type=_temperature, metavar="T", help="less: plainer (default: 1, or 0.25 to complete)"
    )
    parser.add_argument(
        "--order",
        type=positive,
        metavar="STEPS",
        help="draw the surest codes first, in so many steps a group; default: in the order of a file",
    )
    if variants:
        parser.add_argument("--variants", type=positive, default=1, metavar="K", help="several drawings, seed by seed")


def sampling(args: argparse.Namespace, variant: int = 0) -> dict[str, Any]:
    """Arguments of the codec for the options above."""
    chosen = {"temperature": args.temperature} if args.temperature else {}
    return {"seed": args.seed + variant, "steps": args.order} | chosen


def completion(args: argparse.Namespace, variant: int = 0) -> dict[str, Any]:
    return {"complete": args.complete, **sampling(args, variant)}


def numbered(target: str, count: int) -> list[str]:
    """The target, or as many as asked for with -1, -2 ... before the ending."""
    if count == 1:
        return [target]
    stem, ending = os.path.splitext(target)
    return [f"{stem}-{number}{ending}" for number in range(1, count + 1)]


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 on")
    return int(text)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 16:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and at most 16")
    return value


def check_device(device: str) -> None:
    """Raises PqmimError where torch has no such device here."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BadArgument("torch finds no CUDA device here, so use --device cpu", "--device cuda")


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
        message = f"this needs a package that is not installed ({error.name}): pip install 'pqmim[{extra}]'"
        raise MissingPackage(message) from error

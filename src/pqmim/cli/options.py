"""Options that several verbs share, and what they open."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pqmim.cli import values
from pqmim.cli.jobs import STREAM
from pqmim.errors import BadArgument, MissingPackage

if TYPE_CHECKING:
    from pqmim.codec import Codec


def add_verb(verbs: Any, name: str, *, summary: str, usage: str, details: str) -> argparse.ArgumentParser:
    """A verb whose help reads: usage, summary, options, details as they stand."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        usage=usage,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_output_option(parser: argparse.ArgumentParser, default: str) -> None:
    """Where the result goes; `default` says where it goes without this option."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        help=f"the file to write, or a folder, made if it does not exist (default: {default})",
    )
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Results for programs."""
    parser.add_argument("--json", action="store_true", help="for programs: JSON objects, one a line")


def check_json(args: argparse.Namespace, output: str | None) -> None:
    """A usage error where both --json and a file would go to standard output."""
    if args.json and output == STREAM:
        args.fail("--json and the file cannot both go to standard output")


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """Options of verbs that go through folders."""
    parser.add_argument("-r", "--recursive", action="store_true", help="folders with all that is below them")
    parser.add_argument("--skip-existing", action="store_true", help="leave out files whose outputs exist")
    parser.add_argument(
        "--jobs", type=values.positive, default=1, metavar="N", help="processes of one thread each (default: 1)"
    )
    add_json_option(parser)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Where networks run."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")


def add_codec_options(parser: argparse.ArgumentParser) -> None:
    """What `open_codec` needs to know."""
    add_device_option(parser)
    parser.add_argument(
        "--threads",
        type=values.positive,
        metavar="N",
        help="most CPU threads (default: as many as processors are free; 1 with several --jobs)",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="other weights than those in the package")


def add_limit_option(parser: argparse.ArgumentParser) -> None:
    """How large a picture may be."""
    parser.add_argument("--max-pixels", type=values.pixels, metavar="N", help="refuse larger pictures: 12M")


def add_look_options(parser: argparse.ArgumentParser) -> None:
    """How a decoded picture shall look."""
    parser.add_argument(
        "--look",
        type=values.look,
        metavar="LOOK",
        help="faithful (least error, the default), vivid (sharper, partly invented), or a number from 0 to 1",
    )


def add_completion_options(parser: argparse.ArgumentParser) -> None:
    """How to fill in what a file leaves out."""
    parser.add_argument(
        "--complete",
        choices=("expect", "sample", "none"),
        default="expect",
        help="what a cut file leaves out: expected (least error, the default), drawn (most alive), or not filled in",
    )
    add_sampling_options(parser)


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """How codes are drawn."""
    parser.add_argument(
        "--seed", type=values.seed, default=0, metavar="N", help="picks one of many drawings (default: 0)"
    )
    parser.add_argument(
        "--temperature", type=values.temperature, metavar="T", help="less: plainer (default: 1, or 0.5 to complete)"
    )
    parser.add_argument(
        "--order",
        type=values.positive,
        metavar="STEPS",
        help="draw the surest codes first, in that many steps a group; default: in an order made for it",
    )


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the codec for what is drawn; the seed is that of the first drawing."""
    return given(seed=args.seed, temperature=args.temperature, steps=args.order)


def rendering(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `Codec.render` for the options of completion and look."""
    return given(complete=args.complete, look=args.look) | sampling(args)


def given(**options: Any) -> dict[str, Any]:
    """The options that the user gave: the codec knows the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}


def check_completion(args: argparse.Namespace) -> None:
    """A usage error where an option would change nothing, since nothing is drawn."""
    for name, value in (("--temperature", args.temperature), ("--order", args.order)):
        if value is not None and args.complete != "sample":
            args.fail(f"{name} needs --complete sample")


def digests(weights: Path | None, look: bool) -> dict[str, str]:
    """What names the weights that results depend on, whatever their files are called.

    Args:
        weights: the file of a release; None: the packaged one.
        look: whether its vivid look draws, too.

    Raises:
        WeightsError: the release cannot be read.
    """
    from pqmim import looks, release

    found = release.load(weights)
    names = {"weights": found.digest[:16]}
    own = looks.find(found.part("synthesis"), found.digest_of("synthesis")) if look else None
    return names if own is None else names | {"vivid": own.digest[:16]}


def check_device(device: str) -> None:
    """Raises BadArgument where torch has no such device here."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BadArgument("torch finds no CUDA device here, so use --device cpu", "--device cuda")


@dataclass(frozen=True)
class CodecOpener:
    """Opens the codec that the options ask for; goes to other processes."""

    weights: Path | None
    device: str
    threads: int | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> "CodecOpener":
        """The opener for the options of `add_codec_options`; processes have one thread each unless told otherwise."""
        check_device(args.device)
        return cls(args.weights, args.device, args.threads or (1 if getattr(args, "jobs", 1) > 1 else None))

    def __call__(self) -> "Codec":
        """Open it."""
        from pqmim.codec import Codec

        return Codec(self.weights, device=self.device, threads=self.threads)


def open_codec(args: argparse.Namespace) -> "Codec":
    """The codec that the options of `add_codec_options` ask for."""
    return CodecOpener.of(args)()


@contextmanager
def extra_packages(extra: str) -> Iterator[None]:
    """Says how to install what is missing, for work that needs an extra of the package."""
    try:
        yield
    except ModuleNotFoundError as error:
        way = f"pip install '.[{extra}]' in a clone of pqmim"
        message = f"this needs a package that is not installed ({error.name}): {way}"
        raise MissingPackage(message) from error

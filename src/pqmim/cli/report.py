"""`pqmim report`: a page with plots and tables from the results of `pqmim evaluate`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pqmim.cli.messages import is_terminal, warn
from pqmim.cli.options import add_codec_options, add_json_option, add_verb, extra_packages, open_codec
from pqmim.cli.work import tell

if TYPE_CHECKING:
    from pqmim.evaluation.report.crops import Example

DETAILS = """\
Reads every JSON file under DIR that `pqmim evaluate --json` wrote, and published curves of the same
data sets; other JSON files are passed over. Writes index.html and its plots, which need nothing
else. With --photos, the page also shows parts of some photos of a folder, as JPEG, WebP, AVIF and
pqmim give them back at equal bytes; --weights, --device and --threads are for these.

examples:
  pqmim report results/ -o report/
  pqmim report results/ -o report/ --photos kodak/ --force
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "report",
        summary="make a page of plots and tables from results",
        usage="pqmim report DIR -o DIR [--photos DIR] [options]",
        details=DETAILS,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of results")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write the page into")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="a folder of photos to show side by side")
    parser.add_argument("--force", action="store_true", help="write into a folder that is not empty")
    add_json_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    with extra_packages("eval"):
        from pqmim.evaluation.report.build import check_folder, collect, render, write_report

        check_folder(args.output, args.force)
        evaluations = collect(args.folder)
        content = render(evaluations, [] if args.photos is None else _examples(args))
        write_report(content, args.output, args.force)
    names = [evaluation.name for evaluation in evaluations]
    tell(args, f"{args.output / 'index.html'}: {', '.join(names)}", {"output": str(args.output), "results": names})
    return 0


def _examples(args: argparse.Namespace) -> "list[Example]":
    from pqmim.evaluation.codecs import MissingCodec, make_codec
    from pqmim.evaluation.report.crops import examples

    others = []
    for name in ("jpeg", "webp", "avif"):
        try:
            others.append(make_codec(name, threads=args.threads))
        except MissingCodec as error:  # the page does without it
            warn(f"pqmim: {error}")
    return examples(args.photos, open_codec(args), others, progress=is_terminal(sys.stderr))

"""`pqmim export`: the decoder's networks for other runtimes."""

import argparse
import os
import warnings
from typing import Any

from pqmim.cli.messages import waiting
from pqmim.cli.options import add_json_option, add_verb, extra_packages
from pqmim.cli.work import tell
from pqmim.errors import OutputError

DETAILS = """\
Writes prior.onnx, the transformer of the prior, and synthesis.onnx, latents to pixels, into a
folder. Then runs both in ONNX Runtime: the prior has to give NumPy's numbers, every one, and the
pixels may differ by 1. Takes a minute or more.

examples:
  pqmim export onnx graphs/
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "export",
        summary="write the decoder's networks for other runtimes",
        usage="pqmim export onnx FOLDER [options]",
        details=DETAILS,
    )
    parser.add_argument("form", choices=("onnx",), help="the runtime's form")
    parser.add_argument("folder", metavar="FOLDER", help="to write into, made if it does not exist")
    parser.add_argument("--weights", metavar="FILE", help="other weights than those in the package")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    for name in ("prior.onnx", "synthesis.onnx"):
        target = os.path.join(args.folder, name)
        if os.path.exists(target) and not args.force:
            raise OutputError("exists already: choose another folder, or overwrite it with --force", target)
    os.makedirs(args.folder, exist_ok=True)
    with extra_packages("onnx"), waiting("exporting"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        import onnx  # noqa: F401 - says at once what is missing
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        from pqmim.onnx import export
        from pqmim.release import load

        paths = export(load(args.weights), args.folder)
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    words = ", ".join(f"{path} ({sizes[name] / 1e6:.1f} MB)" for name, path in paths.items())
    facts = {"files": {name: str(path) for name, path in paths.items()}, "bytes": sizes, "exact": True}
    tell(args, f"{words}: exact in ONNX Runtime here", facts)
    return 0

"""`pqmim info`: what a .pqm file says of itself, without decoding it."""

import argparse
from typing import Any

from pqmim.cli.jobs import Job, Wanted, expand
from pqmim.cli.options import add_json_option, add_verb
from pqmim.cli.streams import read_file
from pqmim.cli.work import Batch, Options, Outcome

DETAILS = """\
Reads the file and compares its bytes with their check. It decodes no codes, so it needs neither
weights nor torch; `pqmim check` proves the codes, too.

examples:
  pqmim info photo.pqm
  pqmim info -r small/ --json      one object a file, one a line
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "info",
        summary="tell what .pqm files are, without decoding them",
        usage="pqmim info [options] PHOTO.pqm|FOLDER ...",
        details=DETAILS,
    )
    parser.add_argument("paths", nargs="+", metavar="PHOTO.pqm", help="a .pqm file, a folder of them, or -")
    parser.add_argument("-r", "--recursive", action="store_true", help="folders with all that is below them")
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    jobs = [Job(path) for path, _ in expand(args.paths, Wanted((".pqm",), (), args.recursive))]
    return Batch(jobs, Options(json=args.json)).run(describe, lambda: None)


def describe(codec: None, job: Job) -> Outcome:
    """What one file says of itself."""
    from pqmim.bitstream.describe import describe

    facts = describe(read_file(job.source))
    return Outcome(_sheet(job.source, facts), facts)


def _sheet(name: str, facts: dict[str, Any]) -> str:
    chunks = "".join(f", {chunk} {size:,}" for chunk, size in facts["chunks"].items())
    scale = f", coded at 1/{2 ** facts['scale']} of its size" if facts["scale"] else ""
    kind = "" if facts["kind"] == "colour" else f", {facts['kind']}"
    return (
        f"{name}\n"
        f"  picture  {facts['width']}x{facts['height']}, quality {facts['quality']}{scale}{kind}\n"
        f"  size     {facts['bytes']:,} bytes, {facts['bpp']:.3f} bpp\n"
        f"  parts    header {facts['header_bytes']}, codes {facts['payload_bytes']:,}{chunks}, "
        f"framing {facts['framing_bytes']}\n"
        f"  state    {_state(facts)}\n"
        f"  needs    format version {facts['version']}, weights {facts['weights']}"
    )


def _state(facts: dict[str, Any]) -> str:
    if facts["state"] == "bare" and facts["intact"] is None:
        return "bare: without a check, or a length that tells whether it was cut"
    if facts["state"] == "bare":
        return "bare: its check holds"
    if facts["state"] == "damaged":
        return "damaged: its check fails" if facts["payload_share"] is not None else "cut or damaged: its check fails"
    if facts["state"] == "cut" and facts["payload_share"] is not None:
        return f"cut: {facts['payload_share']:.0%} of the codes' bytes are there"
    return str(facts["state"])

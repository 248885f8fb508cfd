"""`pqmim info`: what a .pqm file says of itself, without decoding it."""

import argparse
import json
from typing import Any

from pqmim.cli.jobs import Batch, Job, expand, read
from pqmim.cli.options import add_verb

DETAILS = """\
Reads no more than the file's frame, so it needs neither weights nor torch.

examples:
  pqmim info photo.pqm
  pqmim info small/ --json      one object a file, one a line
"""


def add_to(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "info",
        summary="tell what .pqm files are, without decoding them",
        usage="pqmim info [--json] PHOTO.pqm|FOLDER ...",
        details=DETAILS,
    )
    parser.add_argument("paths", nargs="+", metavar="PHOTO.pqm", help="a .pqm file, or - for standard input")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object a file, one a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pqmim.bitstream.describe import describe

    def work(job: Job) -> str:
        facts = describe(read(job.source))
        return json.dumps({"file": job.source, **facts}) if args.json else _sheet(job.source, facts)

    return Batch([Job(path) for path in expand(args.paths, (".pqm",))]).run(work)


def _sheet(name: str, facts: dict[str, Any]) -> str:
    chunks = "".join(f", {chunk} {size:,}" for chunk, size in facts["chunks"].items())
    scale = f", coded at 1/{2 ** facts['scale']} of its size" if facts["scale"] else ""
    return (
        f"{name}\n"
        f"  picture  {facts['width']}x{facts['height']}, quality {facts['quality']}{scale}\n"
        f"  size     {facts['bytes']:,} bytes, {facts['bpp']:.3f} bpp\n"
        f"  parts    header {facts['header_bytes']}, codes {facts['payload_bytes']:,}{chunks}, "
        f"framing {facts['framing_bytes']}\n"
        f"  state    {_state(facts)}\n"
        f"  needs    format version {facts['version']}, weights {facts['weights']}"
    )


def _state(facts: dict[str, Any]) -> str:
    if facts["state"] == "bare":
        return "bare: without a check, or a length that tells whether it was cut"
    if facts["state"] == "cut" and facts["payload_share"] is not None:
        return f"cut: {facts['payload_share']:.0%} of the codes' bytes are there"
    return facts["state"]

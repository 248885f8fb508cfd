"""`pqmim doctor`: what this machine makes of the codec."""

import argparse
import json
from typing import Any

from pqmim.cli.options import CodecOpener, add_codec_options, add_json_option, add_verb

DETAILS = """\
Tells which arithmetic was chosen for each heavy part and why, whether it is exact, and how fast
pictures go each way. Please put it into bug reports.

exit status:
  0  every test passes
  1  a test fails: files may be wrong on this machine
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "doctor",
        summary="tell how the codec works on this machine, and test it",
        usage="pqmim doctor [options]",
        details=DETAILS,
    )
    parser.add_argument("--quick", action="store_true", help="do not measure speed")
    add_json_option(parser)
    add_codec_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    from pqmim.doctor import examine

    facts = examine(CodecOpener.of(args)(), speed=not args.quick)
    print(json.dumps(facts) if args.json else sheet(facts))
    return 0 if facts["healthy"] else 1


def sheet(facts: dict[str, Any]) -> str:
    """The facts on one screen."""
    versions, processor, native, prior = (facts[name] for name in ("versions", "processor", "native", "prior"))
    names = [f"{name} {version}" for name, version in versions.items() if name not in ("pqmim", "system")]
    lines = [
        f"pqmim {versions['pqmim']}, weights {facts['weights']}",
        f"  with       {', '.join(names)}",
        f"  on         {versions['system']}",
        f"  processor  {processor['name']}: {', '.join(processor['features']) or processor['machine']}",
        f"             {processor['count']} processors, {processor['free']} of them free now",
        f"  library    {native['library'] or 'none: ' + native['why']}",
        f"  prior      {prior['form']}{', ' + prior['level'] if prior['level'] else ''}: {prior['why']}",
        f"  encoder    {facts['encoder']['form'] or 'none'}: {facts['encoder']['why']}",
        f"  products   torch: {facts['products']['torch'] or 'none'}: {facts['products']['why']}",
        "  tests",
    ]
    lines += [f"    {_verdict(verdict):6} {name}{_why(verdict)}" for name, verdict in facts["tests"].items()]
    for way in ("compress", "decompress"):
        if way in (speed := facts.get("speed", {})):
            lines.append(
                f"  {way:10} {speed[way]:.2f} megapixels a second, {speed[f'{way}_cpu']:.2f} a second of one processor, "
                "at quality 50"
            )
    if "why" in facts.get("speed", {}):
        lines.append(f"  speed      {facts['speed']['why']}")
    lines.append("All is well." if facts["healthy"] else "A test fails: files may be wrong on this machine.")
    return "\n".join(lines)


def _verdict(verdict: bool | str) -> str:
    return {True: "passed", False: "FAILED"}[verdict] if isinstance(verdict, bool) else "-"


def _why(verdict: bool | str) -> str:
    return f" ({verdict})" if isinstance(verdict, str) else ""

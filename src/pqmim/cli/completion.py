"""`pqmim completion`: completes verbs and options in a shell."""

import argparse
from typing import Any

from pqmim.cli.messages import say
from pqmim.cli.options import add_verb, extra_packages

SHELLS = ("bash", "zsh", "tcsh")

DETAILS = """\
Prints the script that a shell needs to complete verbs, options and names of files.

examples:
  pqmim completion bash > ~/.local/share/bash-completion/completions/pqmim
  pqmim completion zsh > ~/.zfunc/_pqmim
"""


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = add_verb(
        verbs,
        "completion",
        summary="print what a shell needs to complete words",
        usage="pqmim completion bash|zsh|tcsh",
        details=DETAILS,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what the words ask for; returns the exit status."""
    with extra_packages("complete"):
        import shtab
    from pqmim.cli.parser import build  # which imports this file

    say(shtab.complete(build(), shell=args.shell).rstrip("\n"))
    return 0

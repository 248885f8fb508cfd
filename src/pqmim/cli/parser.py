"""Words to options: the parser of all verbs, options anywhere, and the verb itself where the names make it plain."""

import argparse
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence

from pqmim import __version__
from pqmim.cli import (
    check,
    completion,
    compress,
    decompress,
    doctor,
    evaluate,
    export,
    generate,
    info,
    packets,
    preview,
    qr,
    report,
    serve,
    text,
    train,
    view,
)
from pqmim.cli.jobs import STREAM, is_pqm
from pqmim.image.endings import PICTURES

VERBS = (
    *(compress, decompress, info, check, view, preview, generate),
    *(qr, text, packets, serve),
    *(doctor, evaluate, report, train, export, completion),
)

INFERRED = ("compress", "decompress", "info")

EXAMPLES = """\
examples:
  pqmim photo.jpg small.pqm             compress, at quality 50
  pqmim small.pqm photo.png             and a picture again
  pqmim small.pqm                       what a file is, without decoding it
  pqmim compress photo.jpg -q 20        photo.pqm beside it; options stand anywhere
  pqmim compress -r holiday/ -o small/  every picture of a tree

`pqmim VERB --help` tells more of each verb.
"""


def build() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="pqmim",
        usage="pqmim PHOTO PHOTO.pqm | PHOTO.pqm PHOTO | PHOTO.pqm\n       pqmim VERB [options] ...",
        description="Compress photos with a learned codec.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"pqmim {__version__}")
    parser.set_defaults(run=None)
    verbs = parser.add_subparsers(prog="pqmim", metavar="VERB", title="verbs")
    for verb in VERBS:
        verb.add_to(verbs)
    parser.set_defaults(verbs=verbs.choices)
    return parser


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The options of a command. Usage errors, help and version leave through `SystemExit`.

    Args:
        parser: what `build` made.
        words: the command without its name.
    """
    verbs: Mapping[str, argparse.ArgumentParser] = parser.get_default("verbs")
    words = _names_after_dashes(words)
    if not words or words[0] in ("-h", "--help", "-V", "--version"):
        return parser.parse_args(words)
    if words[0] in verbs:
        verb, words = words[0], words[1:]
    else:
        verb = inferred(words, verbs) or _no_verb(parser, words[0], verbs)
    return verbs[verb].parse_intermixed_args(words)


def _names_after_dashes(words: Sequence[str]) -> Sequence[str]:
    """The words without `--`, after which a name that begins with a dash is a name, as in `./-q.png`."""
    if "--" not in words:
        return words
    at = list(words).index("--")
    after = [os.path.join(".", word) if word.startswith("-") and word != STREAM else word for word in words[at + 1 :]]
    return [*words[:at], *after]


def inferred(words: Sequence[str], verbs: Mapping[str, argparse.ArgumentParser]) -> str | None:
    """The verb that names of files stand for: compress, decompress or info; None where they are not plain."""
    names = [word for word in _without_values(words, verbs) if _looks_like_a_file(word)]
    if not names or not (words[0].startswith("-") or words[0] == names[0]):
        return None
    if not is_pqm(names[0]):
        return "compress" if names[0] != STREAM or len(names) > 1 and is_pqm(names[1]) else None
    asked = any(word == "-o" or word.startswith("--output") for word in words)
    return "decompress" if asked or len(names) > 1 and not is_pqm(names[1]) else "info"


def _without_values(words: Sequence[str], verbs: Mapping[str, argparse.ArgumentParser]) -> Iterator[str]:
    """The words but those that belong to an option before them: the output is no name that a verb follows from."""
    actions = [action for name in INFERRED for action in verbs[name]._actions]  # argparse has no public list of them
    options = [option for action in actions if action.nargs != 0 for option in action.option_strings]
    is_value = False
    for word in words:
        if not is_value:
            yield word
        shortened = len(word) > 2 and word.startswith("--") and any(option.startswith(word) for option in options)
        is_value = not is_value and (word in options or shortened)


def _looks_like_a_file(word: str) -> bool:
    if word == STREAM:
        return True
    return not word.startswith("-") and (
        word.lower().endswith((".pqm", *PICTURES)) or (not word.isdecimal() and os.path.exists(word))
    )


def _no_verb(parser: argparse.ArgumentParser, word: str, verbs: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(word, verbs, 1)
    hint = f"did you mean `pqmim {near[0]}`?" if near else f"the verbs are {', '.join(verbs)}"
    parser.error(f"{word!r} is neither a verb nor a file that is there: {hint}")

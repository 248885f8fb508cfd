"""Fuzz for some minutes: `make fuzz MINUTES=10`, or `python -m fuzz --minutes 10 picture alpha`.

By number: `python -m fuzz --count 1000000 info container` changes the starts by chance alone, from a seed, and writes
what became of the inputs, and what they cost, to results/fuzz.json.

Where atheris is installed, libFuzzer chooses inputs by the branches that they reach, and keeps what reaches new ones
for the time of the run; elsewhere Hypothesis changes the starts of the corpus, and shrinks what fails. An input that
breaks a target is written to fuzz/found/; put it into fuzz/corpus/TARGET/ once it is mended.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings

from fuzz.corpus import FOLDER, FOUND, keep, starts
from fuzz.mutate import changed
from fuzz.targets import TARGETS, attempt

EXAMPLES = 500
RESULTS = Path("results/fuzz.json")


def by_hypothesis(name: str, seconds: float) -> int:
    """Rounds of examples, each with another seed, until the time is up; the number of examples."""
    target, start, last = TARGETS[name], time.monotonic(), b""
    tried = number = 0
    while time.monotonic() - start < seconds:

        @seed(number)
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(changed(starts(name)))
        def examples(data: bytes) -> None:
            nonlocal last, tried
            if time.monotonic() - start < seconds:
                last, tried = data, tried + 1
                attempt(target, data)

        try:
            examples()
        except BaseException:
            keep(name, last)
            raise
        number += 1
    return tried


def by_atheris(name: str, seconds: float, grow: bool) -> None:
    """Guided by coverage, in a corpus that may grow; does not come back."""
    import atheris

    with atheris.instrument_imports(include=["pqmim.bitstream", "pqmim.image", "pqmim.integrations", "pqmim.decoder"]):
        for module in [module for module in sys.modules if module.startswith(("pqmim", "fuzz.targets"))]:
            del sys.modules[module]
        from fuzz.targets import TARGETS, attempt

    def once(data: bytes) -> None:
        attempt(TARGETS[name], data)

    once(starts(name)[0])  # what is made once is not to count as slow
    with tempfile.TemporaryDirectory() as temporary:
        for data in starts(name):
            (Path(temporary) / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        FOUND.mkdir(exist_ok=True)
        folders, most = [temporary], 4096
        if grow:  # what reaches new branches goes into the first folder, in inputs that stay small
            (FOLDER / name).mkdir(parents=True, exist_ok=True)
            folders, most = [str(FOLDER / name), temporary], 300
        limits = [f"-max_total_time={seconds:.0f}", f"-max_len={most}", "-timeout=30"]
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={FOUND}/{name}-", *folders], once)
        atheris.Fuzz()


def main() -> int:
    """Fuzz as the command line says; the exit status is 1 where a target breaks."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: all")
    parser.add_argument("--minutes", type=float, default=10, help="for all targets together")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), help="default: atheris where it is installed")
    parser.add_argument("--grow", action="store_true", help="keep what reaches new branches in fuzz/corpus (atheris)")
    parser.add_argument("--count", type=int, metavar="N", help="so many inputs of each target, whatever time they take")
    parser.add_argument("--seed", type=int, default=0, help="of --count")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="of --count; default: %(default)s")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of Pillow, over odd files
    names = args.targets or list(TARGETS)
    if args.count:
        return counted(names, args)
    engine = args.engine or ("atheris" if _has_atheris() else "hypothesis")
    seconds = 60 * args.minutes / len(names)
    broken = 0
    for name in names:
        if engine == "hypothesis":
            print(f"{name}: {by_hypothesis(name, seconds):,} inputs, none breaks it", flush=True)
        elif args.alone:
            by_atheris(name, seconds, args.grow)
        else:  # libFuzzer ends its process
            words = [name, "--minutes", str(seconds / 60), "--engine", "atheris", "--alone"]
            command = [sys.executable, "-m", "fuzz", *words, *(["--grow"] if args.grow else [])]
            broken += bool(subprocess.run(command, check=False).returncode)
    return int(broken > 0)


def counted(names: list[str], args: argparse.Namespace) -> int:
    """So many inputs of each target, in a process of its own; the exit status is 1 where one breaks."""
    from fuzz.count import by_count, record

    if args.alone:
        found = by_count(names[0], args.count, args.seed)
        record(args.json, names[0], found)
        print(f"{names[0]}: {json.dumps(found)}", flush=True)
        return int(found["accepted"] + found["refused"] < found["tried"])
    words = ["--count", str(args.count), "--seed", str(args.seed), "--json", str(args.json), "--alone"]
    commands = [[sys.executable, "-m", "fuzz", name, *words] for name in names]
    return max(subprocess.run(command, check=False).returncode != 0 for command in commands)


def _has_atheris() -> bool:
    from importlib.util import find_spec

    return find_spec("atheris") is not None


if __name__ == "__main__":
    sys.exit(main())

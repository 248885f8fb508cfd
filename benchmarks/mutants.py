"""Tests of tests: how many small changes to the code do its tests notice?

    python benchmarks/mutants.py --count 40 --out results/mutants.json

A mutant is the code with one comparison, operator, number or condition changed. Each runs in a process of its own, with
the changed module in place of the real one; it is killed if a test fails or takes ten times as long. What survives is
listed: a gap in the tests, or a change that makes no difference. Tests that start processes see the real code there.
"""

import argparse
import ast
import importlib.abc
import importlib.util
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"

ROOMS = {
    "coding": (["pqmim/coding"], ["tests/coding", "tests/property/test_coding_properties.py"]),
    "bitstream": (["pqmim/bitstream"], ["tests/bitstream", "tests/property/test_bitstream_fuzz.py"]),
    "image": (["pqmim/image"], ["tests/image"]),
    "metrics": (
        ["pqmim/evaluation/metrics.py", "pqmim/evaluation/bdrate.py"],
        ["tests/evaluation/test_metrics.py", "tests/evaluation/test_bdrate.py"],
    ),
}
"""Files to change, and the tests that are to notice."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    path: Path
    line: int
    before: str
    after: str
    code: str

    @property
    def module(self) -> str:
        """Its name as it is imported."""
        return ".".join(self.path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def count(path: Path) -> int:
    """How many mutants a file has."""
    return len(list(_sites(ast.parse(path.read_text()))))


def mutant(path: Path, number: int) -> Mutant:
    """One mutant of a file, of those in order."""
    tree = ast.parse(path.read_text())
    node = list(_sites(tree))[number]
    before = ast.unparse(node)
    _change(node)
    return Mutant(path, node.lineno, before, ast.unparse(node), ast.unparse(ast.fix_missing_locations(tree)))


def _sites(tree: ast.AST) -> Iterator[ast.expr]:
    """Expressions that can be changed; no types, protocols among them, no decorators, no texts."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, ast.JoinedStr):
                continue
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):  # nothing in it runs
                continue
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and "Literal" in ast.unparse(node):
                continue
            if isinstance(node, ast.expr) and _changeable(node):
                yield node
            if not isinstance(node, ast.Raise):  # words of errors
                yield from _sites(node)


def _changeable(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (bool, int, float))
    if isinstance(node, ast.UnaryOp):
        return not isinstance(node.operand, ast.Constant)
    if isinstance(node, ast.Name):
        return node.id in NAMES and isinstance(node.ctx, ast.Load)
    return isinstance(node, (ast.Compare, ast.BinOp, ast.BoolOp))


def _change(node: ast.expr) -> None:
    if isinstance(node, ast.Constant):
        value = node.value
        node.value = (
            not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else 1.1 * value + 0.1
        )
    elif isinstance(node, ast.Compare):
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp):
        node.op = OPERATORS.get(type(node.op), ast.Add)()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if not isinstance(node.op, ast.Not) else ast.Not()
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Name):
        node.id = NAMES[node.id]


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the changed code for one module, and leaves all others to Python."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self.mutant.module:
            return None
        origin, package = str(self.mutant.path), self.mutant.path.name == "__init__.py"
        return importlib.util.spec_from_loader(name, self, origin=origin, is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self.mutant.path)
        exec(compile(self.mutant.code, str(self.mutant.path), "exec"), module.__dict__)  # noqa: S102 - our own code


def survives(mutant: Mutant | None, tests: Sequence[str], seconds: float) -> bool:
    """Whether the tests pass with the mutant, or with the code as it is, in that time."""
    child = os.fork()
    if not child:
        _run(mutant, tests)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run(mutant: Mutant | None, tests: Sequence[str]) -> None:
    """Run the tests in this process, which ends with them."""
    status = 1
    try:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        if mutant:
            sys.meta_path.insert(0, _Finder(mutant))
        import pytest

        arguments = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--no-header"]
        status = int(pytest.main([*arguments, "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests]))
    finally:
        os._exit(status)


def interval(killed: int, tried: int) -> list[float]:
    """Wilson's interval of 95 % for a share."""
    z, share = 1.96, killed / tried
    centre = (share + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried)) / (1 + z * z / tried)
    return [round(centre - half, 3), round(centre + half, 3)]


def measure(room: str, most: int, seed: int) -> dict[str, object]:
    """Kill what can be killed of `most` mutants of a room, drawn at random; all of them if it has no more."""
    places, tests = ROOMS[room]
    files = [file for place in places for file in ([SOURCE / place] if place.endswith(".py") else _files(place))]
    everything = [(file, i) for file in files for i in range(count(file))]
    chosen = [mutant(*place) for place in random.Random(seed).sample(everything, min(most, len(everything)))]
    start = time.monotonic()
    if not survives(None, tests, 600):
        sys.exit(f"the tests of {room} fail as they are")
    limit = 20 + 10 * (time.monotonic() - start)
    left = []
    for i, changed in enumerate(chosen):
        if survives(changed, _nearest_first(tests, changed), limit):
            left.append(f"{changed.path.relative_to(ROOT)}:{changed.line}: {changed.before} -> {changed.after}")
            print(f"survives: {left[-1]}", flush=True)
        print(f"{room}: {i + 1} of {len(chosen)}, {len(left)} survive", file=sys.stderr, flush=True)
    killed = len(chosen) - len(left)
    return {
        "mutants": len(everything),
        "tried": len(chosen),
        "killed": killed,
        "score": round(killed / len(chosen), 3),
        "interval": interval(killed, len(chosen)),
        "survivors": sorted(left),
    }


def _files(place: str) -> list[Path]:
    return sorted((SOURCE / place).rglob("*.py"))


def _nearest_first(tests: Sequence[str], mutant: Mutant) -> list[str]:
    """The test files, those named after the changed module first: they fail soonest, and the first failure is enough."""
    files = [file for place in tests for file in ([Path(place)] if place.endswith(".py") else Path(place).glob("*.py"))]
    named = [str(file) for file in sorted(files) if file.name.startswith("test_")]
    return sorted(named, key=lambda name: mutant.path.stem not in name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--count", type=int, default=40, help="mutants a room, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write; rooms that are not tried again stay")
    args = parser.parse_args()
    os.chdir(ROOT)
    for package in (
        "numpy",
        "PIL.ImageCms",
        "scipy.interpolate",
        "skimage.color",
        "hypothesis",
        "pytest",
    ):  # once, for all children
        importlib.import_module(package)
    found = json.loads(args.out.read_text())["rooms"] if args.out and args.out.exists() else {}
    for room in args.rooms:
        found[room] = measure(room, args.count, args.seed)
        if args.out:
            command = (
                f"python benchmarks/mutants.py --rooms {' '.join(args.rooms)} --count {args.count} --seed {args.seed}"
            )
            record = {"command": command, "seed": args.seed, "rooms": found}
            args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

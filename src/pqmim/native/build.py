"""Compiles the library: `python -m pqmim.native build`, and the build hook of wheels.

Every level of instructions is one compilation of `level.c` with that level's flags. A level that the compiler does not
know is left out. Nothing here needs more than the standard library, so that a build hook can load this file alone.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent
NAME = {"win32": "pqmim_native.dll", "darwin": "pqmim_native.dylib"}.get(sys.platform, "pqmim_native.so")
"""File name of the library in an installed package."""

COMMON = ("range_coder.c", "pool.c", "context.c", "library.c")
FLAGS = (
    "-std=gnu11 -O3 -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -pthread"
).split()
AVX512 = "-mavx512f -mavx512bw -mavx512vl -mavx512dq"
LEVELS = {
    "x86_64": {
        "scalar": "",
        "sse2": "-msse2",
        "avx2": "-mavx2",
        "avxvnni": "-mavx2 -mavxvnni",
        "avx512": AVX512,
        "avx512vnni": f"{AVX512} -mavx512vnni",
    },
    "aarch64": {"scalar": "", "neon": "", "neondot": "-march=armv8.2-a+dotprod"},
    "": {"scalar": ""},
}
"""Flags of the levels of each processor family, the slowest first."""


class BuildError(Exception):
    """There is no compiler, or it refuses the sources."""


def sources() -> list[Path]:
    """The C sources and headers, sorted by name."""
    return sorted([*FOLDER.glob("*.c"), *FOLDER.glob("*.h")])


def digest() -> str:
    """Hash of the sources and flags, which a library built from them reports."""
    found = hashlib.sha256(repr((FLAGS, LEVELS)).encode())
    for path in sources():
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def compiler() -> list[str]:
    """The command of the C compiler: that of the variable `CC`, or the first of cc, gcc and clang.

    Raises:
        BuildError: there is none.
    """
    if command := shlex.split(os.environ.get("CC", "")):
        if shutil.which(command[0]):
            return command
        raise BuildError(f"the compiler that CC names, {command[0]}, is not there")
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise BuildError("there is no C compiler: cc, gcc and clang are not there")


def build(target: Path) -> list[str]:
    """Compile the library.

    Args:
        target: file to write; whole or not at all.

    Returns:
        The levels that the library has.

    Raises:
        BuildError: there is no compiler, or it refuses the sources.
    """
    command = [*compiler(), *shlex.split(os.environ.get("ARCHFLAGS", ""))]
    with tempfile.TemporaryDirectory(prefix="pqmim-") as name:
        folder = Path(name)
        built = {
            level: folder / f"{level}.o"
            for level, flags in LEVELS[_family(command)].items()
            if _compiled(command, level, flags.split(), folder / f"{level}.o")
        }
        if not built:
            raise BuildError(f"the compiler {command[0]} refuses the sources")
        (folder / "levels.h").write_text("".join(f"LEVEL({level})\n" for level in built))
        defines = [f'-DPQMIM_SOURCE="{digest()}"', f"-I{folder}", *(f"-DHAVE_{level.upper()}" for level in built)]
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            common = [str(FOLDER / name) for name in COMMON]
            objects = [str(path) for path in built.values()]
            _run([*command, *FLAGS, *defines, "-shared", *common, *objects, "-o", str(part), "-lm"])
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return list(built)


def _family(command: Iterable[str]) -> str:
    """The processor family that the compiler makes code for."""
    words = list(command)
    machine = words[words.index("-arch") + 1] if "-arch" in words else _run([words[0], "-dumpmachine"]).split("-")[0]
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.strip(), machine.strip())
    return machine if machine in LEVELS else ""


def _compiled(command: list[str], level: str, flags: list[str], target: Path) -> bool:
    defines = [f"-DLEVEL_{level.upper()}", f"-DTABLE=level_{level}", f"-DTITLE={level}"]
    try:
        _run([*command, *FLAGS, *flags, *defines, "-c", str(FOLDER / "level.c"), "-o", str(target)])
    except BuildError:
        if not flags:
            raise
        return False
    return True


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        raise BuildError(f"the compiler {command[0]} does not run ({error.strerror})") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
        raise BuildError(f"the compiler {command[0]} failed: {lines[0] if lines else done.returncode}")
    if done.stderr.strip() and os.environ.get("PQMIM_BUILD_WARNINGS"):
        print(done.stderr, file=sys.stderr)
    return done.stdout

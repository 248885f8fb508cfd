"""What a measurement ran on, for the record of every file of results."""

import hashlib
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pqmim

# What decides how fast integer and bfloat16 products are, by the names that Linux gives them.
FEATURES = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "sve", "sve2"),
)
BESIDE = (
    "cli",
    "evaluation",
    "integrations",
    "onnx",
    "rivals",
    "training",
)  # packages that do not decide what the codec does
LIBRARIES = ("torch", "numpy", "pillow")


def machine(threads: int | None = None, **more: Any) -> dict[str, Any]:
    """The processor, its cores, the threads that the work may use, and further facts that the caller names.

    Args:
        threads: Threads of the measured work; None stands for all cores.
        **more: Further entries, such as `device`.

    Returns:
        {"cpu": model name, "features": those of `FEATURES` that are there, "cores", "threads", ...}.
    """
    cores = os.cpu_count() or 1
    return {"cpu": cpu_model(), "features": cpu_features(), "cores": cores, "threads": threads or cores, **more}


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    found = re.search(r"model name\s*:\s*(.+)", _cpuinfo())
    return found[1] if found else platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """Those of `FEATURES` that the system reports of its first processor; empty where it reports none."""
    found = re.search(r"(?:flags|Features)\s*:\s*(.+)", _cpuinfo())
    flags = set(found[1].split()) if found else set()
    return [name for name in FEATURES if name in flags]


def code_digest() -> str:
    """Sixteen hexadecimal digits of a hash of the sources that decide files and pictures."""
    folder, found = Path(pqmim.__file__).parent, hashlib.sha256()
    for path in sorted((*folder.rglob("*.py"), *folder.rglob("*.[ch]"))):
        name = path.relative_to(folder)
        if name.parts[0] not in BESIDE:
            found.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def versions(*libraries: str) -> dict[str, str]:
    """Versions of Python, pqmim, `LIBRARIES` and the libraries named, those that are installed."""
    found = {"python": platform.python_version(), "pqmim": pqmim.__version__}
    for name in (*LIBRARIES, *libraries):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""

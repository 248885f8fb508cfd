"""Tables of what was measured on several processors: speed, and whether all decode to the same codes."""

from collections.abc import Mapping, Sequence
from typing import Any

from table_parts import NAMES, OWN, markdown, result

WIDEST = {
    "amx_bf16": "AMX",
    "avx512f": "AVX-512",
    "avx2": "AVX2 alone",
}  # the first that a processor has names its kind


def speed() -> str:
    """CPU seconds of one thread, wall seconds of two, units of AVIF's encoding, peak memory: each way, run by run."""
    rows = []
    for run in result("speed.json")["runs"]:
        for size in dict.fromkeys(row["megapixels"] for row in run["rows"]):
            for codec in dict.fromkeys(row["codec"] for row in run["rows"]):
                ways = [row for row in run["rows"] if (row["codec"], row["megapixels"]) == (codec, size)]
                told = run["units"].get(f"{size:g}", {})
                units = [told.get(f"{codec} {row['direction']}") for row in ways]
                rows.append(
                    [
                        run_name(run),
                        f"{size:g} Mpx",
                        OWN.get(codec) or NAMES[codec],
                        *(_both([row[key] for row in ways]) for key in ("cpu_s", "wall_s")),
                        _both(units),
                        " / ".join(f"{row['peak_mb'] / 1000:.2f}" for row in ways),
                    ]
                )
    head = [
        "processor",
        "picture",
        "codec",
        "CPU s, one thread",
        "wall s, two",
        "in units of AVIF's encoding",
        "peak GB",
    ]
    return markdown(head, rows)


def speed_units(name: str, size: str, way: str) -> float:
    """CPU seconds of one thread in units of AVIF's encoding.

    Args:
        name: of the run, as the table of speeds has it.
        size: megapixels.
        way: codec and direction.
    """
    found = [run["units"] for run in result("speed.json")["runs"] if run_name(run) == name]
    if len(found) != 1:
        raise ValueError(f"results/speed.json has {len(found)} runs of the name {name}, where one is needed")
    return found[0][size][way]


def run_name(run: Mapping[str, Any]) -> str:
    """What a run of speeds is called: its processor, the instructions that it was held to, and its neighbours."""
    held = "" if run["isa"] == "all" else f", held to {run['isa'].upper()}"
    beside = f", beside {run['neighbours']} busy processes" if run["neighbours"] else ""
    return f"{kind(run['machine']['cpu'], run['machine']['features'])}{held}{beside}"


def _both(values: Sequence[float | None]) -> str:
    """Compress and decompress; empty where it was not measured."""
    return "" if None in values else " / ".join(f"{value:.2f}" for value in values)


def kind(name: str, features: Sequence[str]) -> str:
    """A processor's name, and the widest instructions that it has."""
    return next((f"{name}, {words}" for feature, words in WIDEST.items() if feature in features), name)


def portability() -> str:
    """Streams that each machine decoded, and whether its codes were those of all others."""
    rows = []
    for run in result("portability.json")["runs"]:
        forms = dict.fromkeys(axis["form"] for axis in run["axes"])
        levels = dict.fromkeys(axis["environment"].get("PQMIM_NATIVE", "") for axis in run["axes"])
        told = ["C (" + ", ".join(filter(None, levels)) + ")" if form == "compiled" else form for form in forms]
        rows.append(
            [
                kind(run["processor"], run["features"]),
                ", ".join({"numpy": "NumPy", "torch": "PyTorch"}.get(form, form) for form in told),
                f"{len(run['axes'])}",
                f"{run['decoded']:,}",
                f"{run['batches_that_differ']}",
                f"{25 * run['batches_that_other_machines_share']:,}",
            ]
        )
    head = [
        "processor",
        "forms of the prior",
        "ways",
        "streams decoded",
        "batches of 25 that differ",
        "streams compared with other machines",
    ]
    return markdown(head, rows)

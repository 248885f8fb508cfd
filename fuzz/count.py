"""A number of inputs of one target, counted and measured: small changes by chance, the same for the same seed."""

import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.corpus import keep, starts
from fuzz.mutate import quickly_changed
from fuzz.targets import TARGETS, attempt
from pqmim.evaluation.machine import cpu_model, versions

LONG = 2.0
"""CPU seconds of one input that count as a hang."""


@dataclass
class Tally:
    """What became of the inputs of a target.

    Attributes:
        tried: inputs.
        accepted: those that the target took.
        refused: those that it refused with a `PqmimError`.
        foreign: others, by the name of what was raised; they are kept in fuzz/found.
        hangs: inputs that took more than `LONG` CPU seconds; they are kept, too.
        longest_s: the most CPU seconds of one input.
    """

    tried: int = 0
    accepted: int = 0
    refused: int = 0
    foreign: Counter[str] = field(default_factory=Counter)
    hangs: int = 0
    longest_s: float = 0.0

    def take(self, name: str, data: bytes) -> None:
        """Give one input to a target."""
        self.tried += 1
        start = time.process_time()
        try:
            taken = attempt(TARGETS[name], data)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is foreign
            self.foreign[type(error).__name__] += 1
            keep(name, data)
        else:
            self.accepted += taken
            self.refused += not taken
        seconds = time.process_time() - start
        self.longest_s = max(self.longest_s, seconds)
        if seconds > LONG:
            self.hangs += 1
            keep(name, data)


def by_count(name: str, count: int, seed: int) -> dict[str, Any]:
    """Try so many inputs of a target; what became of them, for the record.

    The peak of memory is that of the process, so that each target wants a process of its own. What is made once, such
    as the tiny network, is made before, and told apart.
    """
    chance, sound, tally = random.Random(f"{name} {seed}"), starts(name), Tally()
    for data in sound:
        attempt(TARGETS[name], data)
    before = peak_mb()
    start = time.process_time()
    for _ in range(count):
        tally.take(name, quickly_changed(chance, sound))
    return {
        "tried": tally.tried,
        "accepted": tally.accepted,
        "refused": tally.refused,
        "foreign exceptions": dict(tally.foreign),
        f"over {LONG:.0f} CPU seconds": tally.hangs,
        "longest, CPU seconds": round(tally.longest_s, 4),
        "CPU seconds in all": round(time.process_time() - start),
        "peak megabytes": peak_mb(),
        "of them before the first input": before,
        "seed": seed,
        "cpu": cpu_model(),
        "versions": versions(),
    }


def record(path: Path, name: str, found: dict[str, Any]) -> None:
    """Write what became of a target's inputs into a JSON file, in place of an earlier run of the same target."""
    known = json.loads(path.read_text(encoding="utf-8"))["targets"] if path.exists() else {}
    known[name] = found
    order = {target: known[target] for target in TARGETS if target in known}
    command = "python -m fuzz --count COUNT TARGET"
    path.write_text(json.dumps({"command": command, "targets": order}, indent=1) + "\n", encoding="utf-8")


def peak_mb() -> float:
    """The most memory that this process has held, in units of 10^6 bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)

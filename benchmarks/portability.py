"""Whether small streams decode to the same codes under everything that a machine can vary.

    python benchmarks/portability.py --streams 10000
    python benchmarks/portability.py --streams 1000 --processor "aarch64, emulated by QEMU 7.2"

Each axis is a process of its own that decodes the same streams: random bytes, which decode to some codes like any
others, as pictures of 1 to 5 positions a side at every quality, with the packaged weights. The axes are the forms of
the prior, the levels of the library, the capabilities that torch and oneDNN are held to (those that the processor has),
numbers of threads, and surroundings of torch. The slower forms decode the first twentieth of the streams.

Writes a run into results/portability.json, in place of an earlier one of the same processor. It holds a digest of each
batch, which the runs of other machines are compared with. Ends with status 1 where two axes, or two machines, differ.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

RESULT = Path(__file__).parents[1] / "results" / "portability.json"
BATCH = 25  # streams a digest
DIGITS = 12  # of a digest, that are kept
SLOW = 20  # slow forms, and the library without instructions of its own, decode one stream of that many


@dataclass(frozen=True)
class Axis:
    """One way of decoding: environment variables, a form of the prior, threads, and what surrounds the calls."""

    form: str
    threads: int = 1
    surroundings: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000, help="that each axis decodes (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULT, help="(default: %(default)s)")
    parser.add_argument("--processor", metavar="NAME", help="what it is, where the system does not tell")
    parser.add_argument("--axis", type=json.loads, help=argparse.SUPPRESS)  # of this process, as JSON
    args = parser.parse_args()
    if args.axis:
        print(json.dumps(decoded(Axis(**args.axis), args.streams)))
        return 0
    from pqmim.doctor import examine

    facts = examine(speed=False)
    processor = facts["processor"]
    record = {
        "processor": args.processor or processor["name"],
        "features": processor["features"] if args.processor is None else [],
        "machine": platform.machine(),
        "versions": facts["versions"] | {"system": system()},
        "weights": facts["weights"],
        "decoded": 0,
        "batches_that_differ": 0,
        "batches_that_other_machines_share": 0,
        "axes": [],
        "batches": [],
    }
    others = [run for run in earlier(args.output) if identity(run) != identity(record)]
    for axis in axes(facts):
        start = time.perf_counter()
        fast = axis.form == "compiled" and axis.environment["PQMIM_NATIVE"] != "scalar"
        streams = whole_batches(args.streams if fast else args.streams // SLOW)
        digests = run(axis, streams)
        record["batches"] = record["batches"] or [digest[:DIGITS] for digest in digests]
        differences = differing([digest[:DIGITS] for digest in digests], record["batches"])
        record["axes"].append({**asdict(axis), "streams": streams, "batches_that_differ": differences})
        record["decoded"] += streams
        record["batches_that_differ"] += differences
        write(args.output, [*others, record])  # what there is, should a later axis fail
        print(
            f"{differences} of {len(digests)} batches differ  {time.perf_counter() - start:6.1f} s  {axis}", flush=True
        )
    for other in others:
        if other["weights"] == record["weights"]:
            record["batches_that_differ"] += differing(other["batches"], record["batches"])
            shared = min(len(other["batches"]), len(record["batches"]))
            record["batches_that_other_machines_share"] = max(record["batches_that_other_machines_share"], shared)
    write(args.output, [*others, record])
    return 1 if record["batches_that_differ"] else 0


def earlier(path: Path) -> list[dict]:
    """The runs that a file of results holds."""
    return json.loads(path.read_text())["runs"] if path.exists() else []


def identity(run: dict) -> tuple:
    """What a run is one of: a later one of the same replaces it."""
    return run["processor"], run["features"]


def differing(some: list[str], others: list[str]) -> int:
    """How many of the batches that both have differ."""
    return sum(one != other for one, other in zip(some, others))


def write(path: Path, runs: list[dict]) -> None:
    """Write the runs."""
    path.write_text(json.dumps({"command": "python benchmarks/portability.py", "runs": runs}, indent=1) + "\n")


def whole_batches(streams: int) -> int:
    """A number of streams whose batches are all whole: digests of other batches could not be compared."""
    return max(1, streams // BATCH) * BATCH


def system() -> str:
    """Of what kind this one is; a kernel's build says nothing about codes."""
    return f"{platform.system()}-{platform.machine()}-with-{''.join(platform.libc_ver())}"


def axes(facts: dict) -> Iterator[Axis]:
    """All that this machine can vary; the first is what the others are compared with."""
    features = facts["processor"]["features"]
    for level, passed in reversed(facts["native"]["levels"].items()):
        if passed is True:
            yield Axis("compiled", environment={"PQMIM_NATIVE": level})
            yield Axis("compiled", threads=2, environment={"PQMIM_NATIVE": level})
    yield Axis("numpy")
    if facts["products"]["torch"] is None:
        return
    yield Axis("torch")
    yield Axis("torch", threads=2)
    held = {"default": "SSE41", "avx2": "AVX2" if "avx2" in features else "", "avx512": ""}
    if "avx512f" in features:
        held["avx512"] = "AVX512_CORE_VNNI" if "avx512_vnni" in features else "AVX512_CORE"
    for capability, instructions in held.items():
        if instructions:
            yield Axis("torch", environment={"ATEN_CPU_CAPABILITY": capability, "ONEDNN_MAX_CPU_ISA": instructions})
    for product in ("float32", "int8"):
        yield Axis("torch", environment={"PQMIM_PRODUCT": product})
    for name in SURROUNDINGS:
        yield Axis("torch", surroundings=name)


def run(axis: Axis, streams: int) -> list[str]:
    """The digests of an axis, found in a process of its own."""
    words = [sys.executable, __file__, "--streams", str(streams), "--axis", json.dumps(asdict(axis))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(axis.threads), **axis.environment}
    return json.loads(subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


def decoded(axis: Axis, streams: int) -> list[str]:
    """A digest of the codes of each batch of streams."""
    from pqmim.coding.grid import Grid
    from pqmim.coding.loop import decode, turns
    from pqmim.coding.range_coder import RangeDecoder
    from pqmim.models.prior.compiled import CompiledPrior
    from pqmim.reception import prior_of
    from pqmim.release import load

    release, digests = load(), []
    record = release.record
    tensors = release.part("prior")
    prior = CompiledPrior(tensors, axis.threads) if axis.form == "compiled" else prior_of(release, axis.form)
    with ExitStack() as stack:
        if axis.surroundings:
            SURROUNDINGS[axis.surroundings](stack)
        for first in range(0, streams, BATCH):
            found = hashlib.sha256()
            for index in range(first, min(first + BATCH, streams)):
                rng = np.random.default_rng(index)
                height, width, quality = (int(n) for n in rng.integers((1, 1, 0), (6, 6, 101)))
                grid = Grid(len(record.dimensions), height, width, record.active[quality])
                data = RangeDecoder(rng.bytes(int(rng.integers(2, 400))))
                decode(grid, prior.context(height, width, quality), turns(record.groups, grid), data)
                found.update(grid.codes.tobytes() + grid.known.tobytes())
            digests.append(found.hexdigest())
    return digests


def autocast(stack: ExitStack) -> None:
    import torch

    stack.enter_context(torch.autocast("cpu", torch.bfloat16))


def double(stack: ExitStack) -> None:
    import torch

    torch.set_default_dtype(torch.float64)


def inference(stack: ExitStack) -> None:
    import torch

    stack.enter_context(torch.inference_mode())


def medium(stack: ExitStack) -> None:
    import torch

    torch.set_float32_matmul_precision("medium")


def deterministic(stack: ExitStack) -> None:
    import torch

    torch.use_deterministic_algorithms(True)


SURROUNDINGS = {function.__name__: function for function in (autocast, double, inference, medium, deterministic)}


if __name__ == "__main__":
    sys.exit(main())

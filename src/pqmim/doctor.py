"""What this machine makes of the codec: what a bug report quotes.

facts = examine()
facts["prior"]["form"], facts["tests"], facts["healthy"]
"""

import importlib.util
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pqmim.errors import PqmimError, UnsupportedFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pqmim.codec import Codec

PACKAGES = ("numpy", "torch", "pillow", "safetensors")
FEATURES = (
    *("sse2", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
"""Those of a processor that some part has a form for, as Linux names them."""

SIDES = 512, 320  # of the picture that speed is taken with: wide enough that starting costs little


def examine(codec: "Codec | None" = None, *, speed: bool = True) -> dict[str, Any]:
    """Look at everything.

    Args:
        codec: what to examine; None: one with the packaged weights.
        speed: compress and decompress a picture, and tell how long that takes.

    Returns:
        Facts, of types that JSON has: `versions`, `processor`, `weights`, `native`, `prior`, `encoder`, `products`, `tests` by name
        (True, False, or a sentence that says why there is no verdict), `speed` in megapixels a second of wall time and, with
        `_cpu`, of processor time, and `healthy`: no test failed.
    """
    from pqmim.codec import Codec

    codec = codec or Codec()
    facts: dict[str, Any] = {
        "versions": _versions(),
        "processor": _processor(),
        "weights": f"{codec.release.id:03x}",
        "native": _native(),
        "prior": _prior(codec),
        "encoder": _encoder(codec),
        "products": _products(),
        "tests": _tests(codec),
    }
    if speed:
        facts["speed"] = _speed(codec)
    facts["healthy"] = False not in facts["tests"].values()
    return facts


def _versions() -> dict[str, str]:
    from pqmim import __version__

    found = {"pqmim": __version__, "python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> dict[str, Any]:
    from pqmim.threads import usable

    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
    except OSError:
        pass  # no Linux
    return {
        "name": name,
        "machine": platform.machine(),
        "features": [feature for feature in FEATURES if feature in flags],
        "count": os.cpu_count(),
        "free": usable(),
    }


def _native() -> dict[str, Any]:
    from pqmim import native
    from pqmim.models.prior.compiled import passes

    found = native.library()
    if found is None:
        return {"library": None, "why": native.reason(), "levels": {}}
    return {
        "library": str(found.path),
        "why": "",
        "levels": {level: passes(level) if level in found.levels else "not on this processor" for level in found.known},
    }


def _prior(codec: "Codec") -> dict[str, Any]:
    """Which form of the prior decodes, and why no faster one."""
    from pqmim import reception
    from pqmim.models.prior.compiled import CompiledPrior, Unavailable, chosen_level

    prior = codec.engine_of(codec.empty(16, 16)).reception.prior
    form = type(prior).__module__.rpartition(".")[2].replace("integer", "torch")
    if isinstance(prior, CompiledPrior):
        return {"form": form, "level": prior.level, "why": "the fastest that passes its test"}
    if isinstance(reception.prior_of(codec.release), CompiledPrior):
        return {"form": form, "level": None, "why": "this codec was asked for it, or for another device"}
    try:
        chosen_level()
    except Unavailable as error:
        return {"form": form, "level": None, "why": str(error)}
    return {"form": form, "level": None, "why": "the library has no room for a prior of these sizes"}


def _encoder(codec: "Codec") -> dict[str, Any]:
    """How the encoder's transforms run."""
    if importlib.util.find_spec("torch") is None:
        return {"form": None, "why": "torch is not installed"}
    engine = codec.engine_of(codec.empty(16, 16))
    with engine.shielded(always=True):
        transforms = engine.encoder.transforms
    return {"form": transforms.form, "why": transforms.why}


def _products() -> dict[str, Any]:
    """How torch multiplies the integers of the prior, where there is no library."""
    if importlib.util.find_spec("torch") is None:
        return {"torch": None, "why": "torch is not installed"}
    import torch

    from pqmim.models.prior.products import VARIABLE, choose, exact

    cpu = torch.device("cpu")
    form = choose(cpu)
    if os.environ.get(VARIABLE):
        why = f"{VARIABLE} says so"
    elif form == "int8":
        why = "the processor has int8 instructions, and the test of them is exact"
    elif exact("int8", cpu):
        why = "the processor has no int8 instructions that torch uses"
    else:
        why = "torch's int8 products are not exact here"
    return {"torch": form, "why": why, "capability": torch.backends.cpu.get_cpu_capability()}


def _tests(codec: "Codec") -> dict[str, bool | str]:
    from pqmim.models.prior import numpy, selftest

    forms = numpy.NumpyPrior(selftest.tensors(False)), numpy.NumpyPrior(selftest.tensors(True))
    found: dict[str, bool | str] = {
        "exact products in NumPy": numpy.exact(),
        "digest of a small pass in NumPy": selftest.digest(forms) == selftest.EXPECTED,
    }
    for level, passed in _native()["levels"].items():
        found[f"digest of a small pass in C, {level}"] = passed
    if importlib.util.find_spec("torch") is not None:
        import torch

        from pqmim.models.prior.integer import IntegerPrior
        from pqmim.models.prior.products import choose, exact

        cpu = torch.device("cpu")
        found[f"exact products in torch, {choose(cpu)}"] = exact(choose(cpu), cpu)
        both = IntegerPrior(selftest.tensors(False)), IntegerPrior(selftest.tensors(True))
        found["digest of a small pass in torch"] = selftest.digest(both) == selftest.EXPECTED
    found["a small file decodes to the codes that were written"] = _small_file(codec)
    return found


def _small_file(codec: "Codec") -> bool | str:
    """Whether the file that lies beside the packaged weights decodes, which its own check over the codes tells."""
    from pqmim.release import FOLDER

    path = FOLDER / "default.pqm"
    try:
        received = codec.receive(path.read_bytes())
    except OSError:
        return "there is none beside the packaged weights"
    except UnsupportedFile as error:
        return f"it was written with other weights: {error}"
    except PqmimError:  # a wrong prior may also run out of bytes, before there is a check to fail
        return False
    return received.verified


def _speed(codec: "Codec") -> dict[str, float | str]:
    """Megapixels a second each way, the second time, of a synthetic picture at quality 50."""
    picture = _picture()
    found: dict[str, float | str] = {}

    def taken(way: str, run: Callable[[], Any]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        pixels = picture.shape[0] * picture.shape[1] / 1e6
        found[way] = round(pixels / (time.perf_counter() - wall), 3)
        found[f"{way}_cpu"] = round(pixels / (time.process_time() - cpu), 3)

    try:
        data = codec.encode(picture[:64, :64]).data
        codec.decompress(data)
        taken("compress", lambda: codec.encode(picture))
        data = codec.encode(picture, effort=0).data
        taken("decompress", lambda: codec.decompress(data))
    except ImportError as error:
        found["why"] = f"pictures cannot be compressed here: {error}"
    return found


def _picture() -> "NDArray[np.uint8]":
    """A picture with detail at every scale, as photographs have: (H, W, 3)."""
    import numpy as np
    from PIL import Image

    rng, (width, height) = np.random.default_rng(0), SIDES
    total = np.full((height, width, 3), 128.0)
    for octave in range(2, 9):
        noise = rng.normal(0, 1, (-(-height >> octave) + 1, -(-width >> octave) + 1, 3))
        planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(noise, 2, 0)]
        sized = [np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC)) for plane in planes]
        total += np.stack(sized, 2) * octave * 4
    return total.clip(0, 255).astype(np.uint8)

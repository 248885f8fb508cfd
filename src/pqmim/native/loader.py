"""Finds the library, and declares its functions to ctypes.

A library is used if it was built from the very sources that lie beside this file, or are known to: one that reports
another hash is refused, with a warning, since its arithmetic might be that of another version.
"""

import ctypes
import os
import sys
import warnings
from contextlib import suppress
from ctypes import POINTER, c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pqmim.native.build import FOLDER, NAME, digest

VARIABLE = "PQMIM_NATIVE"
OFF = "off"


SIZES = ("size", "codewords", "widest", "channels", "width", "heads", "hidden", "rank", "blocks", "inputs")


class Sizes(ctypes.Structure):
    """`pq_sizes` of pqmim.h."""

    _fields_ = [(name, ctypes.c_int32) for name in SIZES]


class View(ctypes.Structure):
    """`pq_view` of pqmim.h."""

    _fields_ = [
        ("m", ctypes.c_int32),
        ("temperature", ctypes.c_int32),
        ("count", c_int64),
        ("mean", c_void_p),
        ("beta", c_void_p),
        ("free", c_void_p),
        ("moments", c_int64),
        ("frees", c_int64),
    ]


class Choice(ctypes.Structure):
    """`pq_choice` of pqmim.h."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("size", "codewords", "channels", "active", "few", "likeliest")),
        *((name, ctypes.c_float) for name in ("price", "soft_price", "soft_bits")),
        *((name, c_void_p) for name in ("first", "words", "worth", "bits")),
    ]


class TransformSizes(ctypes.Structure):
    """`pq_transform_sizes` of pqmim.h."""

    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in ("latent", "stem", "pixels", "coarse", "fine", "hidden_coarse", "hidden_fine", "analysis")
        ),
        *((name, ctypes.c_float) for name in ("reach", "middle", "black", "white")),
    ]


_FUNCTIONS = {
    "pq_source": (c_char_p, []),
    "pq_level_count": (c_int, []),
    "pq_level_name": (c_char_p, [c_int]),
    "pq_level_usable": (c_int, [c_int]),
    "pq_prior_new": (c_void_p, [POINTER(Sizes), POINTER(c_void_p), c_int, c_int]),
    "pq_prior_free": (None, [c_void_p]),
    "pq_context_new": (c_void_p, [c_void_p, c_int, c_int, c_int]),
    "pq_context_free": (None, [c_void_p]),
    "pq_reveal": (None, [c_void_p, c_int, c_int64, c_void_p, c_void_p]),
    "pq_heads": (None, [c_void_p, c_int, c_int64, c_void_p, c_int, c_int, c_void_p, c_void_p, c_void_p]),
    "pq_stride": (c_int, [c_void_p]),
    "pq_masses": (None, [c_void_p, POINTER(View), c_void_p, c_void_p]),
    "pq_intervals": (None, [c_void_p, c_int64, c_int64, *[c_void_p] * 5]),
    "pq_cumulative": (None, [c_void_p, c_int64, *[c_void_p] * 3]),
    "pq_decode": (c_int64, [c_void_p, POINTER(View), c_void_p, c_char_p, c_int64, c_void_p]),
    "pq_decode_tables": (c_int64, [c_void_p, c_char_p, c_int64, c_int64, c_int64, c_void_p, c_void_p]),
    "pq_cheapest": (None, [c_int, POINTER(Choice), c_int64, *[c_void_p] * 3]),
    "pq_choice_errors": (None, [c_int, POINTER(Choice), c_int64, *[c_void_p] * 3]),
    "pq_choice_mean": (None, [c_int, POINTER(Choice), c_int64, *[c_void_p] * 4]),
    "pq_transform_new": (c_void_p, [POINTER(TransformSizes), POINTER(c_void_p), c_int, c_int]),
    "pq_transform_free": (None, [c_void_p]),
    "pq_transform_room": (c_int64, [c_void_p, c_int, c_int]),
    "pq_synthesis_slope": (None, [c_void_p, c_int, c_int, *[c_void_p] * 5]),
    "pq_analysis_latent": (None, [c_void_p, c_int, c_int, *[c_void_p] * 4]),
    "pq_encode": (c_int64, [c_void_p, c_int64, c_void_p, c_void_p, c_void_p]),
}


class Library:
    """A library that was loaded.

    Attributes:
        path: its file.
        known: the levels that it was built with, the slowest first.
        levels: those that this processor has the instructions for.
        functions: those of pqmim.h, which arrays are given to by their addresses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.functions = ctypes.CDLL(str(path))
        self.functions.pq_source.restype = c_char_p
        self.source: str = self.functions.pq_source().decode()
        if self.source != digest():
            return  # its functions may be others
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self.functions, name)
            function.restype, function.argtypes = result, arguments
        count = self.functions.pq_level_count()
        self.known: list[str] = [self.functions.pq_level_name(index).decode() for index in range(count)]
        self.levels = [name for index, name in enumerate(self.known) if self.functions.pq_level_usable(index)]

    def encode(
        self, low: int, range_: int, starts: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> tuple[int, int, list[int]]:
        """The steps of `RangeEncoder.encode`: its state `low` and `range_` after them, and the words that they emit."""
        state = np.array([low, range_], np.uint64)
        words = np.empty(len(starts), np.uint32)
        starts, sizes = np.ascontiguousarray(starts), np.ascontiguousarray(sizes)
        count = self.functions.pq_encode(
            state.ctypes.data, len(starts), starts.ctypes.data, sizes.ctypes.data, words.ctypes.data
        )
        return int(state[0]), int(state[1]), words[:count].tolist()

    def decode_tables(self, state: NDArray[np.uint64], data: bytes, table: NDArray[np.integer]) -> NDArray[np.int64]:
        """The steps of `RangeDecoder.decode`, which change its `state`: the symbols (n,)."""
        bounds = np.ascontiguousarray(table, np.int32)
        symbols = np.empty(len(bounds), np.int64)
        count = self.functions.pq_decode_tables(
            state.ctypes.data,
            data,
            len(data),
            len(bounds),
            bounds.shape[1] - 1,
            bounds.ctypes.data,
            symbols.ctypes.data,
        )
        return symbols[:count]


def cached() -> Path:
    """Where `python -m pqmim.native build` puts a library: the user's cache, under the hash of the sources.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "pqmim" / f"{digest()}-{NAME}"


def library() -> Library | None:
    """The library, or None: see `reason`."""
    return search()[0]


def reason() -> str:
    """Why there is no library; empty if there is one."""
    return search()[1]


@cache
def search() -> tuple[Library | None, str]:
    """The library and the reason, found out once."""
    if os.environ.get(VARIABLE, "") == OFF:
        return None, f"{VARIABLE} is {OFF}"
    wanted = digest()
    why = "it was not built: `python -m pqmim.native build` does, where a C compiler is there"
    places = [FOLDER / NAME]
    with suppress(RuntimeError):  # a user without a home folder has no cache
        places.append(cached())
    for path in places:
        if not os.path.exists(path):  # False, too, in a folder that may not be entered
            continue
        try:
            found = Library(path)
        except (OSError, AttributeError) as error:
            why = f"{path} does not load: {error}"
            continue
        if found.source == wanted:
            return found, ""
        why = f"{path} was built from other sources, and is not used: `python -m pqmim.native build` makes a new one"
        warnings.warn(why, RuntimeWarning, stacklevel=3)
    return None, why

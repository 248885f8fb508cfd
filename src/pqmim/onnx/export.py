"""Writes the graphs, and runs them once to see that they say the same."""

import os
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from pqmim.errors import OutputError, PqmimError
from pqmim.files import write_atomically
from pqmim.models.modules import Modules
from pqmim.models.prior.numpy import NumpyPrior
from pqmim.models.transforms import Synthesis
from pqmim.onnx.pixels import Pixels
from pqmim.onnx.prior import OnnxPrior, geometry
from pqmim.onnx.trunk import Trunk
from pqmim.release import Release

OPSET = 18
SHAPES = ((9, 11), (1, 1), (3, 17))
"""Grids of the self-test: windows that are cut on every side."""
LEVELS = -0.5, 1.3
"""Levels of the self-test: one below the first, and one between two."""


def export(release: Release, folder: str | os.PathLike[str], test: bool = True) -> dict[str, Path]:
    """Write `prior.onnx` and `synthesis.onnx`, both or neither, once they passed the test; files of these names are replaced.

    Args:
        release: what to export.
        folder: an existing folder.
        test: run both in ONNX Runtime against NumPy and torch.

    Returns:
        The paths, by the names of the parts.

    Raises:
        PqmimError: the self-test found a difference: this ONNX Runtime is not exact here.
        OutputError: a file cannot be written.
    """
    tensors, sizes = release.part("prior"), release.record.transforms
    paths = {name: Path(folder) / f"{name}.onnx" for name in ("prior", "synthesis")}
    for path in paths.values():
        if path.is_dir():
            raise OutputError("cannot be written: it is a folder", path)
    with TemporaryDirectory(prefix="pqmim-") as hidden:
        made = {name: Path(hidden) / path.name for name, path in paths.items()}
        with torch.inference_mode():
            _export_prior(Trunk(tensors), made["prior"])
            synthesis = _modules(release).synthesis
            _export_synthesis(synthesis, sizes, made["synthesis"])
        if test:
            check_prior(tensors, made["prior"])
            check_synthesis(synthesis, sizes, made["synthesis"])
        for name, path in paths.items():
            write_atomically(path, made[name].read_bytes(), force=True)
    return paths


def check_prior(tensors: Any, path: Path) -> None:
    """Raise PqmimError where the graph's frequencies differ from NumPy's, over random codes in odd shapes."""
    rng = np.random.default_rng(0)
    forms = NumpyPrior(tensors), OnnxPrior(tensors, path)
    for height, width in SHAPES:
        contexts = [form.context(height, width, 50) for form in forms]
        cells = np.arange(height * width)
        for m in range(0, forms[0].size, 3):
            known = cells[rng.random(len(cells)) < 0.5]
            codes = rng.integers(0, forms[0].codewords, len(known)).astype(np.uint8)
            for context in contexts:
                context.reveal(m, known, codes)
        for blocks in (0, 1, forms[0].blocks):
            coded = range(1, min(4, forms[0].size))
            for (_, _, one), (_, _, other) in zip(*(form.frequencies(coded, cells, blocks) for form in contexts)):
                if not np.array_equal(one.cumulative(), other.cumulative()):
                    raise PqmimError("ONNX Runtime gives other numbers than NumPy on this machine", path.name)


def check_synthesis(synthesis: torch.nn.Module, sizes: Any, path: Path) -> None:
    """Raise PqmimError where pixels differ by more than 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    for (height, width), at in product(SHAPES, LEVELS):
        z = torch.randn(1, int(sizes["latent"]), height, width, generator=torch.Generator().manual_seed(0)) * 20
        level = torch.tensor([at])
        with torch.inference_mode():
            expected = synthesis(z, level).numpy()
        [found] = session.run(None, {"z": z.numpy(), "level": level.numpy()})
        if np.abs(found - expected).max() > 1:
            raise PqmimError("ONNX Runtime gives other pixels than torch on this machine", path.name)


def _export_prior(trunk: Trunk, path: Path) -> None:
    height, width = 9, 11
    even, even_back, odd, odd_back = (torch.from_numpy(array) for array in geometry(height, width))
    depth = trunk.blocks[0].divisor.shape[0]  # type: ignore[index]
    rows, columns, cells = (torch.export.Dim(name, min=1) for name in ("rows", "columns", "cells"))
    evens, odds = torch.export.Dim("even_windows", min=1), torch.export.Dim("odd_windows", min=1)
    torch.onnx.export(
        trunk.eval(),
        (torch.zeros(height, width, int(depth), dtype=torch.int32), even, even_back, odd, odd_back),
        str(path),
        input_names=["x", "even", "even_back", "odd", "odd_back"],
        output_names=[f"hidden_{count}" for count in range(len(trunk.blocks) + 1)],
        dynamic_shapes=({0: rows, 1: columns}, {0: evens}, {0: cells}, {0: odds}, {0: cells}),
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )


def _export_synthesis(synthesis: Synthesis, sizes: Any, path: Path) -> None:
    rows, columns = torch.export.Dim("rows", min=1), torch.export.Dim("columns", min=1)
    torch.onnx.export(
        Pixels(synthesis),
        (torch.zeros(1, int(sizes["latent"]), 9, 11), torch.ones(1)),
        str(path),
        input_names=["z", "level"],
        output_names=["pixels"],
        dynamic_shapes=({2: rows, 3: columns}, {}),
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )


def _modules(release: Release) -> Modules:
    record = release.record
    parts = {name: release.part(name) for name in ("analysis", "quantizer", "synthesis")}
    return Modules.build(record.transforms, record.dimensions, record.codewords, parts)

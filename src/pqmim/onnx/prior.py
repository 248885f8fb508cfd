"""A form of the prior whose transformer runs in ONNX Runtime."""

import os
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.prior import UNIT, Codes, Positions
from pqmim.models.prior import spec
from pqmim.models.prior.context import Revealed, Sized
from pqmim.models.prior.frequencies import MassFrequencies
from pqmim.models.prior.numpy import Floats, NumpyPrior


class OnnxPrior(Sized):
    """A `coding.prior.Prior`: the transformer of `prior.onnx`, and NumPy around it.

    Args:
        tensors: of the release that the graph was made of.
        path: of the graph.
    """

    def __init__(self, tensors: spec.Tensors, path: str | os.PathLike[str]) -> None:
        import onnxruntime

        self.around = NumpyPrior(tensors)
        self.layout = self.around.layout
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])

    def context(self, height: int, width: int, quality: int) -> "OnnxContext":
        """See `coding.prior.Prior.context`."""
        return OnnxContext(self, height, width, quality)

    def tokens(self, stream: NDArray[np.int32], shape: tuple[int, int], blocks: int) -> Floats:
        """Hidden states (h * w, d) of a residual stream (h * w, d), after its first `blocks` blocks."""
        even, even_back, odd, odd_back = geometry(*shape)
        inputs = {
            "x": stream.reshape(*shape, -1),
            "even": even,
            "even_back": even_back,
            "odd": odd,
            "odd_back": odd_back,
        }
        [found] = self.session.run([f"hidden_{blocks}"], inputs)
        states: Floats = found
        return states


class OnnxContext:
    """A `coding.prior.Context` of an `OnnxPrior`."""

    def __init__(self, prior: OnnxPrior, height: int, width: int, quality: int) -> None:
        around = prior.around
        self._prior, self._shape, self._level = prior, (height, width), around.level[quality]
        self._revealed = Revealed(around.layout, around.code_inputs)
        self._sums = np.repeat(around.embed_bias[None], height * width, 0)

    def reveal(self, m: int, positions: Positions, codes: Codes) -> None:
        """See `coding.prior.Context.reveal`."""
        self._revealed.add(m, positions, codes)

    def frequencies(
        self, coded: range, positions: Positions, blocks: int | None = None, temperature: int = UNIT
    ) -> Iterator[tuple[int, slice, MassFrequencies]]:
        """See `coding.prior.Context.frequencies`."""
        self._embed()
        around = self._prior.around
        stream = (self._sums >> around.embed_shift) + self._level
        tokens = self._prior.tokens(stream, self._shape, around.blocks if blocks is None else blocks)
        yield from around.heads.frequencies(tokens[positions], coded, temperature)

    def _embed(self) -> None:
        for rows, positions, inputs in self._revealed.take():
            found = inputs.astype(np.float32) @ self._prior.around.embed[rows]
            self._sums[positions] += found.astype(np.int32)


@cache
def geometry(height: int, width: int) -> tuple[NDArray[np.int64], ...]:
    """What the graph is told of a grid: windows of even blocks, where each cell stands in them, and of odd blocks."""
    found: list[NDArray[np.int64]] = []
    for block in (0, 1):
        windows = spec.windows(height, width, block)
        found += [windows, np.argsort(windows.ravel(), kind="stable")[: height * width]]
    return tuple(found)

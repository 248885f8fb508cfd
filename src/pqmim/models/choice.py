"""The encoder's soft choice of codes, in PyTorch and in C: see `pqmim.encoder`, which says what it is for.

Both forms do the same in floating point. They may differ in its last digits, and so may the files of a machine with the
library and one without: what a file decodes to does not depend on how its codes were chosen.
"""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pqmim.models.prior.compiled import Unavailable, serving
from pqmim.models.quantizer import ProductQuantizer, level_of_rate
from pqmim.models.transforms import blend
from pqmim.native.loader import Choice as Struct
from pqmim.native.loader import Library

LN2 = 0.6931471805599453
MOST_FEW, MOST_WORDS = 16, 256  # candidates and codewords that the library has room for
FEWEST = 256  # positions that are worth a thread


@dataclass(frozen=True)
class Softness:
    """How a soft choice weighs candidates: each has probability 2^-(error / price + part x bits).

    Attributes:
        price: of the price of a bit.
        part: of the bits, that counts.
        likeliest: candidates, the first ones, that take part.
    """

    price: float
    part: float
    likeliest: int


BY_STATIC = Softness(0.64, 0.33, 4)  # the candidates that are cheapest come first
BY_PRIOR = Softness(0.8, 0.76, MOST_FEW)


@dataclass(frozen=True)
class Aim:
    """What the codes of B pictures are chosen by.

    Attributes:
        rate: (B,) fractional rates.
        price: (B,) squared error that is worth one bit.
        active: (B,) the number of sub-quantizers sent, the first ones.
    """

    rate: Tensor
    price: Tensor
    active: Tensor

    @classmethod
    def of(cls, rate: float, price: float, active: int, device: torch.device) -> "Aim":
        """That of one picture."""

        def only(value: float) -> Tensor:
            return torch.tensor([value], dtype=torch.float32, device=device)

        return cls(only(rate), only(price), only(active).long())


class Choice(Protocol):
    """Some candidates for each code of B pictures, and the mean of a soft choice among the likeliest.

    Attributes:
        candidates: codes (F, B, n, M).
    """

    candidates: Tensor

    def errors(self, aim: Tensor) -> Tensor:
        """Squared error in bits (F, B, n, M) of the candidates, where codes aim at codewords (B, n, C)."""
        ...

    def mean(self, aim: Tensor) -> Tensor:
        """Mean codewords (B, n, C) of the soft choice among the likeliest."""
        ...


def choice_of(quantizer: ProductQuantizer, z: Tensor, aim: Aim, count: int) -> Choice:
    """The `count` cheapest codes of latents (B, C, h, w) by static frequencies: in C where the library serves, else in PyTorch."""
    library = _library(quantizer, z, count)
    if library is not None:
        return CompiledChoice.cheapest(*library, quantizer, z, aim, count)
    few, bits = quantizer.candidates(z, aim.rate, aim.price, count, aim.active)
    return SoftChoice(quantizer, few, bits, aim.price, quantizer.worth(level_of_rate(aim.rate)))


def choice_among(quantizer: ProductQuantizer, candidates: Tensor, bits: Tensor, aim: Aim) -> Choice:
    """A choice among given codes (F, B, n, M) uint8, with the bits of the same shape that the prior finds."""
    library = _library(quantizer, candidates, len(candidates))
    if library is not None:
        codes, own = (x.permute(1, 2, 3, 0).contiguous() for x in (candidates, bits.float()))
        return CompiledChoice(*library, _tables(quantizer, aim, len(candidates), BY_PRIOR), codes, own)
    worth = quantizer.worth(level_of_rate(aim.rate))
    return SoftChoice(quantizer, candidates.long(), bits.float(), aim.price, worth, BY_PRIOR)


def _library(quantizer: ProductQuantizer, data: Tensor, count: int) -> tuple[Library, str] | None:
    """The library and its level, where they can choose among `count` candidates."""
    if data.device.type == "cpu" and count <= MOST_FEW and quantizer.codewords <= MOST_WORDS:
        with suppress(Unavailable):
            return serving()
    return None


class SoftChoice:
    """A `Choice` in PyTorch.

    Args:
        quantizer: whose codewords they choose.
        candidates: codes (F, B, n, M), cheapest first.
        bits: of the same shape, what they take.
        price: (B,) the squared error that is worth one bit.
        worth: (B, C) the squared error, in pixel units, of a unit of each channel.
        softness: of the mean.
    """

    def __init__(
        self,
        quantizer: ProductQuantizer,
        candidates: Tensor,
        bits: Tensor,
        price: Tensor,
        worth: Tensor,
        softness: Softness = BY_STATIC,
    ) -> None:
        self.candidates, self.bits, self._softness = candidates, bits, softness
        self.words = quantizer.lookup(candidates)  # (F, B, n, C)
        self.weight = (worth / price[:, None])[:, None]  # (B, 1, C), in bits
        owner = quantizer.slot // quantizer.codebook.shape[2]
        count = len(quantizer.dimensions)
        self.sums = torch.eye(count, dtype=torch.float32, device=bits.device)[owner]  # (C, M)

    def errors(self, aim: Tensor) -> Tensor:
        """See `Choice`."""
        return self._errors(aim, len(self.words))

    def mean(self, aim: Tensor) -> Tensor:
        """See `Choice`."""
        soft = self._softness
        cost = self._errors(aim, soft.likeliest).div_(soft.price).add_(self.bits[: soft.likeliest], alpha=soft.part)
        chosen = cost.mul_(-LN2).softmax(0)  # (F, B, n, M)
        return (chosen @ self.sums.T).mul_(self.words[: soft.likeliest]).sum(0)

    def _errors(self, aim: Tensor, count: int) -> Tensor:
        return (self.words[:count] - aim).square_().mul_(self.weight) @ self.sums


class CompiledChoice:
    """A `Choice` in C, on the processor; its threads are as many as PyTorch's.

    Args:
        library: that has the functions.
        level: of instructions.
        tables: of each of B pictures.
        codes: (B, n, M, F) uint8.
        bits: of the same shape, what they take.
    """

    def __init__(self, library: Library, level: str, tables: Sequence["_Tables"], codes: Tensor, bits: Tensor) -> None:
        self._functions, self._level = library.functions, library.known.index(level)
        self._tables, self._codes, self._bits = tables, codes, bits
        self.candidates = codes.permute(3, 0, 1, 2)

    @classmethod
    def cheapest(
        cls, library: Library, level: str, quantizer: ProductQuantizer, z: Tensor, aim: Aim, count: int
    ) -> "CompiledChoice":
        """The `count` cheapest codes of latents (B, C, h, w) by static frequencies."""
        latents = quantizer.scaled(z, level_of_rate(aim.rate)).contiguous()  # (B, n, C)
        shape = *latents.shape[:2], len(quantizer.dimensions), count
        codes, bits = torch.zeros(shape, dtype=torch.uint8), torch.zeros(shape, dtype=torch.float32)
        made = cls(library, level, _tables(quantizer, aim, count, BY_STATIC), codes, bits)
        made._each(made._functions.pq_cheapest, latents, codes, bits)
        return made

    def errors(self, aim: Tensor) -> Tensor:
        """See `Choice`."""
        found = torch.zeros(self._codes.shape, dtype=torch.float32)
        self._each(self._functions.pq_choice_errors, aim.float().contiguous(), self._codes, found)
        return found.permute(3, 0, 1, 2)

    def mean(self, aim: Tensor) -> Tensor:
        """See `Choice`."""
        aim = aim.float().contiguous()
        found = torch.empty_like(aim)
        self._each(self._functions.pq_choice_mean, aim, self._codes, self._bits, found)
        return found

    def _each(self, function: Callable[..., None], *arrays: Tensor) -> None:
        """Call a function of pqmim.h for all positions; `arrays` (B, n, ...) are its last arguments."""
        images, positions = arrays[0].shape[:2]
        threads = min(torch.get_num_threads(), max(1, positions // FEWEST))
        edges = [positions * part // threads for part in range(threads + 1)]
        parts = [(image, *span) for image in range(images) for span in pairwise(edges)]

        def run(part: tuple[int, int, int]) -> None:
            image, start, stop = part
            addresses = [array[image, start].data_ptr() for array in arrays]
            function(self._level, ctypes.byref(self._tables[image].choice), stop - start, *addresses)

        if threads == 1:
            for part in parts:
                run(part)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, parts))


def _tables(quantizer: ProductQuantizer, aim: Aim, count: int, softness: Softness) -> list["_Tables"]:
    return [_Tables(quantizer, aim, image, count, softness) for image in range(len(aim.rate))]


class _Tables:
    """What one picture's codes are chosen by, as `pq_choice` of pqmim.h, and the arrays that it points to."""

    def __init__(self, quantizer: ProductQuantizer, aim: Aim, image: int, count: int, softness: Softness) -> None:
        rate = aim.rate[image : image + 1]
        first = np.concatenate([[0], np.cumsum(quantizer.dimensions)]).astype(np.int32)
        words = quantizer.codebook.detach().transpose(1, 2).flatten(0, 1)[quantizer.slot]  # (C, K)
        bits = -blend(quantizer.log2_probability.double().flatten(1), rate.double())  # (1, M * K, 1, 1)
        worth = quantizer.worth(level_of_rate(rate)).detach()
        self._kept = [torch.from_numpy(first), *(x.float().contiguous() for x in (words, worth, bits))]
        self.choice = Struct(
            size=len(quantizer.dimensions),
            codewords=quantizer.codewords,
            channels=len(quantizer.order),
            active=int(aim.active[image]),
            few=count,
            likeliest=min(softness.likeliest, count),
            price=float(aim.price[image]),
            soft_price=softness.price,
            soft_bits=softness.part,
            **dict(zip(("first", "words", "worth", "bits"), (array.data_ptr() for array in self._kept))),
        )

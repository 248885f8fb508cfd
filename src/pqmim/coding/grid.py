"""The codes of one picture, which of them are known, and the loop that fills in the others.

One loop, ``fill``, serves coding, decoding, completing and generating: the prior looks at all that is
known and gives frequencies of some codes that are not, and ``choose`` settles each: the encoder by its
latent, the decoder by the file's bytes, the sampler by chance.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from pqmim.coding.sampler import Sampler
from pqmim.coding.schedule import passes
from pqmim.models.prior.integer import PRECISION
from pqmim.release import Weights

Turn = tuple[range, np.ndarray]  # sub-quantizers, and flat positions (N,) in raster order
Choose = Callable[[int, np.ndarray, Tensor], Tensor]
Keep = Callable[[range, np.ndarray], np.ndarray]  # indices into the positions


class CodeGrid:
    """Codes (M, h * w) uint8 at a quality, 0 where unknown, and ``known`` (same shape, bool)."""

    def __init__(self, weights: Weights, height: int, width: int, quality: int):
        self.weights, self.quality = weights, quality
        self.height, self.width = height, width
        size = len(weights.quantizer.dimensions)
        self.codes = np.zeros((size, height * width), np.uint8)
        self.known = np.zeros((size, height * width), bool)
        self.active = weights.active[quality]
        self._inputs = weights.prior.blank(1, height, width)

    @property
    def complete(self) -> bool:
        return bool(self.known[: self.active].all())

    @property
    def share(self) -> float:
        """Share, 0 to 1, of the codes sent that are known."""
        return float(self.known[: self.active].mean())

    def reveal(self, m: int, positions: np.ndarray, codes: Tensor) -> None:
        """Make codes (N,) of sub-quantizer ``m`` known."""
        self.codes[m, positions] = codes.cpu().numpy()
        self.known[m, positions] = True
        self.weights.prior.reveal(self._inputs, m, positions, codes)

    def fill(self, turns: Iterable[Turn], choose: Choose, temperature: int = 16, keep: Keep | None = None) -> None:
        """Take turns until they end, or until ``choose(m, positions, table)`` gives fewer codes than positions.

        ``temperature`` flattens the frequencies, in sixteenths; files are coded at 16.  With ``keep``, only the codes
        at ``positions[keep(coded, positions)]`` become known.
        """
        for coded, positions in turns:
            tokens = self._tokens()[positions]
            found: dict[int, list[Tensor]] = {m: [] for m in coded}
            for m, part, table in self.weights.prior.tables(tokens, coded, temperature):
                found[m].append(choose(m, positions[part], table))
            kept = keep(coded, positions) if keep else None
            for m, parts in found.items():
                codes = torch.cat(parts)
                if kept is None:
                    self.reveal(m, positions[: len(codes)], codes)
                else:
                    self.reveal(m, positions[kept], codes[torch.from_numpy(kept).to(codes.device)])
            if len(codes) < len(positions):  # of the last sub-quantizer, which has the fewest
                return

    def schedule(self) -> Iterator[Turn]:
        """The turns of a file."""
        for step in passes(self.weights.groups, self.active):
            positions = step.positions(self.height, self.width)
            if len(positions):  # tiny pictures have none at some ranks
                yield step.sub_quantizers, positions

    def sample(self, sampler: Sampler, steps: int | None = None) -> None:
        """Draw all codes that are not known: as files are coded, or the surest first in so many ``steps`` a group.

        The latter is the order of MaskGIT (Chang et al. 2022, section 3.2).
        """
        if steps is None:
            self.fill(self._open_turns(), lambda m, at, table: self._or_known(m, at, sampler.draw(table)), sampler.heat)
        else:
            self._surest_first(sampler, steps)

    def forget(self, positions: np.ndarray) -> None:
        """Make all codes at positions (h * w,) bool unknown."""
        self.codes[:, positions] = 0
        self.known[:, positions] = False
        self._inputs.view(len(positions), -1)[torch.from_numpy(positions)] = 0

    def vectors(self, means: bool = True) -> Tensor:
        """Codewords (1, h * w, C) in codebook units; where a code is unknown the prior's mean, or else codeword 0."""
        quantizer = self.weights.quantizer
        expected = self._means() if means and not self.complete else {}
        parts = []
        for m, dimensions in enumerate(quantizer.dimensions):
            words = quantizer.codebook[m, :, :dimensions]
            vectors = words[torch.from_numpy(self.codes[m]).to(words.device).long()]
            if m in expected:
                seen = torch.from_numpy(self.known[m]).to(words.device)
                vectors = torch.where(seen[:, None], vectors, expected[m])
            parts.append(vectors)
        return torch.cat(parts, 1)[None]

    def _means(self) -> dict[int, Tensor]:
        """Means of the prior's distributions: (h * w, d) for each sub-quantizer that is sent."""
        quantizer = self.weights.quantizer
        means: dict[int, list[Tensor]] = {m: [] for m in range(self.active)}
        for m, _, table in self.weights.prior.tables(self._tokens(), range(self.active)):
            words = quantizer.codebook[m, :, : quantizer.dimensions[m]]
            means[m].append(table.diff().float() @ words / (1 << PRECISION))
        return {m: torch.cat(parts) for m, parts in means.items()}

    def _tokens(self) -> Tensor:
        return self.weights.prior.tokens(self._inputs, self.quality).flatten(0, 2)

    def _open_turns(self) -> Iterator[Turn]:
        """The turns of a file, less the positions where all is known."""
        for coded, positions in self.schedule():
            left = positions[~self.known[coded.start : coded.stop, positions].all(0)]
            if len(left):
                yield coded, left

    def _or_known(self, m: int, positions: np.ndarray, drawn: Tensor) -> Tensor:
        """What is known stays; the rest as drawn."""
        codes = torch.from_numpy(self.codes[m, positions]).to(drawn)
        return torch.where(torch.from_numpy(self.known[m, positions]).to(drawn.device), codes, drawn)

    def _surest_first(self, sampler: Sampler, steps: int) -> None:
        sureness = np.zeros(self.height * self.width, np.int64)

        def draw(m: int, positions: np.ndarray, table: Tensor) -> Tensor:
            codes = self._or_known(m, positions, sampler.draw(table))
            sureness[positions] += sampler.sureness(table, codes)
            return codes

        def surest(coded: range, positions: np.ndarray) -> np.ndarray:
            noise = sampler.noise(len(positions), len(coded), steps - 1 - step, steps)
            count = -(-len(positions) * (2 * step + 1) // (steps**2 - step**2))  # squares: growing steps
            return np.sort(np.argsort(-(sureness[positions] + noise), kind="stable")[:count])

        for group in self.weights.groups:
            coded = range(group.start, min(group.stop, self.active))
            for step in range(steps if coded else 0):
                positions = np.flatnonzero(~self.known[coded.start : coded.stop].all(0))
                if len(positions):
                    sureness[:] = 0
                    self.fill([(coded, positions)], draw, sampler.heat, surest)

"""The hall: the only place where pixels, models, coding and bitstream meet."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pqmim.bitstream.container import CHECKED_FROM, Container, Tag, overhead, read, write
from pqmim.bitstream.header import Header
from pqmim.coding.grid import Grid
from pqmim.coding.loop import decode, encode, expect, information, sample, surest_first, turns
from pqmim.coding.range_coder import RangeDecoder
from pqmim.coding.sampler import COMPLETING, Sampler
from pqmim.dial import MOST_EFFORT, SCALES, default_effort, fit, setting
from pqmim.errors import DamagedFile
from pqmim.image.alpha import decode_alpha, encode_alpha
from pqmim.image.limits import check_size
from pqmim.image.picture import Picture, read_picture, to_pil
from pqmim.image.scale import enlarge, shrink
from pqmim.models.assignment import Assignment
from pqmim.models.quantizer import level_of_rate
from pqmim.models.transforms import STRIDE, in_strips
from pqmim.release import Weights, find, load
from pqmim.results import Encoded, Received, Rendered

LEAST_BITS = 0.005  # of a symbol whose frequency is the largest possible, 65281 of 65536
Completion = Literal["expect", "sample", "none"]
COMPLETED = {
    "expect": "what is missing is what the model expects",
    "sample": "what is missing is drawn",
    "none": "what is missing is left out",
}


class CodeGrid(Grid):
    """The codes of a picture at a quality, and what the prior knows of them."""

    def __init__(self, weights: Weights, height: int, width: int, quality: int):
        super().__init__(len(weights.quantizer.dimensions), height, width, weights.active[quality])
        self.weights, self.quality = weights, quality
        self.context = weights.prior.context(height, width, quality)

    def sample(self, sampler: Sampler, steps: int | None = None) -> None:
        """Draw all codes that are not known: as files are coded, or the surest first in that many `steps` a group."""
        if steps is None:
            order = (replace(turn, temperature=sampler.heat) for turn in turns(self.weights.groups, self))
            sample(self, self.context, order, sampler)
        else:
            surest_first(self, self.context, self.weights.groups, sampler, steps)

    def vectors(self, means: bool = True) -> Tensor:
        """Codewords (1, h * w, C) in codebook units; where a code is unknown the prior's mean, or else codeword 0."""
        quantizer = self.weights.quantizer
        words = [quantizer.codebook[m, :, :d].cpu().numpy() for m, d in enumerate(quantizer.dimensions)]
        return torch.from_numpy(expect(self, words, self.context if means else None)).to(quantizer.codebook)[None]


class Codec:
    """Loaded weights, for repeated use.

    Args:
        weights: a file, or None for the packaged release. A .pqm file that names another packaged release is decoded
            with that.
        device: where the networks run, as torch names it.
        threads: of the networks; None leaves it to torch.

    Attributes:
        weights: the release in use.
        notes: those of the last `compress` or `decompress`; deprecated, read them from the results of `encode` and
            `render`.
    """

    def __init__(self, weights: str | Path | None = None, *, device: str = "cpu", threads: int | None = None):
        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.weights = load(weights, self.device)
        self.notes: list[str] = []
        self._others: dict[int, Weights] = {}

    def encode(
        self,
        image: str | Path | bytes | Image.Image | np.ndarray,
        quality: int = 50,
        *,
        size: int | None = None,
        bpp: float | None = None,
        effort: int | None = None,
    ) -> Encoded:
        """Encode a picture as a .pqm file.

        Args:
            image: a path, the bytes of an image file, a PIL image, or a uint8 array (H, W, 3) in sRGB.
            quality: 0 (smallest file) to 100 (best picture).
            size: bytes that the file takes, in place of a quality; fewer if quality 100 takes fewer. Such a file is
                bare: it has no check and no alpha, and its last codes are left to the model.
            bpp: such a size in bits a pixel.
            effort: steps that refine the choice of codes against the pixels (see `models.assignment`): 0 is fastest,
                8 saves another 1 %, None is 4, or 0 beyond 8 megapixels.

        Raises:
            InvalidImage: there is no picture in what is given.
            ValueError: the quality or the effort is out of range, the size is too small for a header, or both sizes
                are given.
        """
        if quality != int(quality) or not 0 <= quality <= 100:
            raise ValueError(f"quality must be a whole number from 0 to 100, not {quality}")
        if effort is not None and (effort != int(effort) or not 0 <= effort <= MOST_EFFORT):
            raise ValueError(f"effort must be a whole number from 0 to {MOST_EFFORT}, not {effort}")
        if size is not None and bpp is not None:
            raise ValueError("a size is given in bytes or in bits a pixel, not both")
        picture = read_picture(image)
        height, width = picture.rgb.shape[:2]
        if bpp is not None:
            size = int(bpp * width * height / 8)
        if size is not None:
            return self._encode_to(picture, size, effort)
        quality, scale = setting(int(quality))
        grid, payload = self._encode(shrink(picture.rgb, scale), quality, effort)
        chunks = {} if picture.alpha is None else {Tag.ALPHA: encode_alpha(picture.alpha)}
        data = write(Header(width, height, quality, self.weights.id, scale), payload, chunks, grid.codes.tobytes())
        return Encoded(data, width, height, quality, scale, tuple(picture.notes))

    @torch.inference_mode()
    def receive(self, data: bytes, *, partial: bool = False) -> Received:
        """Find the codes that the bytes of a file, or of its beginning, determine.

        Args:
            data: the bytes.
            partial: take what there is of a whole file whose check fails, and say so in the notes.

        Raises:
            DamagedFile: the file breaks the format, or its check fails.
            UnsupportedFile: the file is of another kind, or needs weights that are not here.
        """
        container, grid = self._receive(data, partial)
        verified = container.complete and container.verifies(grid.codes.tobytes())
        notes = _missing(container, grid, verified)
        return Received(
            container.header, grid.codes, grid.known, grid.active, dict(container.chunks), verified, tuple(notes)
        )

    @torch.inference_mode()
    def render(
        self,
        received: Received,
        *,
        complete: Completion = "expect",
        seed: int = 0,
        temperature: float = COMPLETING,
        steps: int | None = None,
    ) -> Rendered:
        """Make the picture of what was received.

        Args:
            received: codes, as `receive` finds them.
            complete: what is missing is what the prior expects (the least error), a `sample` of what it may have been
                (see `draw`), or none.
            seed: of a sample, from 0.
            temperature: of a sample, above 0.
            steps: of a sample, see `draw`.

        Raises:
            ValueError: an option is out of range.
        """
        if complete not in ("expect", "sample", "none"):
            raise ValueError(f"what is missing can be completed by expect, sample or none, not {complete}")
        notes = received.notes if received.complete else (*received.notes, COMPLETED[complete])
        sampler = Sampler(seed, temperature)
        grid, header = self._grid_of(received), received.header
        if complete == "sample" and not grid.complete:
            grid.sample(sampler, steps)
        rgb = self._synthesize(header, grid, means=complete != "none")
        alpha = received.chunks.get(Tag.ALPHA)
        image = to_pil(rgb, None if alpha is None else decode_alpha(alpha, (header.height, header.width)))
        return Rendered(image, None, notes)

    @torch.inference_mode()
    def draw(
        self, received: Received, *, seed: int = 0, temperature: float = 1.0, steps: int | None = None
    ) -> Received:
        """Draw all codes that were not received.

        Args:
            received: codes, as `receive` finds them.
            seed: draws the same codes on every machine.
            temperature: 1 draws as often as the prior says, less keeps to what is likely.
            steps: the surest codes first, in that many steps a group; None draws in the order of files.

        Raises:
            ValueError: an option is out of range.
        """
        grid = self._grid_of(received)
        grid.sample(Sampler(seed, temperature), steps)
        return replace(received, codes=grid.codes, known=grid.known, verified=False)

    def empty(self, width: int, height: int, quality: int = 40) -> Received:
        """What is received of a picture of which nothing was sent.  Raises `ValueError` for what no header holds."""
        header = Header(width, height, quality, self.weights.id)
        check_size(width, height)
        grid = self._grid(self.weights, header)
        return Received(header, grid.codes, grid.known, grid.active)

    def compress(
        self,
        image: str | Path | bytes | Image.Image | np.ndarray,
        quality: int = 50,
        *,
        size: int | None = None,
        bpp: float | None = None,
        effort: int | None = None,
    ) -> bytes:
        """The bytes of a .pqm file of a picture: see `encode`."""
        encoded = self.encode(image, quality, size=size, bpp=bpp, effort=effort)
        self.notes = list(encoded.notes)
        return encoded.data

    def decompress(
        self,
        data: bytes,
        *,
        complete: Completion = "expect",
        seed: int = 0,
        temperature: float = COMPLETING,
        steps: int | None = None,
        partial: bool = False,
    ) -> Image.Image:
        """The picture in the bytes of a .pqm file: see `receive` and `render`."""
        received = self.receive(data, partial=partial)
        rendered = self.render(received, complete=complete, seed=seed, temperature=temperature, steps=steps)
        self.notes = list(rendered.notes)
        return rendered.image

    def generate(
        self,
        width: int,
        height: int,
        *,
        quality: int = 40,
        seed: int = 0,
        temperature: float = 1.0,
        steps: int | None = None,
    ) -> Image.Image:
        """A picture of which nothing was sent: see `empty` and `draw`."""
        drawn = self.draw(self.empty(width, height, quality), seed=seed, temperature=temperature, steps=steps)
        return self.render(drawn).image

    def repaint(
        self,
        data: bytes,
        mask: np.ndarray,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        steps: int | None = None,
    ) -> Image.Image:
        """The picture in a .pqm file, with the region of `mask` (H, W) bool drawn anew from its surroundings.

        Codes stand for 16 x 16 pixels: those of which a pixel is masked are drawn. Raises as `receive` and `draw` do,
        and `ValueError` where the mask has another size than the picture.
        """
        received = self.receive(data)
        header = received.header
        if mask.shape != (header.height, header.width):
            raise ValueError(f"the mask is {mask.shape[1]}x{mask.shape[0]}, the picture {header.width}x{header.height}")
        side = STRIDE << header.scale
        masked = np.pad(mask, ((0, -header.height % side), (0, -header.width % side)))
        rows, columns = (length // side for length in masked.shape)
        unknown = masked.reshape(rows, side, columns, side).any((1, 3)).ravel()
        drawn = self.draw(received.without(unknown), seed=seed, temperature=temperature, steps=steps)
        return self.render(drawn).image

    def check(self, data: bytes) -> Received:
        """Find and verify the codes of a whole file.

        Raises:
            DamagedFile: the file is cut or damaged, or carries nothing to verify it by.
            UnsupportedFile: it is of another kind, or needs weights that are not here.
        """
        received = self.receive(data)
        if not received.verified:
            read(data).verify(received.codes.tobytes())
        return received

    def codes(self, data: bytes) -> np.ndarray:
        """The codes (M, h, w) uint8 of a whole file, verified.  Raises as `check` does."""
        received = self.check(data)
        return received.codes.reshape(-1, *received.shape)

    @torch.inference_mode()
    def ideal_bits(self, codes: np.ndarray, quality: int) -> np.ndarray:
        """Information (M,) in bits that the integer prior finds in codes (M, h, w) uint8, by sub-quantizer."""
        grid = CodeGrid(self.weights, *codes.shape[1:], quality)
        order = turns(self.weights.groups, grid)
        return information(grid, grid.context, order, codes.reshape(len(codes), -1))

    # -- picture to codes to bytes --------------------------------------------------------------

    def _encode_to(self, picture: Picture, size: int, effort: int | None) -> Encoded:
        """A bare file of ``size`` bytes: the first quality whose payload is too long, cut to what fits."""
        height, width = picture.rgb.shape[:2]
        empty = Header(width, height, 0, self.weights.id, framed=False, checked=size >= CHECKED_FROM)
        room = size - overhead(empty)
        if room < 1:
            raise ValueError(f"a file of {size} bytes has no room for more than its header")
        notes = list(picture.notes)
        if picture.alpha is not None:
            notes.append("the transparency was dropped: files of an exact size hold colours alone")
        bpp = 8 * room / (width * height)
        scale = sum(bpp < most for most in SCALES)
        rgb = shrink(picture.rgb, scale)
        tried: list[int] = []

        def coded(quality: int) -> bytes:
            tried.append(quality)
            return self._encode(rgb, quality, effort)[1]

        quality, payload = fit(coded, room, rgb.shape[0] * rgb.shape[1])
        header = replace(empty, quality=quality, scale=scale)
        return Encoded(write(header, payload[:room], {}, b""), width, height, quality, scale, tuple(notes), len(tried))

    @torch.inference_mode(False)  # whatever the caller's is: refinement follows gradients
    @torch.no_grad()
    def _encode(self, rgb: np.ndarray, quality: int, effort: int | None) -> tuple[CodeGrid, bytes]:
        image = torch.tensor(rgb, device=self.device).permute(2, 0, 1)[None]  # (1, 3, H, W)
        steps = default_effort(image.shape[2] * image.shape[3]) if effort is None else int(effort)
        assignment = Assignment(self.weights, image, quality, steps)
        grid = CodeGrid(self.weights, assignment.height, assignment.width, quality)
        return grid, encode(grid, grid.context, turns(self.weights.groups, grid), assignment.cheapest)

    # -- bytes to codes to picture --------------------------------------------------------------

    @torch.inference_mode()
    def _receive(self, data: bytes, partial: bool = False) -> tuple[Container, CodeGrid]:
        """The file and what its bytes determine.  ``partial``: damage that the check finds, or would, is let pass."""
        container = read(data)
        header = container.header
        check_size(header.width, header.height)
        if container.complete and not partial:
            container.require_intact()
        grid = self._grid(self._weights_for(header), header)
        if container.complete and 8 * len(container.payload) + 16 < LEAST_BITS * grid.active * grid.known.shape[1]:
            raise DamagedFile("the file is damaged: its header claims more pixels than its bytes can hold")
        decode(grid, grid.context, turns(grid.weights.groups, grid), RangeDecoder(container.payload))
        if container.complete and not partial:
            if not grid.complete:
                raise DamagedFile("the file is damaged: its bytes end before its codes do")
            container.verify(grid.codes.tobytes())
        return container, grid

    @torch.inference_mode()
    def _synthesize(self, header: Header, grid: CodeGrid, means: bool = True) -> np.ndarray:
        weights = grid.weights
        level = self._level(weights, grid.quality)
        z = weights.quantizer.restored(grid.vectors(means), level, grid.height)
        image = in_strips(weights.synthesis, z, level, 1, STRIDE)[0]
        width, height = header.coded_size
        image = image[:, :height, :width].round().clamp(0, 255).to(torch.uint8)
        return enlarge(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()), header.width, header.height)

    # -- shared ---------------------------------------------------------------------------------

    def _grid(self, weights: Weights, header: Header) -> CodeGrid:
        width, height = header.coded_size
        return CodeGrid(weights, -(-height // STRIDE), -(-width // STRIDE), header.quality)

    def _grid_of(self, received: Received) -> CodeGrid:
        grid = self._grid(self._weights_for(received.header), received.header)
        for m, known in enumerate(received.known):
            positions = np.flatnonzero(known)
            grid.reveal(m, positions, received.codes[m, positions])
            grid.context.reveal(m, positions, received.codes[m, positions])
        return grid

    def _level(self, weights: Weights, quality: int) -> Tensor:
        return level_of_rate(torch.tensor([weights.rates[quality]], device=self.device))

    def _weights_for(self, header: Header) -> Weights:
        if header.weights == self.weights.id:
            return self.weights
        if header.weights not in self._others:
            self._others[header.weights] = load(find(header.weights), self.device)
        return self._others[header.weights]


def _missing(container: Container, grid: CodeGrid, verified: bool) -> list[str]:
    """What was not found in a file."""
    framed = container.header.framed
    if not framed and container.intact is False:
        return [f"the file is cut or damaged: its check fails; {grid.share:.1%} of its codes are there"]
    if not grid.complete:
        cause = "was made to a size" if not framed else "is damaged" if container.complete else "is cut"
        return [f"the file {cause}: {grid.share:.1%} of its codes are there"]
    if framed and not container.complete:
        return ["the file is cut after its codes: they are all there, but nothing verifies them"]
    if framed and not verified:
        return ["the file is damaged: its check fails, and the picture may be wrong from anywhere on"]
    return []

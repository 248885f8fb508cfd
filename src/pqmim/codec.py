"""The hall: the only place where pixels, models, coding and bitstream meet."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pqmim.bitstream.container import Container, Tag, read, write
from pqmim.bitstream.header import Header
from pqmim.coding.grid import Choose, CodeGrid
from pqmim.coding.range_coder import PRECISION, RangeDecoder, RangeEncoder
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

LEAST_BITS = 0.005  # of a symbol whose frequency is the largest possible, 65281 of 65536
Completion = Literal["expect", "sample", "none"]


class Codec:
    """Loaded weights, for repeated use.

    ``weights`` is a file, or None for the packaged release; a ``.pqm`` file that names another packaged
    release is decoded with that.  ``notes`` tells what the last ``compress`` could not keep, and the
    last ``decompress`` could not find, one line each.
    """

    def __init__(self, weights: str | Path | None = None, *, device: str = "cpu", threads: int | None = None):
        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.weights = load(weights, self.device)
        self.notes: list[str] = []
        self._others: dict[int, Weights] = {}

    def compress(
        self,
        image: str | Path | bytes | Image.Image | np.ndarray,
        quality: int = 50,
        *,
        size: int | None = None,
        bpp: float | None = None,
        effort: int | None = None,
    ) -> bytes:
        """A ``.pqm`` file of a picture: a path, the bytes of an image file, a PIL image, or a uint8 array (H, W, 3).

        ``quality`` is 0 to 100.  With ``size``, the file takes exactly that many bytes instead, or fewer if quality
        100 does: a bare file, without check and alpha, whose last codes are left to the model.  ``bpp`` is a size in
        bits a pixel.  ``effort`` is the number of steps that refine the choice of codes against the pixels (see
        ``models.assignment``): 0 is fastest, 8 saves another 1 %, None is 4, or 0 beyond 8 megapixels.
        Raises ``InvalidImage`` if there is no picture in what is given, ``ValueError`` if the quality or the effort
        is out of range, the size too small for a header, or both sizes are given.
        """
        if quality != int(quality) or not 0 <= quality <= 100:
            raise ValueError(f"quality must be a whole number from 0 to 100, not {quality}")
        if effort is not None and (effort != int(effort) or not 0 <= effort <= MOST_EFFORT):
            raise ValueError(f"effort must be a whole number from 0 to {MOST_EFFORT}, not {effort}")
        if size is not None and bpp is not None:
            raise ValueError("a size is given in bytes or in bits a pixel, not both")
        picture = read_picture(image)
        self.notes = list(picture.notes)
        height, width = picture.rgb.shape[:2]
        if bpp is not None:
            size = int(bpp * width * height / 8)
        if size is not None:
            return self._compress_to(picture, size, effort)
        quality, scale = setting(int(quality))
        grid, payload = self._encode(shrink(picture.rgb, scale), quality, effort)
        chunks = {} if picture.alpha is None else {Tag.ALPHA: encode_alpha(picture.alpha)}
        return write(Header(width, height, quality, self.weights.id, scale), payload, chunks, grid.codes.tobytes())

    @torch.inference_mode()
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
        """The picture in a ``.pqm`` file.

        A file cut short decodes to what its bytes determine, and ``notes`` says so.  The rest is what the prior
        expects (the least error), a ``sample`` of what it may have been (see ``CodeGrid.sample``), or nothing.  A
        whole file whose check fails is an error, unless ``partial``.  Raises ``DamagedFile`` or ``UnsupportedFile``,
        ``ValueError`` for a seed or temperature out of range.
        """
        if complete not in ("expect", "sample", "none"):
            raise ValueError(f"what is missing can be completed by expect, sample or none, not {complete}")
        sampler = Sampler(seed, temperature)
        container, grid = self._receive(data, partial)
        self._tell(container, grid, complete)
        if complete == "sample" and not grid.complete:
            grid.sample(sampler, steps)
        rgb = self._synthesize(container.header, grid, means=complete != "none")
        alpha = container.chunks.get(Tag.ALPHA)
        return to_pil(
            rgb, None if alpha is None else decode_alpha(alpha, (container.header.height, container.header.width))
        )

    @torch.inference_mode()
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
        """A picture of which nothing was sent: all codes of a quality are drawn.  Raises ``ValueError`` as above."""
        header = Header(width, height, quality, self.weights.id)
        check_size(width, height)
        grid = self._grid(self.weights, header)
        grid.sample(Sampler(seed, temperature), steps)
        return to_pil(self._synthesize(header, grid), None)

    @torch.inference_mode()
    def repaint(
        self,
        data: bytes,
        mask: np.ndarray,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        steps: int | None = None,
    ) -> Image.Image:
        """The picture in a ``.pqm`` file, with the region of ``mask`` (H, W) bool drawn anew from its surroundings.

        Codes stand for 16 x 16 pixels: those of which a pixel is masked are drawn.  Raises as ``decompress`` does.
        """
        sampler = Sampler(seed, temperature)
        container, grid = self._receive(data)
        header = container.header
        if mask.shape != (header.height, header.width):
            raise ValueError(f"the mask is {mask.shape[1]}x{mask.shape[0]}, the picture {header.width}x{header.height}")
        side = STRIDE << header.scale
        masked = np.pad(mask, ((0, -header.height % side), (0, -header.width % side)))
        grid.forget(masked.reshape(grid.height, side, grid.width, side).any((1, 3)).ravel())
        grid.sample(sampler, steps)
        self.notes = []
        return to_pil(self._synthesize(header, grid), None)

    def codes(self, data: bytes) -> np.ndarray:
        """The codes (M, h, w) uint8 of a complete file, verified.  Raises ``DamagedFile`` or ``UnsupportedFile``."""
        container, grid = self._receive(data)
        if not container.complete:
            container.verify(b"")  # says what keeps the file from being verified
        return grid.codes.reshape(-1, grid.height, grid.width)

    @torch.inference_mode()
    def ideal_bits(self, codes: np.ndarray, quality: int) -> np.ndarray:
        """Information (M,) in bits that the integer prior finds in codes (M, h, w) uint8, by sub-quantizer."""
        bits = np.zeros(len(codes))

        def given(m: int, positions: np.ndarray, table: Tensor) -> Tensor:
            found = torch.from_numpy(codes[m].ravel()[positions]).to(self.device).long()
            bits[m] += (PRECISION - table.diff().gather(1, found[:, None]).double().log2()).sum().item()
            return found

        grid = CodeGrid(self.weights, *codes.shape[1:], quality)
        grid.fill(grid.schedule(), given)
        return bits

    # -- picture to codes to bytes --------------------------------------------------------------

    def _compress_to(self, picture: Picture, size: int, effort: int | None) -> bytes:
        """A bare file of ``size`` bytes: the first quality whose payload is too long, cut to what fits."""
        height, width = picture.rgb.shape[:2]
        room = size - len(Header(width, height, 0, self.weights.id, framed=False).pack())
        if room < 1:
            raise ValueError(f"a file of {size} bytes has no room for more than its header")
        if picture.alpha is not None:
            self.notes.append("the transparency was dropped: files of an exact size hold colours alone")
        bpp = 8 * room / (width * height)
        scale = sum(bpp < most for most in SCALES)
        rgb = shrink(picture.rgb, scale)
        quality, payload = fit(lambda quality: self._encode(rgb, quality, effort)[1], room, rgb.shape[0] * rgb.shape[1])
        header = Header(width, height, quality, self.weights.id, scale=scale, framed=False)
        return write(header, payload[:room], {}, b"")

    @torch.inference_mode(False)  # whatever the caller's is: refinement follows gradients
    @torch.no_grad()
    def _encode(self, rgb: np.ndarray, quality: int, effort: int | None) -> tuple[CodeGrid, bytes]:
        image = torch.tensor(rgb, device=self.device).permute(2, 0, 1)[None]  # (1, 3, H, W)
        steps = default_effort(image.shape[2] * image.shape[3]) if effort is None else int(effort)
        assignment = Assignment(self.weights, image, quality, steps)
        grid = CodeGrid(self.weights, assignment.height, assignment.width, quality)
        return grid, self._coded(grid, assignment.cheapest)

    def _coded(self, grid: CodeGrid, choose: Choose) -> bytes:
        """The payload of an empty grid, which is filled."""
        encoder = RangeEncoder()

        def coded(m: int, positions: np.ndarray, table: Tensor) -> Tensor:
            found = choose(m, positions, table)[:, None]
            sizes = table.diff().gather(1, found)
            encoder.encode(table.gather(1, found)[:, 0].cpu().numpy(), sizes[:, 0].cpu().numpy())
            return found[:, 0]

        grid.fill(grid.schedule(), coded)
        return encoder.finish()

    # -- bytes to codes to picture --------------------------------------------------------------

    @torch.inference_mode()
    def _receive(self, data: bytes, partial: bool = False) -> tuple[Container, CodeGrid]:
        """The file and what its bytes determine.  ``partial``: damage that the check finds, or would, is let pass."""
        container = read(data)
        header = container.header
        check_size(header.width, header.height)
        grid = self._grid(self._weights_for(header), header)
        if container.complete and 8 * len(container.payload) + 16 < LEAST_BITS * grid.active * grid.known.shape[1]:
            raise DamagedFile("the file is damaged: its header claims more pixels than its bytes can hold")
        decoder = RangeDecoder(container.payload)

        def decoded(m: int, positions: np.ndarray, table: Tensor) -> Tensor:
            return torch.from_numpy(decoder.decode(table.cpu().numpy())).to(self.device)

        grid.fill(grid.schedule(), decoded)
        if container.complete and not partial:
            if not grid.complete:
                raise DamagedFile("the file is damaged: its bytes end before its codes do")
            container.verify(grid.codes.tobytes())
        return container, grid

    def _tell(self, container: Container, grid: CodeGrid, complete: Completion) -> None:
        """Note what was not found in the file."""
        framed = container.header.framed
        self.notes = []
        if not grid.complete:
            cause = "was made to a size" if not framed else "is damaged" if container.complete else "is cut"
            rest = {
                "expect": "the model expects the rest",
                "sample": "the rest is drawn",
                "none": "the rest is left out",
            }
            self.notes.append(f"the file {cause}: {grid.share:.1%} of its codes are there, {rest[complete]}")
        elif framed and not container.complete:
            self.notes.append("the file is cut after its codes: they are all there, but nothing verifies them")
        elif framed and not container.verifies(grid.codes.tobytes()):
            self.notes.append("the file is damaged: its check fails, and the picture may be wrong from anywhere on")

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

    def _level(self, weights: Weights, quality: int) -> Tensor:
        return level_of_rate(torch.tensor([weights.rates[quality]], device=self.device))

    def _weights_for(self, header: Header) -> Weights:
        if header.weights == self.weights.id:
            return self.weights
        if header.weights not in self._others:
            self._others[header.weights] = load(find(header.weights), self.device)
        return self._others[header.weights]

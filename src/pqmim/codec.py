"""The hall: the only place where pixels, models, coding and bitstream meet."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pqmim.bitstream.container import Container, Tag, read, write
from pqmim.bitstream.errors import DamagedFile
from pqmim.bitstream.header import Header
from pqmim.coding.range_coder import PRECISION, RangeDecoder, RangeEncoder
from pqmim.coding.schedule import passes
from pqmim.image.alpha import decode_alpha, encode_alpha
from pqmim.image.limits import check_size
from pqmim.image.picture import Picture, read_picture, to_pil
from pqmim.models.integer_prior import rate_of
from pqmim.models.product_quantizer import level_of_rate
from pqmim.models.transforms import STRIDE, in_strips
from pqmim.models.weights import Weights, find, load

STEP = 0.05  # about what one step of quality adds to the logarithm of the size
LEAST_BITS = 0.005  # of a symbol whose frequency is the largest possible, 65281 of 65536
Choose = Callable[[int, np.ndarray, Tensor], Tensor]


@dataclass
class Received:
    """Codes (M, h, w) uint8, which of them the file determined (same shape, bool), and whether that is all it held."""

    codes: np.ndarray
    known: np.ndarray
    complete: bool

    @property
    def share(self) -> float:
        """Share, 0 to 1, of the codes sent that were received."""
        return float(self.known.mean())


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
        self, image: str | Path | bytes | Image.Image | np.ndarray, quality: int = 50, *, size: int | None = None
    ) -> bytes:
        """A ``.pqm`` file of a picture: a path, the bytes of an image file, a PIL image, or a uint8 array (H, W, 3).

        ``quality`` is 0 to 100.  With ``size``, the file takes exactly that many bytes instead, or fewer if quality
        100 does: a bare file, without check and alpha, whose last codes are left to the model.  Raises
        ``InvalidImage`` if there is no picture in what is given, ``ValueError`` if the quality is out of range or
        the size too small for a header.
        """
        if quality != int(quality) or not 0 <= quality <= 100:
            raise ValueError(f"quality must be a whole number from 0 to 100, not {quality}")
        picture = read_picture(image)
        self.notes = list(picture.notes)
        if size is not None:
            return self._compress_to(picture, size)
        height, width = picture.rgb.shape[:2]
        header = Header(width, height, int(quality), self.weights.id)
        codes, payload = self._encode(picture.rgb, int(quality))
        chunks = {} if picture.alpha is None else {Tag.ALPHA: encode_alpha(picture.alpha)}
        return write(header, payload, chunks, codes.tobytes())

    def _compress_to(self, picture: Picture, size: int) -> bytes:
        """A bare file of ``size`` bytes: the first quality whose payload is too long, cut to what fits."""
        height, width = picture.rgb.shape[:2]
        room = size - len(Header(width, height, 0, self.weights.id, framed=False).pack())
        if room < 1:
            raise ValueError(f"a file of {size} bytes has no room for more than its header")
        if picture.alpha is not None:
            self.notes.append("the transparency was dropped: files of an exact size hold colours alone")
        payloads: dict[int, bytes] = {}
        fits, exceeds, quality, stride = -1, 101, 50, 1
        while exceeds - fits > 1:
            payloads[quality] = self._encode(picture.rgb, quality)[1]
            steps = math.log(room / max(1, len(payloads[quality]))) / STEP
            aim = quality + (max(round(steps), stride) if steps >= 0 else min(round(steps), -stride))
            fits, exceeds = (quality, exceeds) if steps >= 0 else (fits, quality)
            if fits in payloads and exceeds in payloads:
                aim = (fits + exceeds) // 2
            quality, stride = min(max(aim, fits + 1), exceeds - 1), 2 * stride
        quality = min(exceeds, 100)
        header = Header(width, height, quality, self.weights.id, framed=False)
        return write(header, payloads[quality][:room], {}, b"")

    def decompress(self, data: bytes) -> Image.Image:
        """The picture in a ``.pqm`` file.

        A file cut short decodes to what its bytes determine; the rest is filled in with what the prior
        expects, and ``notes`` says so.  Raises ``DamagedFile`` or ``UnsupportedFile``.
        """
        container, weights, received = self._receive(data)
        header = container.header
        self.notes = []
        if not received.complete:
            cause = "is cut" if header.framed else "was made to a size"
            self.notes.append(
                f"the file {cause}: {received.share:.1%} of its codes are there, the model expects the rest"
            )
        elif header.framed and not container.complete:
            self.notes.append("the file is cut after its codes: they are all there, but nothing verifies them")
        rgb = self._synthesize(weights, header, received)
        alpha = container.chunks.get(Tag.ALPHA)
        return to_pil(rgb, None if alpha is None else decode_alpha(alpha, (header.height, header.width)))

    def codes(self, data: bytes) -> np.ndarray:
        """The codes (M, h, w) uint8 of a complete file, verified.  Raises ``DamagedFile`` or ``UnsupportedFile``."""
        container, _, received = self._receive(data)
        if not container.complete:
            container.verify(b"")  # says what keeps the file from being verified
        return received.codes

    @torch.inference_mode()
    def ideal_bits(self, codes: np.ndarray, quality: int) -> np.ndarray:
        """Information (M,) in bits that the integer prior finds in codes (M, h, w) uint8, by sub-quantizer."""
        bits = np.zeros(len(codes))

        def given(m: int, positions: np.ndarray, table: Tensor) -> Tensor:
            found = torch.from_numpy(codes[m].ravel()[positions]).to(self.device).long()
            bits[m] += (PRECISION - table.diff().gather(1, found[:, None]).double().log2()).sum().item()
            return found

        self._walk(self.weights, *codes.shape[1:], quality, given)
        return bits

    # -- picture to codes to bytes --------------------------------------------------------------

    @torch.inference_mode()
    def _encode(self, rgb: np.ndarray, quality: int) -> tuple[np.ndarray, bytes]:
        weights, level = self.weights, self._level(self.weights, quality)
        z = in_strips(weights.analysis, _padded(rgb).to(self.device), level, STRIDE, 1)
        y = weights.quantizer.scaled(z, level)[0].split(weights.quantizer.dimensions, 1)  # M of (h * w, d)
        worth = weights.quantizer.weights(level)[0]  # (M, D)
        price = weights.prices[quality]
        encoder = RangeEncoder()

        def cheapest(m: int, positions: np.ndarray, table: Tensor) -> Tensor:
            """Entropy-constrained choice, with the probabilities that the decoder will have."""
            sizes = table.diff()  # (n, K)
            vectors, scale = y[m][positions], worth[m, : y[m].shape[1]]
            words = weights.quantizer.codebook[m, :, : y[m].shape[1]]
            error = words.square() @ scale - 2 * (vectors * scale) @ words.T  # (n, K), less what all share
            found = (error + price * (PRECISION - sizes.float().log2())).argmin(1, keepdim=True)
            encoder.encode(table.gather(1, found)[:, 0].cpu().numpy(), sizes.gather(1, found)[:, 0].cpu().numpy())
            return found[:, 0]

        codes, _ = self._walk(weights, z.shape[2], z.shape[3], quality, cheapest)
        return codes, encoder.finish()

    # -- bytes to codes to picture --------------------------------------------------------------

    @torch.inference_mode()
    def _receive(self, data: bytes) -> tuple[Container, Weights, Received]:
        container = read(data)
        header = container.header
        weights = self._weights_for(header)
        height, width = -(-header.height // STRIDE), -(-header.width // STRIDE)
        check_size(header.width, header.height, "the file")
        active = weights.active[header.quality]
        if container.complete and 8 * len(container.payload) + 16 < LEAST_BITS * active * height * width:
            raise DamagedFile("the file is damaged: its header claims more pixels than its bytes can hold")
        decoder = RangeDecoder(container.payload)

        def decoded(m: int, positions: np.ndarray, table: Tensor) -> Tensor:
            return torch.from_numpy(decoder.decode(table.cpu().numpy())).to(self.device)

        codes, known = self._walk(weights, height, width, header.quality, decoded)
        complete = bool(known[:active].all())
        if container.complete:
            if not complete:
                raise DamagedFile("the file is damaged: its bytes end before its codes do")
            container.verify(codes.tobytes())
        return container, weights, Received(codes, known[:active], complete)

    @torch.inference_mode()
    def _synthesize(self, weights: Weights, header: Header, received: Received) -> np.ndarray:
        level = self._level(weights, header.quality)
        codes = torch.from_numpy(received.codes).to(self.device)
        height = codes.shape[1]
        words = [book[:, :d] for book, d in zip(weights.quantizer.codebook, weights.quantizer.dimensions)]
        y = [book[chosen] for book, chosen in zip(words, codes.flatten(1).long())]  # M of (h * w, d)
        if not received.complete:
            self._expect(weights, header.quality, codes, received.known, y)
        z = weights.quantizer.restored(torch.cat(y, 1)[None], level, height)
        image = in_strips(weights.synthesis, z, level, 1, STRIDE)[0]
        image = image[:, : header.height, : header.width].round().clamp(0, 255).to(torch.uint8)
        return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())

    def _expect(self, weights: Weights, quality: int, codes: Tensor, known: np.ndarray, y: list[Tensor]) -> None:
        """Put the mean of the prior's distribution wherever a code is unknown."""
        active = len(known)
        seen = torch.zeros_like(codes, dtype=torch.bool)
        seen[:active] = torch.from_numpy(known).to(self.device)
        inputs = weights.prior.masked(codes.permute(1, 2, 0)[None], seen.permute(1, 2, 0)[None])
        tokens = weights.prior.tokens(inputs, quality).flatten(0, 2)
        for m, table in weights.prior.tables(tokens, range(active)):
            mean = table.diff().float() @ weights.quantizer.codebook[m, :, : y[m].shape[1]] / (1 << PRECISION)
            y[m] = torch.where(seen[m].flatten()[:, None], y[m], mean)

    # -- shared ---------------------------------------------------------------------------------

    def _walk(
        self, weights: Weights, height: int, width: int, quality: int, choose: Choose
    ) -> tuple[np.ndarray, np.ndarray]:
        """Walk the schedule; ``choose(m, positions, table)`` gives the codes of sub-quantizer m, or fewer to stop.

        Returns codes (M, h, w) uint8, 0 where not chosen, and which were (same shape, bool).
        """
        size = len(weights.quantizer.dimensions)
        codes = np.zeros((size, height * width), np.uint8)
        known = np.zeros((size, height * width), bool)
        inputs = weights.prior.blank(1, height, width)
        for step in passes(weights.groups, weights.active[quality]):
            positions = step.positions(height, width)
            if not len(positions):
                continue
            tokens = weights.prior.tokens(inputs, quality).flatten(0, 2)[positions]
            for m, table in weights.prior.tables(tokens, step.sub_quantizers):
                found = choose(m, positions, table)
                reached = positions[: len(found)]
                codes[m, reached] = found.cpu().numpy()
                known[m, reached] = True
                weights.prior.reveal(inputs, m, reached, found)
                if len(found) < len(positions):
                    break
            if not known[step.sub_quantizers.stop - 1, positions].all():
                break
        return codes.reshape(size, height, width), known.reshape(size, height, width)

    def _level(self, weights: Weights, quality: int) -> Tensor:
        return level_of_rate(rate_of(torch.tensor([quality], device=self.device), weights.config.levels + 1))

    def _weights_for(self, header: Header) -> Weights:
        if header.weights == self.weights.id:
            return self.weights
        if header.weights not in self._others:
            self._others[header.weights] = load(find(header.weights), self.device)
        return self._others[header.weights]


def _padded(rgb: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) to float (1, 3, H', W'), edges repeated up to multiples of 16."""
    height, width = rgb.shape[:2]
    rgb = np.pad(rgb, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float()

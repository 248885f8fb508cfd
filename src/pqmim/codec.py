"""The calls of the codec, in which pixels, models, coding and bitstream meet.

encode   picture → encoder → codes → prior, range coder → file      `sending`, `encoder`
receive  file → range decoder, prior → codes                        `reception`
render   codes → codewords → synthesis → picture                    `rendering`
"""

import operator
import os
import threading
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pqmim import dial
from pqmim.across_scales import JOINING, Known, Plan, draw_across_scales
from pqmim.bitstream.container import Container, Tag, read
from pqmim.bitstream.header import Header, Kind
from pqmim.coding.grid import Grid
from pqmim.coding.prior import UNIT
from pqmim.coding.sampler import COMPLETING, Sampler
from pqmim.engine import Engine, Settings, Style
from pqmim.errors import BadArgument, InvalidImage, PqmimError
from pqmim.image.alpha import decode_alpha
from pqmim.image.limits import check_size
from pqmim.image.metadata import Metadata
from pqmim.image.picture import read_picture
from pqmim.image.scale import shrink
from pqmim.looks import dial_of
from pqmim.reception import Form, admit, found_in
from pqmim.release import find, load
from pqmim.rendering import finished
from pqmim.results import STRIDE, Encoded, Received, Rendered
from pqmim.sending import METADATA, Sender
from pqmim.studio import EngineStudio

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]"
Completion = Literal["expect", "sample", "none"]
COMPLETED = {
    "expect": "what is missing is what the model expects",
    "sample": "what is missing is drawn",
    "none": "what is missing is left out",
}


class Codec:
    """Loaded weights, for repeated use.  Several threads may share one.

    Args:
        weights: a file, or None for the packaged release. A .pqm file that names another packaged release is decoded
            with that.
        device: where the networks run, as torch names it.
        threads: the most that torch uses for one call on the CPU; None: as many as there are processors that nobody
            else keeps busy.
        prior: the form of the prior, see `reception.prior_of`. All forms give the same codes.

    Attributes:
        release: the release in use.

    Raises:
        WeightsError: the weights cannot be read, are damaged, or are none.
        BadArgument: there are no such threads.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str = "cpu",
        threads: int | None = None,
        prior: Form = "auto",
    ) -> None:
        if threads is not None and threads < 1:
            raise BadArgument(f"threads must be 1 or more, not {threads}")
        self.release = load(weights)
        self._named = weights is not None
        self._settings = Settings(str(device), threads, prior)
        self._engines = {self.release.id: Engine(self.release, self._settings)}
        self._lock = threading.Lock()

    def encode(
        self,
        image: ImageSource,
        quality: int = 50,
        *,
        size: int | None = None,
        bpp: float | None = None,
        psnr: float | None = None,
        msssim: float | None = None,
        effort: int | None = None,
        max_pixels: int | None = None,
        keep_metadata: bool = False,
        verify: bool = False,
    ) -> Encoded:
        """Encode a picture as a .pqm file.

        At most one of `size`, `bpp`, `psnr` and `msssim` takes the place of the quality.

        Args:
            image: a path, the bytes of an image file, a PIL image, or a uint8 array (H, W, 3) in sRGB.
            quality: 0 (smallest file) to 100 (best picture).
            size: bytes that the file takes; fewer if quality 100 takes fewer. Such a file is bare: it has no alpha and
                no metadata, a check of 16 bits from 100 bytes on, and its last codes are left to the model.
            bpp: such a size in bits a pixel.
            psnr: dB over all samples that the picture reaches, at the lowest quality that does.
            msssim: MS-SSIM, 0 to 1, that it reaches. Needs sides of 161 pixels.
            effort: steps that refine the choice of codes against the pixels (see `encoder`): 0 is fastest, 8 saves
                another half percent, None is 4, or 0 beyond 8 megapixels.
            max_pixels: the most that the picture may have; None: see `image.limits`.
            keep_metadata: keep EXIF, XMP and the colour profile.
            verify: decode the codes, in a file of a size those that it holds, and compare them with those that were sent.

        Raises:
            InvalidImage: there is no picture in what is given, or it is too large.
            BadArgument: a number is out of range, the size is too small for a header, or several targets are given.
        """
        dial.check_quality(quality)
        dial.check_effort(effort)
        dial.check_targets({"size": size, "bpp": bpp, "psnr": psnr, "msssim": msssim})
        picture = read_picture(image, max_pixels=max_pixels, keep_metadata=keep_metadata)
        height, width = picture.rgb.shape[:2]
        sender = Sender(self._engine(), picture, effort)
        if bpp is not None:
            size = sender.size_of(bpp)
        if size is not None:
            encoded = sender.at_size(size)
        elif psnr is not None or msssim is not None:
            encoded = sender.at_target(*dial.target(psnr, msssim, (width, height)))
        else:
            encoded = sender.at_quality(int(quality))
        if verify:
            self._verify(encoded, sender)
        return encoded

    def receive(self, data: bytes, *, partial: bool = False, max_pixels: int | None = None) -> Received:
        """Find the codes that the bytes of a file, or of its beginning, determine.

        Args:
            data: the bytes.
            partial: take what there is of a whole file whose check fails, and say so in the notes.
            max_pixels: the most that the picture may have; None: see `dial.most_pixels`.

        Raises:
            DamagedFile: the file breaks the format, or it is framed and whole and its check fails. A bare file, which
                may be cut anywhere, has only a note where its check fails; `check` refuses it.
            UnsupportedFile: the file is of another kind, or needs weights that are not here.
            InvalidImage: the picture is too large.
        """
        container = read(data, partial=partial)
        admit(container, len(data), max_pixels)
        if not partial and container.complete:
            container.require_intact()
        flat = container.header.kind == Kind.FLAT
        grid = self.empty_grid(container.header) if flat else self.engine_of(container).decode(container)
        return self.received(container, grid, len(data), partial)

    def render(
        self,
        received: Received,
        *,
        look: float | str = 0.0,
        complete: Completion = "expect",
        seed: int = 0,
        temperature: float = COMPLETING,
        steps: int | None = None,
        invented: bool = False,
    ) -> Rendered:
        """Make the picture of what was received.

        Args:
            received: codes, as `receive` finds them.
            look: `faithful` (0), the picture of least error; `vivid` (1), which invents texture where the file says
                little; or a number between, a straight line in pixels.
            complete: what is missing is what the prior expects (the least error), a `sample` of what it may have been
                (see `draw`), or none.
            seed: of a sample, and of the noise of a look; from 0.
            temperature: of a sample, above 0.
            steps: of a sample, see `draw`.
            invented: tell which pixels were completed or invented.

        Raises:
            BadArgument: an option is out of range.
            WeightsError: a look is asked for, and none belongs to the weights that the file needs.
            DamagedFile: the alpha channel or the colour of a flat picture cannot be decoded.
        """
        if complete not in COMPLETED:
            raise BadArgument(f"what is missing can be completed by expect, sample or none, not {complete}")
        sampler, style, header = Sampler(seed, temperature), Style(dial_of(look), int(seed)), received.header
        size, share = (header.width, header.height), received.unsent if invented else None
        notes = received.notes if received.complete else (*received.notes, COMPLETED[complete])
        if header.kind == Kind.FLAT:
            image = Image.new("RGB", size, received.rgb)
        else:
            codes = received
            if complete == "sample" and not received.complete:
                codes = self._drawn(received, sampler, steps)
            engine = self._engine(header.weights)
            grid = engine.reception.known(header, codes.codes, codes.known)
            means = complete != "none"
            image = finished(engine.picture(grid, header, received.size, means=means, style=style), header)
            if share is not None and style.dial:
                far = engine.departure(grid, header, received.size, means=means, style=style)
                share = np.maximum(share, far)
        if Tag.ALPHA in received.chunks:
            image.putalpha(Image.fromarray(decode_alpha(received.chunks[Tag.ALPHA], size[::-1])))
        fields = {name: received.chunks[tag] for tag, name in METADATA.items() if tag in received.chunks}
        Metadata(**fields).attach(image)
        return Rendered(image, share, notes)

    def has_look(self, received: Received) -> bool:
        """Whether a vivid look belongs to the weights that a file needs."""
        return received.header.kind != Kind.FLAT and self._engine(received.header.weights).has_look

    def draw(
        self, received: Received, *, seed: int = 0, temperature: float = 1.0, steps: int | None = None
    ) -> Received:
        """Draw all codes that were not received.

        Args:
            received: codes, as `receive` finds them.
            seed: draws the same codes on every machine.
            temperature: 1 draws as often as the prior says, less keeps to what is likely.
            steps: the surest codes first, in that many steps a group; None draws in an order made for it, see `coding.drawing`.

        Raises:
            BadArgument: an option is out of range.
        """
        return self._drawn(received, Sampler(seed, temperature), steps)

    def empty(self, width: int, height: int, quality: int = 40) -> Received:
        """What is received of a picture of which nothing was sent.

        Raises:
            BadArgument: the quality is out of range, or no picture has that size.
            TypeError: a side is no whole number.
        """
        dial.check_quality(quality)
        width, height = operator.index(width), operator.index(height)
        try:
            check_size(width, height)
        except InvalidImage as error:
            raise BadArgument(error.message) from error
        header = Header(width, height, int(quality), self.release.id)
        grid = self._engine().reception.grid(header)
        return Received(header, grid.codes, grid.known, grid.active)

    def check(self, data: bytes, *, max_pixels: int | None = None) -> Received:
        """Find and verify the codes of a whole file.

        A bare file has at most a check of its bytes; one that has none is neither proven nor refuted: DamagedFile.

        Raises:
            DamagedFile: the file is cut or damaged, or carries nothing to verify it by.
            UnsupportedFile: it is of another kind, or needs weights that are not here.
        """
        received = self.receive(data, max_pixels=max_pixels)
        if not received.verified:
            read(data).verify(received.codes.tobytes())
        return received

    def compress(self, image: ImageSource, quality: int = 50, **options: object) -> bytes:
        """The bytes of a .pqm file of a picture; `options` are those of `encode`."""
        return self.encode(image, quality, **options).data  # type: ignore[arg-type]  # checked there

    def decompress(
        self, data: bytes, *, partial: bool = False, max_pixels: int | None = None, **options: object
    ) -> Image.Image:
        """The picture in the bytes of a .pqm file: see `receive`; `options` are those of `render`."""
        received = self.receive(data, partial=partial, max_pixels=max_pixels)
        return self.render(received, **options).image  # type: ignore[arg-type]  # checked there

    def generate(
        self,
        width: int,
        height: int,
        *,
        quality: int = 40,
        seed: int = 0,
        temperature: float = 1.0,
        steps: int | None = None,
        look: float | str = 0.0,
    ) -> Image.Image:
        """A picture of which nothing was sent: see `empty`.

        Args:
            width: in pixels.
            height: in pixels.
            quality: how much detail is drawn.
            seed: draws the same codes again on the same machine; on every machine where `steps` are given, see `across_scales.py`.
            temperature: 1 draws as often as the prior says, less keeps to what is likely.
            steps: None draws structure at an eighth of the size first, see `across_scales.py`; a number draws at full size
                alone, see `draw`.
            look: see `render`.

        Raises:
            BadArgument: an option is out of range, or no picture has that size.
        """
        nothing = self.empty(width, height, quality)
        if steps is not None:
            drawn = self.draw(nothing, seed=seed, temperature=temperature, steps=steps)
        else:
            drawn = self._drawn_across_scales(nothing, None, seed, temperature)
        return self.render(drawn, seed=seed, look=look).image

    def repaint(
        self,
        data: bytes,
        mask: NDArray[np.bool_],
        *,
        seed: int = 0,
        temperature: float = 1.0,
        steps: int | None = None,
        look: float | str = 0.0,
        max_pixels: int | None = None,
    ) -> Image.Image:
        """The picture in a .pqm file, with the region of `mask` (H, W) bool drawn anew from its surroundings.

        Codes stand for 16 x 16 pixels: those of which a pixel is masked are drawn. For `seed` and all that follows it
        see `generate`. Raises as `receive` and `draw` do, and `BadArgument` where the mask has another size than the
        picture. A picture of one colour has no codes, and stays as it is.
        """
        received = self.receive(data, max_pixels=max_pixels)
        header = received.header
        if mask.shape != (header.height, header.width):
            given = "x".join(map(str, mask.shape[::-1]))
            raise BadArgument(f"the mask is {given}, the picture {header.width}x{header.height}")
        unknown = received.touched(mask)
        left = received.without(unknown.ravel())
        if steps is not None or header.kind == Kind.FLAT:  # which has no codes to draw
            drawn = self.draw(left, seed=seed, temperature=temperature, steps=steps)
        else:
            rgb = np.asarray(self.render(left).image.convert("RGB"))  # what is drawn must not see what it replaces
            known = Known(shrink(rgb, header.scale), unknown, left.codes, left.known)
            drawn = self._drawn_across_scales(left, known, seed, temperature)
        return self.render(drawn, seed=seed, look=look).image

    def codes(self, data: bytes) -> NDArray[np.uint8]:
        """The codes (M, h, w) uint8 of a whole file, verified.  Raises as `check` does."""
        received = self.check(data)
        return received.codes.reshape(-1, *received.shape)

    def ideal_bits(self, codes: NDArray[np.uint8], quality: int) -> NDArray[np.float64]:
        """Information (M,) in bits that the prior finds in codes (M, h, w) uint8, by sub-quantizer."""
        height, width = codes.shape[1:]
        header = Header(STRIDE * width, STRIDE * height, quality, self.release.id)
        return self._engine().information(header, codes.reshape(len(codes), -1))

    # -- for the decoder of this package ---------------------------------------------------------

    def engine_of(self, file: Container | Received) -> Engine:
        """What decodes a file.  Raises `UnsupportedFile` where its weights are not here."""
        return self._engine(file.header.weights)

    def empty_grid(self, header: Header) -> Grid:
        """A grid of which nothing is known; that of a flat picture holds no codes."""
        if header.kind == Kind.FLAT:
            return Grid(0, 1, 1, 0)
        return self._engine(header.weights).reception.grid(header)

    def received(self, container: Container, grid: Grid, size: int, partial: bool) -> Received:
        """What was found in a file of `size` bytes.  Raises `DamagedFile` where its check fails, unless `partial`."""
        found, header = found_in(container, grid, size, partial), container.header
        if self._named and header.kind != Kind.FLAT and header.weights != self.release.id:
            note = f"the file needs weights {header.weights:03x}, which {self.release.name} is not"
            return replace(found, notes=(*found.notes, note))
        return found

    def _verify(self, encoded: Encoded, sender: Sender) -> None:
        received = self.receive(encoded.data, max_pixels=encoded.width * encoded.height)
        if not sender.sent(received) or (received.header.framed and not received.verified):
            raise PqmimError("the file does not decode to the codes that were written")

    def _drawn(self, received: Received, sampler: Sampler, steps: int | None) -> Received:
        if received.header.kind == Kind.FLAT:
            return received
        engine = self._engine(received.header.weights)
        grid = engine.reception.known(received.header, received.codes, received.known)
        engine.draw(grid, received.header.quality, sampler, steps)
        return replace(received, codes=grid.codes, known=grid.known, verified=False)

    def _drawn_across_scales(self, received: Received, known: Known | None, seed: int, temperature: float) -> Received:
        """The received with all that is not known drawn, from the smallest scale on."""
        header, engine = received.header, self._engine(received.header.weights)
        plan = (Plan() if known is None else JOINING).heated(Sampler(seed, temperature).heat / UNIT)
        with engine.shielded(always=True):
            grid = draw_across_scales(EngineStudio(engine, header.quality), header.coded_size, plan, int(seed), known)
        return replace(received, codes=grid.codes, known=grid.known, verified=False)

    def _engine(self, release: int | None = None) -> Engine:
        """What works with a release; the codec's own by default."""
        wanted = self.release.id if release is None else release
        with self._lock:
            if wanted not in self._engines:
                self._engines[wanted] = Engine(load(find(wanted)), self._settings)
            return self._engines[wanted]

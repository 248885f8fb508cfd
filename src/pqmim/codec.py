"""The hall: the only place where pixels, models, coding and bitstream meet.

encode   picture → encoder → codes → prior, range coder → file
receive  file → range decoder, prior → codes
render   codes → codewords → synthesis → picture
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pqmim import dial, looks
from pqmim.bitstream.container import CHECKED_FROM, Container, Tag, overhead, read, write
from pqmim.bitstream.header import Header, Kind
from pqmim.coding.grid import Grid
from pqmim.coding.loop import encode, turns
from pqmim.coding.sampler import COMPLETING, Sampler
from pqmim.errors import BadArgument, DamagedFile, WeightsError
from pqmim.image.alpha import decode_alpha, encode_alpha
from pqmim.image.limits import check_size
from pqmim.image.metadata import Metadata
from pqmim.image.picture import Picture, read_picture
from pqmim.image.plain import greyed, is_grey, pack_colour, unpack_colour
from pqmim.image.scale import shrink
from pqmim.reception import Form, Reception, prior_of
from pqmim.release import Release, find, load
from pqmim.rendering import (
    STRIDE,
    NumpyMixture,
    NumpySynthesis,
    Synthesis,
    TorchSynthesis,
    level_of,
    share_unknown,
)
from pqmim.results import Encoded, Received, Rendered

if TYPE_CHECKING:
    from pqmim.encoder import Encoder
    from pqmim.models.modules import Modules

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]"
MUCH = 32.0  # of 255: a pixel that departs so far is wholly invented
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
        notes: those of the last `compress` or `decompress`; deprecated, read them from the results of `encode` and
            `render`.

    Raises:
        WeightsError: the weights cannot be read, are damaged, or are none.
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
        self.notes: list[str] = []
        self._named = weights is not None
        self._settings = _Settings(str(device), threads, prior)
        self._engines = {self.release.id: _Engine(self.release, self._settings)}
        self._lock = threading.Lock()

    def encode(
        self,
        image: ImageSource,
        quality: int = 50,
        *,
        size: int | None = None,
        bpp: float | None = None,
        effort: int | None = None,
        max_pixels: int | None = None,
        keep_metadata: bool = False,
    ) -> Encoded:
        """Encode a picture as a .pqm file.

        Args:
            image: a path, the bytes of an image file, a PIL image, or a uint8 array (H, W, 3) in sRGB.
            quality: 0 (smallest file) to 100 (best picture).
            size: bytes that the file takes, in place of a quality; fewer if quality 100 takes fewer. Such a file is
                bare: it has no check and no alpha, and its last codes are left to the model.
            bpp: such a size in bits a pixel.
            effort: steps that refine the choice of codes against the pixels (see `encoder`): 0 is fastest, 8 saves
                another 1 %, None is 4, or 0 beyond 8 megapixels.
            max_pixels: the most that the picture may have; None: 67 million.
            keep_metadata: keep EXIF, XMP and an RGB colour profile, whose colours are then not converted to sRGB.

        Raises:
            InvalidImage: there is no picture in what is given, or it is too large.
            BadArgument: the quality or the effort is out of range, the size is too small for a header, or both sizes
                are given.
        """
        dial.check_quality(quality)
        dial.check_effort(effort)
        if size is not None and bpp is not None:
            raise BadArgument("a size is given in bytes or in bits a pixel, not both")
        picture = read_picture(image, max_pixels=max_pixels, keep_metadata=keep_metadata)
        height, width = picture.rgb.shape[:2]
        if bpp is not None:
            size = int(bpp * width * height / 8)
        if size is not None:
            return self._encode_to(picture, size, effort)
        colour = pack_colour(picture.rgb)
        if colour is not None:
            header = Header(width, height, 0, 0, kind=Kind.FLAT)
            return Encoded(write(header, colour, _chunks(picture), b""), width, height, 0, 0, tuple(picture.notes))
        quality, scale = dial.setting(int(quality))
        grid, payload = self._engine().encode(shrink(picture.rgb, scale), quality, effort)
        header = Header(width, height, quality, self.release.id, scale, kind=_kind(picture))
        data = write(header, payload, _chunks(picture), grid.codes.tobytes())
        return Encoded(data, width, height, quality, scale, tuple(picture.notes))

    def receive(self, data: bytes, *, partial: bool = False, max_pixels: int | None = None) -> Received:
        """Find the codes that the bytes of a file, or of its beginning, determine.

        Args:
            data: the bytes.
            partial: take what there is of a whole file whose check fails, and say so in the notes.
            max_pixels: the most that the picture may have; None: see `dial.most_pixels`.

        Raises:
            DamagedFile: the file breaks the format, or its check fails.
            UnsupportedFile: the file is of another kind, or needs weights that are not here.
            InvalidImage: the picture is too large.
        """
        container = read(data)
        header = container.header
        _check_pixels(header.width, header.height, dial.most_pixels(len(data)) if max_pixels is None else max_pixels)
        if container.complete and not partial:
            container.require_intact()
        if header.kind is Kind.FLAT:
            if container.complete and not partial:
                container.verify(b"")
            return _flat(container, len(data))
        engine = self._engine(header.weights)
        grid = engine.decode(container)
        verified = container.complete and container.verifies(grid.codes.tobytes())
        if container.complete and not partial:
            if not grid.complete:
                raise DamagedFile("the file is damaged: its bytes end before its codes do")
            container.verify(grid.codes.tobytes())
        notes = _missing(container, grid, verified)
        if self._named and header.weights != self.release.id:
            notes.append(
                f"the file needs weights {header.weights:03x}, not {self.release.name}: the packaged ones are used"
            )
        chunks = dict(container.chunks)
        return Received(header, grid.codes, grid.known, grid.active, chunks, verified, tuple(notes), len(data))

    def render(
        self,
        received: Received,
        *,
        complete: Completion = "expect",
        seed: int = 0,
        temperature: float = COMPLETING,
        steps: int | None = None,
        look: float | str = 0.0,
        invented: bool = False,
    ) -> Rendered:
        """Make the picture of what was received.

        Args:
            received: codes, as `receive` finds them.
            complete: what is missing is what the prior expects (the least error), a `sample` of what it may have been
                (see `draw`), or none.
            seed: of a sample and of the vivid look's texture, from 0: the same seed gives the same picture again.
            temperature: of a sample, above 0.
            steps: of a sample, see `draw`.
            look: `faithful` (0), the picture of least error; `vivid` (1), which invents texture where the file says
                little; or a number between, a straight line in pixels.
            invented: tell which pixels were completed or invented.

        Raises:
            BadArgument: an option is out of range.
            WeightsError: a look is asked for, and none belongs to the weights that the file needs.
            DamagedFile: the alpha channel cannot be decoded.
        """
        if complete not in COMPLETED:
            raise BadArgument(f"what is missing can be completed by expect, sample or none, not {complete}")
        notes = received.notes if received.complete else (*received.notes, COMPLETED[complete])
        sampler, codes, style = Sampler(seed, temperature), received, Style(looks.dial_of(look), int(seed))
        if complete == "sample" and not received.complete:
            codes = self._drawn(received, sampler, steps)
        header = received.header
        share: NDArray[np.float32] | None = None
        if header.kind is Kind.FLAT:
            image = Image.fromarray(unpack_colour(received.colour, header.height, header.width))
        else:
            engine = self._engine(header.weights)
            image = engine.picture(codes, complete != "none", style)
            share = engine.invented(codes, complete != "none", style) if invented else None
        if image.size != (header.width, header.height):
            image = image.resize((header.width, header.height), Image.Resampling.BICUBIC)
        if header.kind is Kind.GREY:
            image = Image.fromarray(greyed(np.asarray(image)))
        alpha = received.chunks.get(Tag.ALPHA)
        if alpha is not None:
            image.putalpha(Image.fromarray(decode_alpha(alpha, (header.height, header.width))))
        Metadata(*(received.chunks.get(tag, b"") for tag in (Tag.EXIF, Tag.ICC, Tag.XMP))).attach(image)
        whole = np.maximum(share, _invented(received)) if share is not None else _invented(received)
        return Rendered(image, whole if invented else None, notes)

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
            BadArgument: an option is out of range.
        """
        return self._drawn(received, Sampler(seed, temperature), steps)

    def empty(self, width: int, height: int, quality: int = 40) -> Received:
        """What is received of a picture of which nothing was sent.

        Raises:
            BadArgument: the quality is out of range.
            InvalidImage: no picture has that size.
        """
        dial.check_quality(quality)
        check_size(width, height)
        header = Header(width, height, quality, self.release.id)
        grid = self._engine().reception.grid(header)
        return Received(header, grid.codes, grid.known, grid.active)

    def compress(
        self,
        image: ImageSource,
        quality: int = 50,
        *,
        size: int | None = None,
        bpp: float | None = None,
        effort: int | None = None,
        max_pixels: int | None = None,
        keep_metadata: bool = False,
    ) -> bytes:
        """The bytes of a .pqm file of a picture: see `encode`."""
        encoded = self.encode(
            image, quality, size=size, bpp=bpp, effort=effort, max_pixels=max_pixels, keep_metadata=keep_metadata
        )
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
        look: float | str = 0.0,
        partial: bool = False,
        max_pixels: int | None = None,
    ) -> Image.Image:
        """The picture in the bytes of a .pqm file: see `receive` and `render`."""
        received = self.receive(data, partial=partial, max_pixels=max_pixels)
        rendered = self.render(received, complete=complete, seed=seed, temperature=temperature, steps=steps, look=look)
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
        mask: NDArray[np.bool_],
        *,
        seed: int = 0,
        temperature: float = 1.0,
        steps: int | None = None,
    ) -> Image.Image:
        """The picture in a .pqm file, with the region of `mask` (H, W) bool drawn anew from its surroundings.

        Codes stand for 16 x 16 pixels: those of which a pixel is masked are drawn. Raises as `receive` and `draw` do,
        and `BadArgument` where the mask has another size than the picture.
        """
        received = self.receive(data)
        header = received.header
        if mask.shape != (header.height, header.width):
            raise BadArgument(f"the mask has shape {mask.shape}, the picture {(header.height, header.width)}")
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

    def codes(self, data: bytes) -> NDArray[np.uint8]:
        """The codes (M, h, w) uint8 of a whole file, verified.  Raises as `check` does."""
        received = self.check(data)
        return received.codes.reshape(-1, *received.shape)

    def ideal_bits(self, codes: NDArray[np.uint8], quality: int) -> NDArray[np.float64]:
        """Information (M,) in bits that the prior finds in codes (M, h, w) uint8, by sub-quantizer."""
        height, width = codes.shape[1:]
        header = Header(STRIDE * width, STRIDE * height, quality, self.release.id)
        engine = self._engine()
        with engine.shielded():
            return engine.reception.information(header, codes.reshape(len(codes), -1))

    def _encode_to(self, picture: Picture, size: int, effort: int | None) -> Encoded:
        """A bare file of `size` bytes: the first quality whose payload is too long, cut to what fits."""
        height, width = picture.rgb.shape[:2]
        colour = pack_colour(picture.rgb)
        checked, kind = size >= CHECKED_FROM, _kind(picture) if colour is None else Kind.FLAT
        weights = self.release.id if colour is None else 0
        empty = Header(width, height, 0, weights, framed=False, kind=kind, checked=checked)
        room = size - overhead(empty)
        if room < len(colour or b"1"):
            raise BadArgument(f"a file of {size} bytes has no room for more than its header")
        notes = list(picture.notes)
        if _chunks(picture):
            what = "the transparency" if not picture.metadata else "what goes beside the colours"
            notes.append(f"{what} was dropped: files of an exact size hold colours alone")
        if colour is not None:
            return Encoded(write(empty, colour, {}, b""), width, height, 0, 0, tuple(notes))
        bpp = 8 * room / (width * height)
        scale = sum(bpp < most for most in dial.SCALES)
        rgb = shrink(picture.rgb, scale)
        tried: list[int] = []

        def coded(quality: int) -> bytes:
            tried.append(quality)
            return self._engine().encode(rgb, quality, effort)[1]

        quality, payload = dial.fit(coded, room, rgb.shape[0] * rgb.shape[1])
        header = replace(empty, quality=quality, scale=scale)
        return Encoded(write(header, payload[:room], {}, b""), width, height, quality, scale, tuple(notes), len(tried))

    def _drawn(self, received: Received, sampler: Sampler, steps: int | None) -> Received:
        if received.header.kind is Kind.FLAT:
            return received
        engine = self._engine(received.header.weights)
        with engine.shielded():
            grid = engine.reception.known(received.header, received.codes, received.known)
            engine.reception.draw(grid, received.header.quality, sampler, steps)
        return replace(received, codes=grid.codes, known=grid.known, verified=False)

    def _engine(self, release: int | None = None) -> "_Engine":
        """What works with a release; the codec's own by default."""
        wanted = self.release.id if release is None else release
        with self._lock:
            if wanted not in self._engines:
                self._engines[wanted] = _Engine(load(find(wanted)), self._settings)
            return self._engines[wanted]


@dataclass(frozen=True)
class Style:
    """How codes are rendered: where the dial between looks stands, 0 to 1, and the seed of a look's texture."""

    dial: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class _Settings:
    device: str
    threads: int | None
    prior: Form


class _Engine:
    """The parts that work with one release, each made when it is first needed."""

    def __init__(self, release: Release, settings: _Settings) -> None:
        self.release, self._settings = release, settings
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}

    @property
    def reception(self) -> Reception:
        made: Reception = self._once("reception", self._make_reception)
        return made

    @contextmanager
    def shielded(self, always: bool = False) -> Iterator[None]:
        """Where torch runs, see `surroundings`; `always`, or if the prior or the synthesis is of that kind."""
        if not always and not self._torch_prior and self._settings.device == "cpu":
            yield
            return
        import torch

        from pqmim.surroundings import shielded

        with shielded(torch.device(self._settings.device), self._settings.threads):
            yield

    def encode(self, rgb: NDArray[np.uint8], quality: int, effort: int | None) -> tuple[Grid, bytes]:
        """Codes of a picture (H, W, 3) and their payload."""
        import torch

        from pqmim.encoder import Aim

        record, device = self.release.record, torch.device(self._settings.device)
        steps = dial.default_effort(rgb.shape[0] * rgb.shape[1]) if effort is None else int(effort)
        with self.shielded(always=True):
            image = torch.tensor(rgb, device=device).permute(2, 0, 1)[None]  # (1, 3, H, W)
            aim = Aim.of(record.rates[quality], record.prices[quality], record.active[quality], device)
            candidates = self._encoder.candidates(image, aim, steps)
            grid = self.reception.grid(Header(rgb.shape[1], rgb.shape[0], quality, self.release.id))
            context = self.reception.prior.context(grid.height, grid.width, quality)
            payload = encode(grid, context, turns(record.groups, grid), candidates.chooser())
        return grid, payload

    def decode(self, container: Container) -> Grid:
        """What the bytes of a file determine."""
        reception = self.reception
        with self.shielded():
            return reception.decode(container)

    def picture(self, received: Received, means: bool, style: "Style") -> Image.Image:
        """The picture of what was received, at the scale of coding."""
        header, reception = received.header, self.reception
        grid = reception.known(header, received.codes, received.known)
        rate = self.release.record.rates[header.quality]
        with self.shielded():
            codewords = reception.codewords(grid, header.quality, received.size, means)
            return codewords.picture(self._styled(style, rate), rate, header.coded_size)

    def invented(self, received: Received, means: bool, style: "Style") -> NDArray[np.float32]:
        """How far each pixel (H, W) departs from the faithful picture, or from that of another seed: 0 to 1."""
        header = received.header
        if not style.dial:
            return np.zeros((header.height, header.width), np.float32)
        styles = style, Style(), replace(style, seed=style.seed + 1)
        drawn, *others = (np.asarray(self.picture(received, means, one), np.float32) for one in styles)
        far = np.maximum(*(np.abs(drawn - other).mean(-1) for other in others)) / MUCH
        sized = Image.fromarray(far.clip(0, 1)).resize((header.width, header.height), Image.Resampling.BILINEAR)
        return np.asarray(sized)

    def _styled(self, style: "Style", rate: float) -> Synthesis:
        """The synthesis of a look at a rate."""
        if not style.dial:
            return self._synthesis
        share = self._look.share(level_of(rate), style.dial)
        if not share:
            return self._synthesis
        if self._settings.device != "cpu":
            from pqmim.models.looks import VividSynthesis

            def make() -> VividSynthesis:
                config = TransformConfig(**self.release.record.transforms)  # type: ignore[arg-type]
                return VividSynthesis.of(config, self._look.tensors).to(self._settings.device)

            from pqmim.models.transforms import TransformConfig

            return TorchSynthesis(self._modules, self._settings.device, (self._once("vivid", make), share, style.seed))
        drawn = NumpySynthesis(self._look.tensors, self.release.part("quantizer"), style.seed)
        if share == 1:
            return drawn
        plain = NumpySynthesis(self.release.part("synthesis"), self.release.part("quantizer"))
        return NumpyMixture(plain, drawn, share)

    @property
    def _look(self) -> looks.Look:
        def make() -> looks.Look:
            found = looks.find(self.release.part("synthesis"), self.release.digest_of("synthesis"))
            if found is None:
                raise WeightsError(f"no vivid look belongs to the weights {self.release.id:03x}")
            return found

        made: looks.Look = self._once("look", make)
        return made

    @property
    def _synthesis(self) -> Synthesis:
        made: Synthesis = self._once("synthesis", self._make_synthesis)
        return made

    @property
    def _encoder(self) -> "Encoder":
        from pqmim.encoder import Encoder

        def make() -> Encoder:
            modules = self._modules
            return Encoder(modules.analysis, modules.quantizer, modules.synthesis)

        made: Encoder = self._once("encoder", make)
        return made

    @property
    def _modules(self) -> "Modules":
        from pqmim.models.modules import Modules

        def make() -> Modules:
            record, release = self.release.record, self.release
            parts = {name: release.part(name) for name in ("analysis", "quantizer", "synthesis")}
            return Modules.build(record.transforms, record.dimensions, record.codewords, parts, self._settings.device)

        made: Modules = self._once("modules", make)
        return made

    @cached_property
    def _torch_prior(self) -> bool:
        return type(self.reception.prior).__module__ == "pqmim.models.prior.integer"

    def _make_reception(self) -> Reception:
        return Reception(self.release, prior_of(self.release, self._settings.prior, self._settings.device))

    def _make_synthesis(self) -> Synthesis:
        if self._settings.device == "cpu":
            return NumpySynthesis(self.release.part("synthesis"), self.release.part("quantizer"))
        return TorchSynthesis(self._modules, self._settings.device)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]


def _check_pixels(width: int, height: int, most: int) -> None:
    check_size(width, height, None, most)


def _kind(picture: Picture) -> Kind:
    return Kind.GREY if is_grey(picture.rgb) else Kind.COLOUR


def _chunks(picture: Picture) -> dict[int, bytes]:
    """What goes beside the codes of a picture."""
    kept = picture.metadata
    chunks: dict[int, bytes] = {Tag.EXIF: kept.exif, Tag.ICC: kept.icc, Tag.XMP: kept.xmp}
    if picture.alpha is not None:
        chunks[Tag.ALPHA] = encode_alpha(picture.alpha)
    return {tag: data for tag, data in chunks.items() if data}


def _flat(container: Container, size: int) -> Received:
    """What is received of a picture of one colour, which is a middle grey where it was cut off."""
    header = container.header
    positions = -(-header.height // STRIDE) * -(-header.width // STRIDE)
    codes = np.zeros((0, positions), np.uint8)
    whole = container.payload_size in (None, len(container.payload))
    verified = container.complete and container.verifies(b"")
    notes = () if verified else _missing_colour(container, whole)
    chunks = dict(container.chunks)
    received = Received(header, codes, codes.astype(bool), 0, chunks, verified, notes, size)
    return replace(received, colour=container.payload if whole else b"\x80")


def _missing_colour(container: Container, whole: bool) -> tuple[str, ...]:
    if container.complete:
        return ("the file is damaged: its check fails, and its colour may be wrong",)
    if container.header.framed:
        return ("the file is cut: " + ("nothing verifies its colour" if whole else "its colour is not there"),)
    return ("the file is cut or damaged: its check fails",) if container.intact is False else ()


def _invented(received: Received) -> NDArray[np.float32]:
    header = received.header
    share = share_unknown(received.known[: received.active], received.shape, STRIDE << header.scale)
    return share[: header.height, : header.width]


def _missing(container: Container, grid: Grid, verified: bool) -> list[str]:
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

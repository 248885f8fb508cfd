"""What works with one release: its encoder, its prior, its syntheses, each made when it is first needed."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pqmim import looks
from pqmim.bitstream.container import Container
from pqmim.bitstream.header import Header
from pqmim.coding.grid import Grid
from pqmim.coding.sampler import Sampler
from pqmim.errors import WeightsError
from pqmim.reception import Form, Reception, prior_of
from pqmim.release import Release
from pqmim.rendering import NumpyMixture, NumpySynthesis, Synthesis, TorchSynthesis, level_of
from pqmim.threads import one_for_products

if TYPE_CHECKING:
    from pqmim.encoder import Encoder
    from pqmim.models.looks import VividSynthesis
    from pqmim.models.modules import Modules

MUCH = 32.0  # of 255: a pixel that departs so far is wholly invented

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Settings:
    """How an engine works.

    Attributes:
        device: where networks run, as torch names it.
        threads: the most that torch uses for one call; None: as many as `threads.usable` says.
        prior: the form of the prior.
    """

    device: str = "cpu"
    threads: int | None = None
    prior: Form = "auto"


@dataclass(frozen=True)
class Style:
    """How codes are rendered: where the dial between looks stands, 0 to 1, and the seed of a look's texture."""

    dial: float = 0.0
    seed: int = 0


FAITHFUL = Style()


class Engine:
    """The parts that work with one release.  Several threads may share one.

    Args:
        release: whose tensors they are made of.
        settings: how they work.
    """

    def __init__(self, release: Release, settings: Settings) -> None:
        self.release, self._settings = release, settings
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}

    @property
    def reception(self) -> Reception:
        """Bytes to codes."""
        settings = self._settings

        def make() -> Reception:
            return Reception(self.release, prior_of(self.release, settings.prior, settings.device, settings.threads))

        made: Reception = self._once("reception", make)
        return made

    @contextmanager
    def shielded(self, always: bool = False) -> Iterator[None]:
        """A context in which networks run: free of the caller's settings of NumPy, and of torch where a part uses it.

        Args:
            always: torch runs, whatever the parts are.
        """
        in_torch = type(self.reception.prior).__module__ == "pqmim.models.prior.integer"
        with np.errstate(all="ignore"):
            if not (always or in_torch or self._settings.device != "cpu"):
                with one_for_products():
                    yield
                return
            import torch

            from pqmim.surroundings import shielded

            with shielded(torch.device(self._settings.device), self._settings.threads):
                yield

    def encode(self, rgb: Pixels, quality: int, effort: int) -> tuple[Grid, bytes]:
        """Codes of a picture (H, W, 3), refined in `effort` steps, and their payload."""
        import torch

        with self.shielded(always=True):
            image = torch.tensor(rgb, device=self._settings.device).permute(2, 0, 1)[None]  # (1, 3, H, W)
            return self.encoder.encode(image, quality, effort, self.release.record, self.reception.prior)

    @property
    def reaching(self) -> int:
        """The highest quality at which codebooks reach whatever a picture can hold: steps get finer above it."""
        return max((quality for quality, rate in enumerate(self.release.record.rates) if rate >= 1), default=100)

    def at_ends(self, grid: Grid) -> bool:
        """Whether a code of a single channel is the first or the last of its codewords, so that it may have meant more."""
        codebook, dimensions = self.release.part("quantizer")["codebook"], self.release.record.dimensions
        for m in (m for m in range(grid.active) if dimensions[m] == 1):
            words = codebook[m, :, 0]
            if np.isin(grid.codes[m], (words.argmin(), words.argmax())).any():
                return True
        return False

    def decode(self, container: Container) -> Grid:
        """What the bytes of a file determine."""
        with self.shielded():
            return self.reception.decode(container)

    def draw(self, grid: Grid, quality: int, sampler: Sampler, steps: int | None) -> None:
        """Draw what a grid does not know, see `Reception.draw`."""
        with self.shielded():
            self.reception.draw(grid, quality, sampler, steps)

    def information(self, header: Header, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Ideal bits (M,) of codes (M, h * w), by sub-quantizer."""
        with self.shielded():
            return self.reception.information(header, codes)

    def picture(
        self, grid: Grid, header: Header, spent: int, *, means: bool = True, style: Style = FAITHFUL
    ) -> Image.Image:
        """The picture of a grid at the scale of coding.

        Args:
            grid: codes, of which some may be unknown.
            header: of their file.
            spent: bytes at hand, see `Reception.codewords`.
            means: unknown codes are what the prior expects.
            style: how the codes are rendered.
        """
        rate = self.release.record.rates[header.quality]
        with self.shielded():
            synthesis = self._styled(style, rate)
            codewords = self.reception.codewords(grid, header.quality, spent, means, synthesis.uniform)
            return codewords.picture(synthesis, rate, header.coded_size)

    def departure(
        self, grid: Grid, header: Header, spent: int, *, means: bool = True, style: Style = FAITHFUL
    ) -> NDArray[np.float32]:
        """How far each pixel (H, W) departs from the faithful picture, or from that of another seed: 0 to 1."""
        styles = style, FAITHFUL, replace(style, seed=style.seed + 1)
        drawn, *others = (
            np.asarray(self.picture(grid, header, spent, means=means, style=one), np.float32) for one in styles
        )
        far = np.maximum(*(np.abs(drawn - other).mean(-1) for other in others)) / MUCH
        sized = Image.fromarray(far.clip(0, 1)).resize((header.width, header.height), Image.Resampling.BILINEAR)
        return np.asarray(sized)

    def _styled(self, style: Style, rate: float) -> Synthesis:
        """The synthesis of a look at a rate."""
        if style.dial == 0:
            return self._faithful
        tensors = self._look.at(level_of(rate), self.release.part("synthesis"))
        if self._settings.device != "cpu":
            return TorchSynthesis(
                self._modules, self._settings.device, (self._vivid_modules(tensors), style.dial, style.seed)
            )
        drawn = NumpySynthesis(tensors, self.release.part("quantizer"), style.seed)
        return drawn if style.dial == 1 else NumpyMixture(self._plain, drawn, style.dial)

    @property
    def _plain(self) -> NumpySynthesis:
        def make() -> NumpySynthesis:
            return NumpySynthesis(self.release.part("synthesis"), self.release.part("quantizer"))

        made: NumpySynthesis = self._once("plain", make)
        return made

    def _vivid_modules(self, tensors: Mapping[str, NDArray[np.float32]]) -> "VividSynthesis":
        from pqmim.models.looks import VividSynthesis
        from pqmim.models.transforms import TransformConfig

        config = TransformConfig(**self.release.record.transforms)  # type: ignore[arg-type]  # by name
        return VividSynthesis.of(config, tensors).to(self._settings.device)

    @property
    def _faithful(self) -> Synthesis:
        if self._settings.device == "cpu":
            return self._plain
        return TorchSynthesis(self._modules, self._settings.device)

    @property
    def has_look(self) -> bool:
        """Whether a vivid look belongs to the release."""
        try:
            return bool(self._look.name)
        except WeightsError:
            return False

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
    def encoder(self) -> "Encoder":
        """What chooses codes; its networks are made when it is first asked for."""
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

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

"""Photos through codecs, one by one, in this process or in several of one thread each."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from pqmim.errors import PqmimError
from pqmim.evaluation.codecs import ImageCodec, files_by_codec, make_codec
from pqmim.evaluation.metrics import MS_SSIM_MIN_SIDE, ms_ssim, psnr
from pqmim.evaluation.results import MEASURES
from pqmim.image.picture import read_picture

if TYPE_CHECKING:
    from pqmim.evaluation.features import SqueezeNetDistance

DIGITS = dict(zip(MEASURES, (0, 5, 4, 6, 4, 4), strict=True)) | {"squeezenet": 5}

PerImage = dict[str, dict[str, list[float | None]]]  # by codec and measure, one value a setting


@dataclass(frozen=True)
class Choices:
    """What a bench is made of, again in each process.

    Attributes:
        names: of codecs, see `run.evaluate`.
        weights: of pqmim; None: the packaged release.
        device: of pqmim and its rivals.
        threads: of the codecs that take more than one; None: as many as each finds right.
        features: SqueezeNet 1.1's weights, for the measure squeezenet; None: without it.
    """

    names: Sequence[str]
    weights: str | os.PathLike[str] | None = None
    device: str = "cpu"
    threads: int | None = None
    features: str | os.PathLike[str] | None = None


class Bench:
    """Codecs, and what measures them.

    Raises:
        MissingCodec: a codec is not here.
        PqmimError: `features` is another file.
    """

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.codecs: list[ImageCodec] = [
            make_codec(name, files, weights=choices.weights, device=choices.device, threads=choices.threads)
            for name, files in files_by_codec(choices.names).items()
        ]
        self.distance = _distance(choices)

    def photo(self, path: Path, bar: "tqdm[Any] | None" = None) -> PerImage:
        """All measures of one photo."""
        rgb, found = read_picture(path).rgb, {}
        for codec in self.codecs:
            rows = []
            if bar is not None:
                bar.set_postfix_str(f"{path.name} {codec.name}")
            for setting in codec.settings:
                rows.append(measure(codec, rgb, setting, self.distance))
                if bar is not None:
                    bar.update()
            found[codec.name] = {key: [row[key] for row in rows] for key in rows[0]}
        return found

    def photos(self, paths: Sequence[Path], jobs: int = 1, progress: bool = False) -> Iterator[PerImage]:
        """The same of many photos, in their order, by `jobs` processes.

        Raises:
            PqmimError: a process died, as it does where memory runs out.
        """
        each = sum(len(codec.settings) for codec in self.codecs)
        with tqdm(total=each * len(paths), unit="file", disable=not progress) as bar:
            if jobs == 1:
                yield from (self.photo(path, bar) for path in paths)
                return
            context = multiprocessing.get_context("spawn")  # forked ones would share what torch's pools hold
            with ProcessPoolExecutor(jobs, context, _begin, (self.choices,)) as pool:
                try:
                    for found in pool.map(_photo, paths):
                        bar.update(each)
                        yield found
                except BrokenProcessPool as error:
                    raise PqmimError("a process died, perhaps for want of memory: try fewer --jobs") from error
                finally:
                    pool.shutdown(cancel_futures=True)


_bench: Bench


def _begin(choices: Choices) -> None:
    """In a new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it and ends the others
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
    global _bench
    _bench = Bench(choices)


def _photo(path: Path) -> PerImage:
    return _bench.photo(path)


def measure(
    codec: ImageCodec, rgb: np.ndarray, setting: float, distance: "SqueezeNetDistance | None" = None
) -> dict[str, float | None]:
    """One picture through one setting: the measures of `run.evaluate`, rounded; squeezenet where `distance` is given."""
    start = time.perf_counter()
    data = codec.encode(rgb, setting)
    encoded = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    height, width = rgb.shape[:2]
    values: dict[str, float | None] = {
        "bytes": len(data),
        "bpp": 8 * len(data) / (width * height),
        "psnr": psnr(rgb, decoded),
        "ms_ssim": ms_ssim(rgb, decoded) if min(width, height) >= MS_SSIM_MIN_SIDE else None,
        "encode_s": encoded - start,
        "decode_s": end - encoded,
    }
    if distance is not None:
        values["squeezenet"] = distance(rgb, decoded) if min(width, height) >= distance.min_side else None
    return {key: rounded(value, DIGITS[key]) for key, value in values.items()}


def rounded(value: float | None, digits: int) -> float | None:
    """A measure as results have it: None where it is not finite."""
    if value is None or not np.isfinite(value):
        return None
    return round(value, digits) if digits else round(value)


def _distance(choices: Choices) -> "SqueezeNetDistance | None":
    if choices.features is None:
        return None
    from pqmim.evaluation.features import SqueezeNetDistance  # torch: not for JPEG and its like alone

    return SqueezeNetDistance(choices.features, device=choices.device, threads=choices.threads)

"""How real the pictures of several codecs look, over several folders of photos together, at equal rates.

    pip install -e '.[perceptual]'
    python benchmarks/perceptual.py kodak/ cq100/ --features DIR --store DIR \
        --codec pqmim --codec pqmim-vivid --codec avif --json results/perceptual.json

Kernel and Fréchet distances of the features of patches, as HiFiC cuts them (8 of a 768x512 photo), on MobileNetV2 and
EfficientNet-Lite0; ST-LPIPS and the SqueezeNet distance; PSNR; how often the classifier's first guess about the photo is
among its first five about the picture; all with the middle 95 % of draws of photos. Codecs are
compared with the first at 0.07, 0.15 and 0.30 bits a pixel, between settings by the logarithm of the rate; with a codec of
fewer than three settings, such as HiFiC, at the rate of each. `--features` names a folder with mobilenet_v2.safetensors and squeezenet1_1.safetensors. What is computed stays in `--store`: a run that
is stopped goes on.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from pqmim.evaluation.codecs import OWN, ImageCodec, files_by_codec, make_codec
from pqmim.evaluation.machine import machine, versions
from pqmim.evaluation.networks import Networks
from pqmim.evaluation.perceptual import Photos, measure_codec, measure_photos
from pqmim.evaluation.results import write_results
from pqmim.evaluation.run import find_photos
from pqmim.evaluation.store import Store
from pqmim.evaluation.summaries import FRECHET_DRAWS, Summary, record, summary

SETTINGS = {  # that reach from 0.06 to 0.35 bpp on most photos
    "pqmim": (10, 20, 30, 40, 50),
    "jpeg": (2, 5, 8, 12, 16, 20),
    "webp": (0, 1, 2, 5, 10, 20),
    "avif": (5, 10, 15, 20, 25, 30, 35, 40),
    "avif-444": (5, 10, 15, 20, 25, 30, 35, 40),
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="photos")
    parser.add_argument("--features", type=Path, required=True, metavar="DIR", help="weights of the networks")
    parser.add_argument("--inception", type=Path, metavar="FILE", help="TorchScript Inception, for FID and KID")
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="keeps what takes long")
    parser.add_argument("--codec", action="append", required=True, metavar="NAME[=FILE]", help="repeatable")
    parser.add_argument("--settings", type=float, nargs="+", metavar="N", help="of pqmim, in place of its own")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of pqmim")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--frechet-draws", type=int, default=FRECHET_DRAWS, metavar="N")
    parser.add_argument("--json", type=Path, default=Path("results/perceptual.json"), metavar="FILE")
    args = parser.parse_args()

    networks, store = Networks.load(args.features, args.inception), Store(args.store)
    paths = [path for folder in args.folders for path in find_photos(folder)]
    photos = measure_photos(paths, networks, store, sys.stderr.isatty())
    summaries: dict[str, Summary] = {}
    used: dict[str, Any] = {}
    for name, files in files_by_codec(args.codec).items():
        codec = make_codec(name, files, weights=args.weights, threads=args.threads)
        settings = SETTINGS.get(name, SETTINGS.get(codec.coder, codec.settings))
        if args.settings and name in OWN:
            settings = args.settings
        summaries[name] = summarised(photos, WithSettings(codec, settings), networks, store, args.frechet_draws)
        used[name] = dict(codec.versions)
        facts = {
            "datasets": [folder.resolve().name for folder in args.folders],
            "photos": len(paths),
            "patches": len(photos.patch_photo),
            "machine": machine(args.threads),
            "versions": versions()
            | {f"{key} of {name}": value for name, of in used.items() for key, value in of.items()},
            "networks": networks.digests(),
        }
        write_results(facts | record(summaries, next(iter(summaries))), args.json, force=True)
        print(f"{name}: done", flush=True)


def summarised(photos: Photos, codec: ImageCodec, networks: Networks, store: Store, frechet_draws: int) -> Summary:
    """All measures of one codec."""
    return summary(photos, measure_codec(photos, codec, networks, store, sys.stderr.isatty()), frechet_draws)


class WithSettings:
    """A codec with other settings than its own."""

    def __init__(self, codec: ImageCodec, settings: Any) -> None:
        self.name, self.coder, self.versions = codec.name, codec.coder, codec.versions
        self.settings = tuple(settings)
        self.encode, self.decode = codec.encode, codec.decode


if __name__ == "__main__":
    main()

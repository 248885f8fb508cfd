"""What the masked prior is worth, at every tenth of the dial: real files against ideal bits and static frequencies.

    python benchmarks/entropy.py KODAK --json results/kodak/entropy.json

Two static rivals are charged for the same codes, sub-quantizer by sub-quantizer: the frequencies of the training
photos at each rate, which the weights hold for the encoder and which a codec without a prior would ship; and the
frequencies of the very codes they are charged for, over the whole set at one quality, which no static table can beat.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pqmim import Codec
from pqmim.evaluation.machine import machine, versions
from pqmim.evaluation.results import write_results
from pqmim.evaluation.run import find_photos


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, default=Path("results/kodak/entropy.json"), metavar="FILE")
    parser.add_argument("--quality", type=int, nargs="+", default=list(range(0, 101, 10)), metavar="Q")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--threads", type=int, metavar="N")
    args = parser.parse_args()

    codec, photos = Codec(args.weights, threads=args.threads), find_photos(args.folder)
    rows = []
    for quality in tqdm(args.quality, desc="entropy", unit="quality"):
        rows.append({"quality": quality} | measure(codec, photos, quality))
        print(json.dumps(rows[-1]), flush=True)
        facts = {
            "dataset": args.folder.resolve().name,
            "images": len(photos),
            "weights": f"{codec.release.id:03x}",
            "machine": machine(args.threads),
            "versions": versions(),
        }
        write_results(facts | {"qualities": rows}, args.json, force=True)


def measure(codec: Codec, photos: list[Path], quality: int) -> dict[str, float]:
    """Mean bytes a photo, and ratios between the ways to spend them."""
    histogram = np.zeros((len(codec.release.record.dimensions), codec.release.record.codewords))
    real = ideal = positions = 0.0
    overhead = []
    for path in photos:
        encoded = codec.encode(path, quality)
        data, coded = encoded.data, encoded.quality  # the lowest qualities may be others at half the size
        codes, active = codec.codes(data), codec.release.record.active[coded]
        for m in range(active):
            histogram[m] += np.bincount(codes[m].ravel(), minlength=histogram.shape[1])
        bits = float(codec.ideal_bits(codes, coded).sum())
        real += len(data)
        ideal += bits / 8
        positions += codes[0].size
        overhead.append(len(data) - bits / 8)
    static = float(-(histogram * shipped(codec, coded)).sum()) / 8
    total = histogram.sum(1, keepdims=True)
    share = np.divide(histogram, total, out=np.zeros_like(histogram), where=total > 0)
    oracle = float(-(histogram * np.log2(share, out=np.zeros_like(share), where=share > 0)).sum()) / 8
    frame = float(np.mean(overhead)) * len(photos)  # header, check and the coder's end: the same for static rivals
    found = {
        "active": active,
        "bytes": real / len(photos),
        "ideal_bytes": ideal / len(photos),
        "static_bytes": static / len(photos),
        "oracle_static_bytes": oracle / len(photos),
        "fixed_bytes": active * positions / len(photos),
        "real_over_ideal_bytes": float(np.mean(overhead)),
        "worst_over_ideal_bytes": float(np.max(overhead)),
        "real_over_static": real / (static + frame) - 1,
        "real_over_oracle_static": real / (oracle + frame) - 1,
    }
    return {key: round(value, 5) for key, value in found.items()}


def shipped(codec: Codec, quality: int) -> NDArray[np.float64]:
    """Logarithms (M, K) to base 2 of the static frequencies at a quality, between the rates that the weights hold."""
    tables = codec.release.part("quantizer")["log2_probability"].astype(np.float64)  # (R, M, K), the highest rate first
    rate = codec.release.record.rates[quality]
    low = min(int(rate), len(tables) - 2)
    part = rate - low
    between = (1 - part) * tables[low] + part * tables[low + 1]
    return np.asarray(between - np.log2(np.exp2(between).sum(1, keepdims=True)))


if __name__ == "__main__":
    main()

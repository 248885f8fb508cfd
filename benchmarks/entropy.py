"""What the masked prior is worth: real files against ideal bits, static frequencies, and the prior's float original.

    python benchmarks/entropy.py KODAK --json results/kodak/entropy.json

Static frequencies are those of the very codes they are charged for, each sub-quantizer's over the whole set at one
quality: no static table could do better.  The float original is the released training state of the prior
(`weights/default-prior.safetensors`); it is charged for the same codes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tqdm import tqdm

from pqmim import Codec
from pqmim.bitstream.container import read
from pqmim.evaluation.results import write_results
from pqmim.models.integer_prior import rate_of
from pqmim.models.masked_prior import MaskedPrior, PriorConfig
from pqmim.training.prior import ideal_bits

FLOAT = Path(__file__).parents[1] / "weights" / "default-prior.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, default=Path("results/kodak/entropy.json"), metavar="FILE")
    parser.add_argument("--quality", type=int, nargs="+", default=[0, 20, 40, 60, 80, 100], metavar="Q")
    parser.add_argument("--float", type=Path, default=FLOAT, metavar="FILE", dest="original")
    args = parser.parse_args()

    codec = Codec()
    original = load_original(codec, args.original) if args.original.exists() else None
    photos = sorted(path for path in args.folder.iterdir() if path.suffix.lower() in {".png", ".webp"})
    rows = []
    for quality in tqdm(args.quality, desc="entropy", unit="quality"):
        rows.append({"quality": quality} | measure(codec, original, photos, quality))
        print(json.dumps(rows[-1]))
    write_results({"dataset": args.folder.name, "images": len(photos), "qualities": rows}, args.json, force=True)


def measure(codec: Codec, original: MaskedPrior | None, photos: list[Path], quality: int) -> dict[str, float]:
    """Mean bytes a photo, and ratios between the ways to spend them."""
    codewords = codec.weights.quantizer.codewords
    size = len(codec.weights.quantizer.dimensions)
    active = codec.weights.active[quality]
    histogram = np.zeros((size, codewords))
    real = ideal = floating = fixed = 0.0
    overhead = []
    for path in photos:
        data = codec.compress(Image.open(path), quality)
        codes = codec.codes(data)
        for m in range(active):
            histogram[m] += np.bincount(codes[m].ravel(), minlength=codewords)
        bits = codec.ideal_bits(codes, quality).sum()
        real += len(data)
        ideal += bits / 8
        fixed += active * codes[0].size
        overhead.append(len(data) - bits / 8)
        if original is not None:
            flat = torch.from_numpy(codes).flatten(1).T[None]
            floating += (
                ideal_bits(
                    original,
                    flat,
                    rate_of(torch.tensor([quality]), original.level.shape[0]),
                    active,
                    codec.weights.groups,
                    codes.shape[1],
                )
                / 8
            )
    p = histogram / histogram.sum(1, keepdims=True).clip(1)
    static = -(histogram * np.log2(p.clip(1e-12))).sum() / 8
    header = len(read(data).header.pack())
    found = {
        "active": active,
        "bytes": real / len(photos),
        "ideal_bytes": ideal / len(photos),
        "static_bytes": static / len(photos),
        "fixed_bytes": fixed / len(photos),
        "header_bytes": header,
        "real_over_ideal_bytes": float(np.mean(overhead)),
        "worst_over_ideal_bytes": float(np.max(overhead)),
        "real_over_static": real / (static + header * len(photos)) - 1,
    }
    if original is not None:
        found |= {"float_bytes": floating / len(photos), "integer_over_float": ideal / floating - 1}
    return {key: round(value, 5) for key, value in found.items()}


def load_original(codec: Codec, path: Path) -> MaskedPrior:
    """The float prior, without rounding anywhere."""
    tensors = load_file(path)
    sizes = {field: int(tensors.pop(f"config.{field}")) for field in ("width", "blocks", "heads", "hidden", "rank")}
    quantizer = codec.weights.quantizer
    prior = MaskedPrior(PriorConfig(**sizes), quantizer.codebook, quantizer.dimensions, len(tensors["level"]))
    prior.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    return prior.eval().requires_grad_(False)


if __name__ == "__main__":
    main()

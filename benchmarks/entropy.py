"""What the masked prior is worth: real files against ideal bits, static frequencies, and the prior's float original.

    python benchmarks/entropy.py KODAK --json results/kodak/entropy.json

Two static rivals are charged for the same codes, sub-quantizer by sub-quantizer: the frequencies of the training
photos at each rate, which is what a codec without a prior would ship; and the frequencies of the very codes they are
charged for, over the whole set at one quality, which no static table can beat.  The float original of the prior and
the former frequencies are in `weights/default-prior.safetensors`.
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
from pqmim.coding.schedule import passes
from pqmim.dial import setting
from pqmim.evaluation.results import write_results
from pqmim.models.prior.masked import LN2, MaskedPrior, PriorConfig
from pqmim.models.transforms import blend
from pqmim.training.rates import ideal_bits

FLOAT = Path(__file__).parents[1] / "weights" / "default-prior.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, default=Path("results/kodak/entropy.json"), metavar="FILE")
    parser.add_argument("--quality", type=int, nargs="+", default=[0, 20, 40, 60, 80, 100], metavar="Q")
    parser.add_argument("--float", type=Path, default=FLOAT, metavar="FILE", dest="original")
    args = parser.parse_args()

    codec = Codec()
    original, shipped = load_original(codec, args.original)
    photos = sorted(path for path in args.folder.iterdir() if path.suffix.lower() in {".png", ".webp"})
    rows = []
    for quality in tqdm(args.quality, desc="entropy", unit="quality"):
        rows.append({"quality": quality} | measure(codec, original, shipped, photos, quality))
        print(json.dumps(rows[-1]))
    write_results({"dataset": args.folder.name, "images": len(photos), "qualities": rows}, args.json, force=True)


def measure(
    codec: Codec, original: MaskedPrior, shipped: torch.Tensor, photos: list[Path], quality: int
) -> dict[str, float]:
    """Mean bytes a photo, and ratios between the ways to spend them."""
    record = codec.release.record
    coded, _ = setting(quality)  # the lowest qualities are others at half the size
    rate = torch.tensor([record.rates[coded]])
    codewords = record.codewords
    size = len(record.dimensions)
    active = record.active[coded]
    histogram = np.zeros((size, codewords))
    real = ideal = floating = fixed = 0.0
    overhead = []
    for path in photos:
        data = codec.compress(Image.open(path), quality)
        codes = codec.codes(data)
        for m in range(active):
            histogram[m] += np.bincount(codes[m].ravel(), minlength=codewords)
        bits = codec.ideal_bits(codes, coded).sum()
        real += len(data)
        ideal += bits / 8
        fixed += active * codes[0].size
        overhead.append(len(data) - bits / 8)
        flat = torch.from_numpy(codes).flatten(1).T[None]
        floating += ideal_bits(original, flat, rate, passes(list(record.groups), active), codes.shape[1]) / 8
    p = histogram / histogram.sum(1, keepdims=True).clip(1)
    oracle = -(histogram * np.log2(p.clip(1e-12))).sum() / 8
    table = blend(shipped.flatten(1), rate).view(size, codewords).double().mul(LN2).log_softmax(-1) / LN2
    static = -(histogram * table.numpy()).sum() / 8
    header = len(read(data).header.pack())
    found = {
        "active": active,
        "bytes": real / len(photos),
        "ideal_bytes": ideal / len(photos),
        "static_bytes": static / len(photos),
        "oracle_static_bytes": oracle / len(photos),
        "fixed_bytes": fixed / len(photos),
        "header_bytes": header,
        "real_over_ideal_bytes": float(np.mean(overhead)),
        "worst_over_ideal_bytes": float(np.max(overhead)),
        "real_over_static": real / (static + header * len(photos)) - 1,
        "real_over_oracle_static": real / (oracle + header * len(photos)) - 1,
        "float_bytes": floating / len(photos),
        "integer_over_float": ideal / floating - 1,
    }
    return {key: round(value, 5) for key, value in found.items()}


def load_original(codec: Codec, path: Path) -> tuple[MaskedPrior, torch.Tensor]:
    """The float prior, without rounding anywhere, and the static frequencies (R, M, K) in log2."""
    tensors = load_file(path)
    static = tensors.pop("static_log2_probability").float()
    sizes = {field: int(tensors.pop(f"config.{field}")) for field in ("width", "blocks", "heads", "hidden", "rank")}
    codebook = torch.tensor(codec.release.tensors["quantizer.codebook"]).float()
    prior = MaskedPrior(PriorConfig(**sizes), codebook, codec.release.record.dimensions, len(tensors["level"]))
    prior.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    return prior.eval().requires_grad_(False), static


if __name__ == "__main__":
    main()

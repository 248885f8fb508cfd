"""A page of blind pairs: which of two codecs looks nearer to the photo, or more real, by the eyes of whoever opens it.

    python benchmarks/blind_pairs.py photos/ --codec pqmim --codec avif --bpp 0.15 --out pairs/

Writes one HTML file that holds all pictures: it can be sent to anyone and needs no server. Each pair shows the same part
of a photo as both codecs give it back at about equal bytes, in an order that a seed decides; the original can be shown by
holding a key or a button. Answers stay in the page until they are downloaded as JSON; `--count FILE ...` sums such files.
"""

import argparse
import base64
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from PIL import Image

from pqmim.evaluation.codecs import ImageCodec, Rgb, make_codec
from pqmim.evaluation.report.crops import busiest, nearest_size
from pqmim.evaluation.run import find_photos
from pqmim.files import write_atomically
from pqmim.image.picture import read_picture

SIDE = 320  # pixels of the part that is shown


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="photos")
    parser.add_argument("--codec", action="append", default=[], metavar="NAME", help="twice")
    parser.add_argument("--bpp", type=float, default=0.15, metavar="N")
    parser.add_argument("--pairs", type=int, default=24, metavar="N", help="photos, spread over the folder")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the order of pairs and of their sides")
    parser.add_argument("--out", type=Path, default=Path("pairs.html"), metavar="FILE")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of pqmim")
    parser.add_argument("--count", type=Path, nargs="+", metavar="FILE", help="sum the answers of these files instead")
    args = parser.parse_args()
    if args.count:
        print(counted([json.loads(path.read_text(encoding="utf-8")) for path in args.count]))
        return 0
    if args.folder is None or len(args.codec) != 2:
        print("name a folder of photos and two codecs, or --count FILE", file=sys.stderr)
        return 2
    first, second = (make_codec(name, weights=args.weights) for name in args.codec)
    pairs = make_pairs(spread(find_photos(args.folder), args.pairs), (first, second), args.bpp, args.seed)
    write_atomically(args.out, page(pairs, args.codec, args.bpp).encode(), force=True)
    print(f"{args.out}: {len(pairs)} pairs")
    return 0


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """`count` of the paths, evenly spread, or all where there are not so many."""
    if len(paths) <= count:
        return list(paths)
    return [paths[i * (len(paths) - 1) // max(count - 1, 1)] for i in range(count)]


def make_pairs(
    paths: Sequence[Path], codecs: tuple[ImageCodec, ImageCodec], bpp: float, seed: int
) -> list[dict[str, Any]]:
    """Pairs in a drawn order: {"photo", "original", "left", "right": pictures, "codecs": [left, right], "bytes": ...}.

    The second codec makes the file whose size comes nearest to the rate; the first one nearest to the second's.
    """
    rng = random.Random(seed)
    pairs = []
    for path in paths:
        rgb = read_picture(path).rgb
        second = nearest_size(codecs[1], rgb, round(bpp * rgb.shape[0] * rgb.shape[1] / 8))
        files = [nearest_size(codecs[0], rgb, len(second)), second]
        part = busiest(rgb, SIDE)
        sides = [
            {"codec": codec.name, "bytes": len(data), "picture": embedded(codec.decode(data)[part])}
            for codec, data in zip(codecs, files, strict=True)
        ]
        rng.shuffle(sides)
        pairs.append({"photo": path.name, "original": embedded(rgb[part]), "sides": sides})
    rng.shuffle(pairs)
    return pairs


def embedded(rgb: Rgb) -> str:
    """A picture without loss as the address of an image."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def page(pairs: Sequence[dict[str, Any]], codecs: Sequence[str], bpp: float) -> str:
    """The whole document; who made which side stands in it, but is not shown before the end."""
    folder = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape())
    return folder.get_template("blind_pairs.html").render(pairs=pairs, codecs=list(codecs), bpp=bpp)


def counted(files: Sequence[dict[str, Any]]) -> str:
    """What people preferred, with the probability that a fair coin is at least as one-sided."""
    votes = Counter(answer["preferred"] for file in files for answer in file["answers"])
    ties = votes.pop("none", 0)
    total = sum(votes.values())
    lines = [f"{name}: {count} of {total}" for name, count in votes.most_common()] + [f"no difference seen: {ties}"]
    if total:
        most = max(votes.values())
        tail = sum(math.comb(total, k) for k in range(most, total + 1)) / 2**total
        lines.append(f"a fair coin does as much in {min(1.0, 2 * tail):.1%} of all cases")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())

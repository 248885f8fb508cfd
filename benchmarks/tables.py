"""Writes the marked tables and figures of README.md and docs/ anew from results/.

    python benchmarks/tables.py            # --check only says whether they are what results/ says

A table stands between `<!-- table NAME -->` and `<!-- end -->`, made by the function of that name. A figure in a sentence
stands between `<!-- figure ... -->` and `<!-- end -->`: see `figure`.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache

from machine_tables import portability, speed, speed_units
from realism_tables import beside, look_dial, realism, tiny_looks
from scipy.interpolate import PchipInterpolator
from table_parts import NAMES, OWN, ROOT, markdown, result

from pqmim.evaluation.bdrate import Curve, Row, bd_rate, quality_span
from pqmim.evaluation.comparison import bd_interval, bd_tables, per_photo_bd_rates
from pqmim.evaluation.published import REFERENCES as PUBLISHED
from pqmim.evaluation.published import chosen, read_published
from pqmim.evaluation.results import curve

PAGES = ("README.md", "docs/results.md", "docs/realism.md", "docs/hybrid.md", "docs/ablations.md")
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURE = re.compile(r"(<!-- figure ([^>]+?) -->)[^<]*(<!-- end -->)")
LOOSE = re.compile(r"[-+−]?\d[\d.,]*(?: to [-+−]?\d[\d.,]*)? (?:%|dB)(?!\w)")

COLUMNS = ("pqmim", "pqmim-fast", "pqmim-refined", "webp", "avif", "avif-444", "jxl")
REFERENCES = {
    "jpeg": "JPEG (progressive, optimised, 4:2:0)",
    "webp": "WebP (method 6)",
    "avif": "AVIF (speed 6, 4:2:0)",
    "avif-444": "AVIF (speed 2, 4:4:4)",
    "jxl": "JPEG XL (effort 7)",
    "bmshj2018-hyperprior": "hyperprior (Ballé et al. 2018), published",
    "mbt2018-mean": "mean-scale hyperprior (Minnen et al. 2018), published",
    "cheng2020-anchor": "cheng2020-anchor (Cheng et al. 2020), published",
    "BPG 4:4:4": "BPG, 4:4:4, published",
    "AV1": "AV1, published",
    "VTM (VVC)": "VTM, published",
}
QUALITIES = (0, 10, 20, 40, 50, 60, 80, 100)
WAYS = {"expect": "expected", "sample": "drawn", "none": "left at codeword 0"}
HALVES = {"first": "the first half in coding order", "chessboard": "every other position"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    stale = 0
    for path in (ROOT / page for page in PAGES):
        page = path.relative_to(ROOT)
        before = path.read_text()
        after = rewritten(before)
        stale += before != after
        if before != after and args.check:
            print(f"{page} differs from results/: run python benchmarks/tables.py", file=sys.stderr)
        elif before != after:
            path.write_text(after)
    return int(args.check and stale > 0)


def rewritten(text: str) -> str:
    """A page with all of its tables and figures made anew."""
    text = BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)
    return FIGURE.sub(lambda found: found[1] + figure(found[2].split()) + found[3], text)


def figure(words: Sequence[str]) -> str:
    """A figure in a sentence, by what its comment says after `figure`.

    `bd MEASURE REFERENCE BAND [CODEC]` is a BD-rate on Kodak. `units RUN MEGAPIXELS CODEC_DIRECTION FORMAT` is a speed,
    by the run's name in the table of speeds. `json FILE PATH FORMAT` is a value of a file in results/ by its keys, with
    / between them. All have _ for blanks in a name.
    """
    kind, *rest = words
    if kind == "bd":
        measure, reference, band, *codec = rest
        row = bands_on("kodak", measure)[reference.replace("_", " ")][band]
        return f"{row.percent[codec[0] if codec else 'pqmim']:+.1f} %"
    if kind == "units":
        name, size, way, form = rest
        return format(speed_units(name.replace("_", " "), size, way.replace("_", " ")), form)
    file, path, form = rest
    value = result(file)
    for key in path.split("/"):
        value = value[int(key) if isinstance(value, list) else key.replace("_", " ") if key not in value else key]
    return format(value, form)


def loose_figures(text: str) -> list[str]:
    """Measured figures in a page's sentences that no comment holds to results/: those with % or dB after them."""
    for pattern in (
        BLOCK,
        FIGURE,
        re.compile(r"```.*?```", re.DOTALL),
        re.compile(r"`[^`]*`"),
        re.compile(r"(?m)^\|.*$"),
    ):
        text = pattern.sub("", text)
    return LOOSE.findall(text)


@cache
def bands_on(photos: str, measure: str) -> dict[str, dict[str, Row]]:
    """BD-rates of what was measured on a set of photos, against all references, in all bands."""
    measured = result(f"{photos}/codecs.json")["codecs"]
    codecs = {name: measured[name] for name in COLUMNS if name in measured}
    path = ROOT / "results" / "published" / f"{photos}.json"
    return bd_tables(codecs, chosen(read_published(path), PUBLISHED) if path.exists() else {}, measure)


def bd_psnr() -> str:
    """What the codecs need beyond each reference on Kodak at equal PSNR, band by band."""
    return _bands("kodak", "psnr")


def bd_msssim() -> str:
    """The same at equal MS-SSIM."""
    return _bands("kodak", "ms_ssim")


def cq100_psnr() -> str:
    """The same on photos of CQ100 at equal PSNR."""
    return _bands("cq100", "psnr")


def cq100_msssim() -> str:
    """The same on photos of CQ100 at equal MS-SSIM."""
    return _bands("cq100", "ms_ssim")


def cq100_photos() -> str:
    """What pqmim needs beyond both AVIFs on each photo of CQ100 at equal PSNR, the best first."""
    codecs = result("cq100/codecs.json")["codecs"]
    found = {name: per_photo_bd_rates(codecs, (name, "pqmim")) for name in ("avif-444", "avif")}
    photos = sorted(found["avif-444"], key=lambda photo: found["avif-444"][photo] or 0.0)
    rows = [
        [photo, *("" if (one := rates[photo]) is None else f"{one:+.0f} %" for rates in found.values())]
        for photo in photos
    ]
    return markdown(["photo", *(f"against {REFERENCES[name]}" for name in found)], rows)


def _bands(photos: str, measure: str) -> str:
    rows, tables = [], bands_on(photos, measure)
    names = list(next(iter(next(iter(tables.values())).values())).percent)
    codecs = [name for name in COLUMNS if name in {*names, *tables}]
    for reference, bands in tables.items():
        for band, row in bands.items():
            cells = ["" if row.percent.get(name) is None else f"{row.percent[name]:+.1f} %" for name in codecs]
            strong = [
                f"**{cell}**" if cell and name == "pqmim" else cell for name, cell in zip(codecs, cells, strict=True)
            ]
            low, high = row.qualities
            words = REFERENCES[reference] if band == next(iter(bands)) else ""
            rows.append([words, f"{row.rates[0]:.2f} to {row.rates[1]:.2f}", f"{low:.1f} to {high:.1f}", *strong])
    return markdown(["against", "its bpp", "dB", *(NAMES.get(name, name) for name in codecs)], rows)


def intervals() -> str:
    """The BD-rate of the default over each measured codec, with its interval over photos, both measures."""
    codecs = result("kodak/codecs.json")["codecs"]
    tables = {measure: bd_tables(codecs, {}, measure) for measure in ("psnr", "ms_ssim")}
    rows = []
    for reference, bands in tables["psnr"].items():
        band, cells = list(bands)[-1], []
        for measure, table in tables.items():
            row = table.get(reference, {}).get(band)
            value = None if row is None else row.percent["pqmim"]
            found = None if row is None else bd_interval(codecs, (reference, "pqmim"), row, measure)
            spread = "" if found is None else f" ({found[0]:+.1f} to {found[1]:+.1f})"
            cells.append("" if value is None else f"{value:+.1f} %{spread}")
        rates = bands[band].rates
        singles = [value for value in per_photo_bd_rates(codecs, (reference, "pqmim")).values() if value is not None]
        fewer = f"{sum(value < 0 for value in singles)} of {len(singles)}"
        rows.append([REFERENCES[reference], f"{rates[0]:.2f} to {rates[1]:.2f}", *cells, fewer])
    return markdown(["pqmim against", "its bpp", "PSNR", "MS-SSIM", "photos on which it needs fewer bits"], rows)


def dial() -> str:
    """Rate and distortion of some qualities."""
    rows = []
    measured = result("kodak/codecs.json")["codecs"]
    for codec in _efforts(measured):
        words = f"{NAMES[codec]}: " if codec in NAMES else ""
        found = {row["setting"]: row for row in measured[codec]["settings"]}
        shown = [found[quality] for quality in QUALITIES]
        rows += [
            [f"{words}bpp", *(f"{row['bpp']:.3f}" for row in shown)],
            [f"{words}PSNR, dB", *(f"{row['psnr']:.2f}" for row in shown)],
            [f"{words}MS-SSIM", *(f"{row['ms_ssim']:.4f}" for row in shown)],
        ]
    return markdown(["`-q`", *map(str, QUALITIES)], rows)


def entropy() -> str:
    """What the prior saves, and what integers and the file's frame cost."""
    rows = result("kodak/entropy.json")["qualities"]

    def percent(key: str) -> list[str]:
        return [f"{100 * row[key]:+.1f} %" for row in rows]

    return markdown(
        ["the masked prior, `-q`", *(str(row["quality"]) for row in rows)],
        [
            ["files against the same codes with the training photos' static frequencies", *percent("real_over_static")],
            ["files against static frequencies fitted to these very codes", *percent("real_over_oracle_static")],
            ["bytes of a file, mean", *(f"{row['bytes']:.0f}" for row in rows)],
            ["of which over its ideal bits", *(f"{row['real_over_ideal_bytes']:.1f}" for row in rows)],
        ],
    )


def sizes() -> str:
    """Files made to a size."""
    rows = result("kodak/hybrid.json")["sizes"]
    return markdown(
        ["files made to a size, bytes", *(f"{row['bytes']:,.0f}" for row in rows)],
        [
            ["PSNR, dB", *(f"{row['psnr']:.2f}" for row in rows)],
            ["unused bytes, mean", *(f"{row['unused_bytes']:.1f}" for row in rows)],
            ["codings a search takes", *(f"{row['trials']:.1f}" for row in rows)],
        ],
    )


def tiny() -> str:
    """What fits 200 bytes."""
    ways = result("kodak/hybrid.json")["tiny"]["ways"]
    rows = [
        [name, f"{way['bytes']:.0f}", f"{way['psnr']:.2f}", f"{way['squeezenet']:.4f}"]
        if way
        else [name, "–", "does not fit", "–"]
        for name, way in ways.items()
    ]
    return markdown(["200 bytes", "bytes", "PSNR, dB", "SqueezeNet distance"], rows)


def prefix() -> str:
    """PSNR and colour error over the share of a file that arrived."""
    found = result("kodak/prefix.json")

    def at_shares(key: str) -> list[str]:
        return [f"{found[key][str(share)]:.2f}" if str(share) in found[key] else "" for share in found["shares"]]

    rows = [
        ["PSNR, dB", *(f"{value:.2f}" for value in found["psnr"])],
        ["a file made for that size", *at_shares("made_for_size")],
    ]
    if "ciede2000" in found:
        rows.append(["mean colour error, CIEDE2000", *(f"{value:.2f}" for value in found["ciede2000"])])
        rows.append(["of a file made for that size", *at_shares("made_ciede2000")])
    return markdown(
        [f"share of a file at quality {found['quality']}", *(f"{100 * share:g} %" for share in found["shares"])], rows
    )


def completion() -> str:
    """What becomes of the codes that were not sent."""
    found = result("kodak/hybrid.json")["completion"]
    rows = [
        [HALVES[half], WAYS[way], f"{row['psnr']:.2f}", f"{row['squeezenet']:.4f}"]
        for half, ways in found.items()
        for way, row in ways.items()
    ]
    return markdown(["half of the codes sent", "the rest", "PSNR, dB", "SqueezeNet distance"], rows)


def rivals() -> str:
    """What the learned codecs trained here need beyond each other and beyond WebP and AVIF, at equal PSNR."""
    trained = result("kodak/rivals.json")["codecs"]
    shipped = result("kodak/codecs.json")["codecs"]
    span = (0.1, 0.9)
    curves = {
        **{f"{OWN[codec]}, equal budget": curve(trained[codec]) for codec in _efforts(trained)},
        **{f"{OWN[codec]}, as shipped": curve(shipped[codec]) for codec in _efforts(shipped)},
        "mean-scale hyperprior": curve(trained["hyperprior"]),
    }
    learned = curves["pqmim, equal budget"], curves["mean-scale hyperprior"]
    references = *learned, curve(shipped["webp"]), curve(shipped["avif"])
    rows = []
    for name, found in curves.items():
        against = ["" if other is found else f"{_within(other, found, span):+.1f} %" for other in references]
        rows.append([name, *against, f"{found[0][0]:.3f} to {found[0][-1]:.3f} bpp"])
    (rate,), (quality,) = curve(trained["vq"])
    rows.append(
        ["vanilla VQ, at its PSNR", *(_beyond(other, rate, quality) for other in references), f"{rate:.3f} bpp"]
    )
    against = ["pqmim, equal budget", "the hyperprior", "WebP", "AVIF"]
    return markdown(["trained here", *(f"against {name}" for name in against), "range"], rows)


def _efforts(codecs: dict) -> list[str]:
    """Which of our own codecs were measured, the default first."""
    return [name for name in OWN if name in codecs]


def _within(reference: Curve, test: Curve, rates: tuple[float, float]) -> float:
    """The BD-rate over the qualities that both codecs reach between two rates."""
    spans = [quality_span(points, rates) for points in (reference, test)]
    return bd_rate(reference, test, (max(span[0] for span in spans), min(span[1] for span in spans)))


def _beyond(reference: Curve, rate: float, quality: float) -> str:
    """What one rate is beyond the reference's at the same quality, which it may not have."""
    rates, qualities = reference
    if not qualities[0] <= quality <= qualities[-1]:
        return ""
    same = math.exp(PchipInterpolator(qualities, [math.log(rate) for rate in rates])(quality))
    return f"{100 * (rate / same - 1):+.1f} %"


def thesis() -> str:
    """A vector, products and scalars as the quantizer of one codec, by what they need beyond scalars at equal PSNR."""
    rows = []
    for variant in result("thesis.json")["variants"]:
        beyond = (variant[kind].get("bd_rate") for kind in ("refined", "plain"))
        cells = ["none in common" if value is None else f"{value:+.1f} %" for value in beyond]
        bpp, psnr = variant["refined"]["bpp"], variant["refined"]["psnr"]
        reached = f"{bpp[0]:.3f} to {bpp[-1]:.3f}", f"{psnr[0]:.1f} to {psnr[-1]:.1f}"
        rows.append([variant["words"], str(variant["sub_quantizers"]), str(variant["widest"]), *reached, *cells])
    head = ["quantizer", "M", "channels of the widest", "bpp", "PSNR, dB", "refined, against scalars", "not refined"]
    return markdown(head, rows)


def ablation_start() -> str:
    return _ablation("start", "transforms start as")


def ablation_quantizer() -> str:
    found = result("ablations.json")["quantizer"]
    facts = [[str(row["sub_quantizers"]), str(row["codewords"]), str(row["widest"])] for row in found]
    return _ablation("quantizer", "quantizer", ["M", "K", "channels of the widest"], facts)


def ablation_joint() -> str:
    return _ablation("joint", "then")


def ablation_prior() -> str:
    rows = result("ablations.json")["prior"]
    return markdown(
        ["entropy model", "passes", "bits, of those of static frequencies"],
        [[row["words"], str(row.get("passes", "")), f"{100 * row['share_of_static']:.1f} %"] for row in rows],
    )


def _ablation(part: str, name: str, head: Sequence[str] = (), facts: Sequence[Sequence[str]] = ()) -> str:
    """Variants of one comparison, by what they need beyond the first at equal PSNR."""
    rows = []
    for number, row in enumerate(result("ablations.json")[part]):
        beyond = (
            "" if "bd_rate" not in row else "none in common" if row["bd_rate"] is None else f"{row['bd_rate']:+.1f} %"
        )
        reached = f"{row['psnr'][0]:.1f} to {row['psnr'][-1]:.1f} dB"
        rows.append([row["words"], *(facts[number] if facts else ()), reached, beyond])
    return markdown([name, *head, "PSNR", "BD-rate"], rows)


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table
    for table in (
        *(
            bd_psnr,
            bd_msssim,
            intervals,
            dial,
            cq100_psnr,
            cq100_msssim,
            cq100_photos,
            rivals,
            entropy,
            sizes,
            speed,
            portability,
        ),
        *(tiny, prefix, completion, realism, beside, look_dial, tiny_looks),
        *(ablation_start, ablation_quantizer, ablation_prior, ablation_joint, thesis),
    )
}


if __name__ == "__main__":
    raise SystemExit(main())

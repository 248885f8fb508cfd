"""A report's page: what the measurements say, for a reader with a phone as for one with a desk."""

import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import quote

from pqmim.evaluation.bdrate import Row
from pqmim.evaluation.codecs import CLASSICAL
from pqmim.evaluation.comparison import bd_tables, per_photo_bd_rates
from pqmim.evaluation.published import REFERENCES, PublishedCurve
from pqmim.evaluation.report.crops import RATES, Example
from pqmim.evaluation.report.markup import Html, element, joined, table
from pqmim.evaluation.report.plots import NAMES, OWN, TITLES

DB = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}  # the measures that BD-rates are taken over
MEANS = {  # headings of the tables of means, and digits after the point
    "setting": ("setting", None),
    "bytes": ("bytes", 0),
    "bpp": ("bpp", 3),
    "psnr": ("PSNR, dB", 2),
    "ms_ssim": ("MS-SSIM", 4),
    "squeezenet": ("SqueezeNet", 4),
    "encode_s": ("compress, s", 3),
    "decode_s": ("decompress, s", 3),
}
GITHUB = re.compile(r"github:([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}):(.+)")


class Evaluation(NamedTuple):
    """One section of the page."""

    name: str  # path of the JSON file below the folder of results
    record: Mapping[str, Any]  # as `run.evaluate` returns it
    published: Mapping[str, PublishedCurve]  # of the same photos
    plots: Mapping[str, str]  # links by measure

    @property
    def title(self) -> str:
        """The data set's name with a capital."""
        dataset = str(self.record["dataset"])
        return dataset[:1].upper() + dataset[1:]


def page(evaluations: Sequence[Evaluation], examples: Sequence[tuple[Example, str, list[list[str]]]] = ()) -> str:
    """The whole HTML document; `examples` come with the links of their pictures: the photo's, and those of the rows."""
    sections = [_evaluation(number, evaluation) for number, evaluation in enumerate(evaluations, 1)]
    links = [
        (f"#evaluation-{number}", f"{evaluation.title} ({evaluation.name})")
        for number, evaluation in enumerate(evaluations, 1)
    ]
    if examples:
        sections.append(_examples(examples))
        links.append(("#examples", "Side by side"))
    navigation = element("ul", *(element("li", element("a", text, href=link)) for link, text in links))
    body = joined(
        element("h1", "Rate and distortion"),
        element(
            "p",
            "Rates are sizes of coded files, headers included, in bits a pixel (bpp). Figures are means over photos.",
        ),
        element("nav", navigation) if len(links) > 1 else "",
        *sections,
    )
    head = joined(
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", "pqmim: rate and distortion"),
        element("style", Html(files("pqmim.evaluation.report").joinpath("report.css").read_text(encoding="utf-8"))),
    )
    return f"<!DOCTYPE html>\n{element('html', element('head', head), element('body', body), lang='en')}\n"


def _evaluation(number: int, evaluation: Evaluation) -> Html:
    record, codecs = evaluation.record, evaluation.record["codecs"]
    return element(
        "section",
        element("h2", evaluation.title, id=f"evaluation-{number}"),
        element("p", _circumstances(evaluation), class_="faint"),
        *(_plot(evaluation, measure) for measure in evaluation.plots),
        *(_bd_rates(evaluation, measure) for measure in DB),
        _sources(evaluation.published),
        _photos(codecs),
        _seconds(record),
        _means(codecs),
    )


def _circumstances(evaluation: Evaluation) -> str:
    record = evaluation.record
    machine, versions = record["machine"], record["versions"]
    libraries = dict(versions)
    for codec in record["codecs"].values():
        libraries |= codec.get("versions", {})
    pixels = sum(image["width"] * image["height"] for image in record["images"]) / 1e6
    weights = "".join(f" SHA-256 of the weights for {key}: {sha}." for key, sha in record.get("features", {}).items())
    software = ", ".join(f"{name} {version}" for name, version in libraries.items())
    return (
        f"{_count(len(record['images']), 'photo')}, {pixels:.1f} megapixels in all. {machine['cpu']}, "
        f"{_count(machine['threads'], 'thread')}; {software}. "
        f"From {evaluation.name}.{weights}"
    )


def _plot(evaluation: Evaluation, measure: str) -> Html:
    text = f"{evaluation.title}: {TITLES[measure]} over bits a pixel, a curve for each codec"
    image = element("img", src=quote(evaluation.plots[measure]), alt=text)
    return element("div", image, class_="wide plot", tabindex="0")


# -- tables ----------------------------------------------------------------------------------------


def _bd_rates(evaluation: Evaluation, measure: str) -> Html:
    """The measured codecs against one another and against published curves: the first of these at once, others folded."""
    codecs = evaluation.record["codecs"]
    tables = bd_tables(codecs, evaluation.published, measure)
    if not tables:
        return Html("")
    head = ["against", "qualities", *map(_name, codecs)]
    first: list[list[str]] = []
    rest: list[list[str]] = []
    for reference, rows in tables.items():
        shown = reference in codecs or reference in REFERENCES or len(evaluation.published) <= len(REFERENCES)
        (first if shown else rest).extend(_row(reference, band, row, list(codecs)) for band, row in rows.items())
    return joined(
        element("h3", f"Bits at equal {DB[measure]}"),
        element(
            "p",
            f"BD-rate: the bits that a column's codec needs at equal {DB[measure]} beyond those of the row's, in "
            "percent; less is better. PCHIP over log rate. A row is a band of its codec's rates; all of its cells are "
            "means over the same qualities, those that its codecs reach. Published figures may leave headers out.",
            class_="faint",
        ),
        table(head, first) if first else "",
        element("details", element("summary", "More published curves"), table(head, rest)) if rest else "",
    )


def _row(reference: str, band: str, row: Row, codecs: Sequence[str]) -> list[str]:
    name = joined(_name(reference), element("small", "{:.2f} to {:.2f} bpp".format(*row.rates)))
    cells = ["" if (value := row.percent.get(codec)) is None else _percent(value) for codec in codecs]
    return [name, f"{band}: {row.qualities[0]:.1f} to {row.qualities[1]:.1f} dB", *cells]


def _photos(codecs: Mapping[str, Any]) -> Html:
    """Photo by photo, what our codec needs beyond each classical one that was measured."""
    others = [name for name in codecs if name in CLASSICAL]
    if OWN not in codecs or not others or not codecs[OWN]["per_image"]:
        return Html("")
    columns = [per_photo_bd_rates(codecs, (other, OWN)) for other in others]
    rows = [
        [photo, *("" if (value := column.get(photo)) is None else _percent(value) for column in columns)]
        for photo in codecs[OWN]["per_image"]
    ]
    inner = table([f"{OWN} against", *map(_name, others)], rows)
    return element("details", element("summary", "Photo by photo: BD-rate over PSNR"), inner)


def _sources(published: Mapping[str, PublishedCurve]) -> Html:
    if not published:
        return Html("")
    items = [element("li", f"{name}: ", _source(curve.source)) for name, curve in published.items()]
    return element("details", element("summary", "Sources of the published curves"), element("ul", *items))


def _seconds(record: Mapping[str, Any]) -> Html:
    rows = []
    for name, codec in record["codecs"].items():
        ways = [[row[key] for row in codec["settings"] if row[key] is not None] for key in ("encode_s", "decode_s")]
        rows.append([_name(name), *(f"{min(way):.3f} to {max(way):.3f}" if way else "–" for way in ways)])
    return joined(
        element("h3", "Seconds a photo"),
        element(
            "p",
            "From the fastest setting to the slowest, libraries loaded, without reading and writing files.",
            class_="faint",
        ),
        table(["codec", "compress", "decompress"], rows),
    )


def _means(codecs: Mapping[str, Any]) -> Html:
    parts = []
    for name, codec in codecs.items():
        columns = [key for key in MEANS if any(row.get(key) is not None for row in codec["settings"])]
        rows = [[_number(row.get(key), MEANS[key][1]) for key in columns] for row in codec["settings"]]
        inner = table([MEANS[key][0] for key in columns], rows)
        parts.append(
            element("details", element("summary", _name(name)), inner, **({"open": ""} if name == OWN else {}))
        )
    return joined(element("h3", "Means"), *parts)


# -- pictures --------------------------------------------------------------------------------------


def _examples(examples: Sequence[tuple[Example, str, list[list[str]]]]) -> Html:
    parts = []
    for example, photo, rows in examples:
        parts.append(element("h3", f"{example.photo}, {example.width}x{example.height}"))
        for rate, crops, links in zip(RATES, example.rows, rows):
            cells = [
                _picture(link, _name(crop.codec), f"{crop.bytes:,} bytes, {_decibels(crop.psnr)}")
                for crop, link in zip(crops, links)
            ]
            parts.append(element("h4", f"Near {rate} bpp"))
            parts.append(element("div", _picture(photo, "the photo", "as it is"), *cells, class_="crops"))
    return element(
        "section",
        element("h2", "Side by side", id="examples"),
        element(
            "p",
            "Each codec made the file whose size comes nearest to the same number of bytes; pqmim was then given the "
            "smallest of these sizes. Bytes and PSNR are of the whole photo; shown is the part with the most detail.",
            class_="faint",
        ),
        *parts,
    )


def _picture(link: str, name: str, caption: str) -> Html:
    image = element("img", src=quote(link), alt=f"{name}: {caption}", loading="lazy")
    return element("figure", image, element("figcaption", element("b", name), caption))


# -- words -----------------------------------------------------------------------------------------


def _name(codec: str) -> Html:
    name = NAMES.get(codec, codec)
    return element("span", name, class_="own") if codec == OWN else joined(name)


def _percent(value: float) -> str:
    return f"{value:+.1f} %".replace("-", "−")


def _source(source: str) -> Html:
    """A file on GitHub, named as github:OWNER/REPOSITORY@COMMIT:PATH, as a link; other sources as they are."""
    found = GITHUB.fullmatch(source)
    if not found:
        return joined(source)
    repository, commit, path = found.groups()
    link = f"https://github.com/{repository}/blob/{commit}/{quote(path)}"
    return joined(element("a", f"{repository}, {PurePath(path).name}", href=link), f" at {commit[:12]}")


def _number(value: float | None, digits: int | None) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if digits is None else f"{value:,.{digits}f}"


def _decibels(psnr: float) -> str:
    return f"{psnr:.2f} dB" if math.isfinite(psnr) else "no loss"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""A report's page: what the measurements say, for a reader with a phone as for one with a desk.

This module finds the words and figures; `page.html`, a template of Jinja2, has their places and escapes them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from pqmim.evaluation.bdrate import Row
from pqmim.evaluation.codecs import CLASSICAL
from pqmim.evaluation.comparison import bd_tables, per_photo_bd_rates
from pqmim.evaluation.published import REFERENCES, PublishedCurve
from pqmim.evaluation.report.crops import RATES, Example
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

Pictures = Sequence[tuple[Example, str, list[list[str]]]]


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


@dataclass(frozen=True)
class Cell:
    """Text of a table with small lines below it; our own codec's name is told apart."""

    text: str
    small: Sequence[str] = ()
    own: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows."""

    head: Sequence[Cell | str]
    rows: Sequence[Sequence[Cell | str]]


def page(evaluations: Sequence[Evaluation], examples: Pictures = ()) -> str:
    """The whole HTML document; `examples` come with the links of their pictures: the photo's, and those of the rows."""
    links = [
        (f"#evaluation-{number}", f"{evaluation.title} ({evaluation.name})")
        for number, evaluation in enumerate(evaluations, 1)
    ]
    if examples:
        links.append(("#examples", "Side by side"))
    environment = Environment(
        loader=PackageLoader("pqmim.evaluation", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    css = files("pqmim.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        css=Markup(css),
        links=links,
        sections=[_section(number, evaluation) for number, evaluation in enumerate(evaluations, 1)],
        examples=[_example(*example) for example in examples],
    )


def _section(number: int, evaluation: Evaluation) -> dict[str, Any]:
    codecs = evaluation.record["codecs"]
    return {
        "id": f"evaluation-{number}",
        "title": evaluation.title,
        "circumstances": _circumstances(evaluation),
        "plots": [
            (quote(link), f"{evaluation.title}: {TITLES[measure]} over bits a pixel, a curve for each codec")
            for measure, link in evaluation.plots.items()
        ],
        "bands": [bands for measure in DB if (bands := _bands(evaluation, measure))],
        "sources": [_source(name, known.source) for name, known in evaluation.published.items()],
        "photos": _photos(codecs),
        "seconds": _seconds(codecs),
        "means": [(_name(name), name == OWN, _means(codec)) for name, codec in codecs.items()],
    }


def _circumstances(evaluation: Evaluation) -> str:
    record = evaluation.record
    machine, versions = record["machine"], record["versions"]
    libraries = dict(versions)
    for codec in record["codecs"].values():
        libraries |= codec.get("versions", {})
    pixels = sum(image["width"] * image["height"] for image in record["images"]) / 1e6
    weights = "".join(f" SHA-256 of the weights for {key}: {sha}." for key, sha in record.get("features", {}).items())
    software = ", ".join(f"{name} {version}" for name, version in libraries.items())
    features = f" ({', '.join(machine['features'])})" if machine.get("features") else ""
    return (
        f"{_count(len(record['images']), 'photo')}, {pixels:.1f} megapixels in all. {machine['cpu']}{features}, "
        f"{_count(machine['threads'], 'thread')}; {software}. From {evaluation.name}.{weights}"
    )


def _bands(evaluation: Evaluation, measure: str) -> dict[str, Any] | None:
    """The measured codecs against one another and against published curves: the first of these at once, others folded."""
    codecs = evaluation.record["codecs"]
    tables = bd_tables(codecs, evaluation.published, measure)
    if not tables:
        return None
    head: list[Cell | str] = ["against", "qualities", *map(_name, codecs)]
    first: list[list[Cell | str]] = []
    rest: list[list[Cell | str]] = []
    for reference, rows in tables.items():
        shown = reference in codecs or reference in REFERENCES or len(evaluation.published) <= len(REFERENCES)
        (first if shown else rest).extend(_row(reference, band, row, list(codecs)) for band, row in rows.items())
    return {"measure": DB[measure], "first": Table(head, first), "rest": Table(head, rest)}


def _row(reference: str, band: str, row: Row, codecs: Sequence[str]) -> list[Cell | str]:
    name = Cell(NAMES.get(reference, reference), ["{:.2f} to {:.2f} bpp".format(*row.rates)], reference == OWN)
    cells = ["" if (value := row.percent.get(codec)) is None else _percent(value) for codec in codecs]
    return [name, f"{band}: {row.qualities[0]:.1f} to {row.qualities[1]:.1f} dB", *cells]


def _photos(codecs: Mapping[str, Any]) -> Table | None:
    """Photo by photo, what our codec needs beyond each classical one that was measured."""
    others = [name for name in codecs if name in CLASSICAL]
    if OWN not in codecs or not others or not codecs[OWN]["per_image"]:
        return None
    columns = [per_photo_bd_rates(codecs, (other, OWN)) for other in others]
    rows = [
        [photo, *("" if (value := column.get(photo)) is None else _percent(value) for column in columns)]
        for photo in codecs[OWN]["per_image"]
    ]
    return Table([f"{OWN} against", *map(_name, others)], rows)


def _seconds(codecs: Mapping[str, Any]) -> Table:
    rows: list[list[Cell | str]] = []
    for name, codec in codecs.items():
        ways = [[row[key] for row in codec["settings"] if row[key] is not None] for key in ("encode_s", "decode_s")]
        rows.append([_name(name), *(f"{min(way):.3f} to {max(way):.3f}" if way else "–" for way in ways)])
    return Table(["codec", "compress", "decompress"], rows)


def _means(codec: Mapping[str, Any]) -> Table:
    columns = [key for key in MEANS if any(row.get(key) is not None for row in codec["settings"])]
    rows = [[_number(row.get(key), MEANS[key][1]) for key in columns] for row in codec["settings"]]
    return Table([MEANS[key][0] for key in columns], rows)


def _example(example: Example, photo: str, rows: list[list[str]]) -> dict[str, Any]:
    return {
        "title": f"{example.photo}, {example.width}x{example.height}",
        "link": quote(photo),
        "rows": [
            (
                rate,
                [
                    (quote(link), NAMES.get(crop.codec, crop.codec), f"{crop.bytes:,} bytes, {_decibels(crop.psnr)}")
                    for crop, link in zip(crops, links, strict=True)
                ],
            )
            for rate, crops, links in zip(RATES, example.rows, rows, strict=True)
        ],
    }


def _name(codec: str) -> Cell:
    return Cell(NAMES.get(codec, codec), own=codec == OWN)


def _percent(value: float) -> str:
    return f"{value:+.1f} %".replace("-", "−")


def _source(name: str, source: str) -> dict[str, str]:
    """A file on GitHub, named as github:OWNER/REPOSITORY@COMMIT:PATH, with a link; other sources as they are."""
    found = GITHUB.fullmatch(source)
    if not found:
        return {"name": name, "text": source}
    repository, commit, path = found.groups()
    link = f"https://github.com/{repository}/blob/{commit}/{quote(path)}"
    return {"name": name, "text": f"{repository}, {PurePath(path).name}", "link": link, "commit": commit[:12]}


def _number(value: float | None, digits: int | None) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if digits is None else f"{value:,.{digits}f}"


def _decibels(psnr: float) -> str:
    return f"{psnr:.2f} dB" if math.isfinite(psnr) else "no loss"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

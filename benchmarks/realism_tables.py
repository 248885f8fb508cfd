"""Tables of how real pictures look: codecs at equal rates, and models of one rate."""

from collections.abc import Mapping
from typing import Any

from table_parts import NAMES, OWN, markdown, result

OTHER = ("setting", "bpp")  # of a row of perceptual.json, beside the measures
DIAL = {
    "pqmim": "0, faithful",
    "pqmim-look25": "0.25",
    "pqmim-look50": "0.5",
    "pqmim-look75": "0.75",
    "pqmim-vivid": "1, vivid",
}


def realism() -> str:
    """Perceptual measures at equal rates, and what the others gain on the first codec, with intervals over photos."""
    found = result("perceptual.json")
    rates = {rate: codecs for rate, codecs in found["at"].items() if codecs}
    measures, rows = list(next(iter(next(iter(rates.values())).values()))), []
    for rate, codecs in rates.items():
        for name, cells in codecs.items():
            values = [f"{cells[measure]['value']:.3g}" for measure in measures]
            rows.append([f"{rate} bpp", OWN.get(name) or NAMES.get(name, name), *values])
            if cells := found["against"][rate].get(name):
                rows.append(["", "against the first", *(_gain(cells[measure]) for measure in measures)])
    return markdown(["rate", "codec", *measures], rows)


def beside() -> str:
    """The perceptual measures of codecs of one rate, and ours at that rate."""
    found = result("perceptual.json")
    rows, measures = [], [name for name in next(iter(found["codecs"].values()))["settings"][0] if name not in OTHER]
    models = [
        (codec, told, own)
        for codec, single in found["beside"].items()
        for told, own in zip(single, found["codecs"][codec]["settings"])
    ]
    for name, cells, own in models:
        rate = f"{own['bpp']:.3f} bpp"
        rows.append([rate, NAMES.get(name, name), *(f"{own[measure]:.3g}" for measure in measures)])
        for other in (codec for codec in cells if codec not in OTHER):
            told = cells[other]
            rows.append([rate, OWN.get(other, other), *(f"{told[measure]['value']:.3g}" for measure in measures)])
            rows.append(["", "against it", *(_gain(told[measure]) for measure in measures)])
    return markdown(["rate", "codec", *measures], rows)


def look_dial() -> str:
    """The measures of one setting's files at places of the dial between looks."""
    codecs = result("look_dial.json")["codecs"]
    rows = [[DIAL[name], *_measures(codec["settings"][0])] for name, codec in codecs.items()]
    return markdown(["look", *_names(codecs)], rows)


def tiny_looks() -> str:
    """The measures of files of a few bytes in both looks."""
    codecs = result("tiny_looks.json")["codecs"]
    looks = dict(zip(codecs, ("faithful", "vivid"), strict=True))
    rows = [
        [f"{row['setting']:,.0f} bytes", looks[name], *_measures(row)]
        for rows in zip(*(codec["settings"] for codec in codecs.values()))
        for name, row in zip(codecs, rows)
    ]
    return markdown(["file", "look", *_names(codecs)], rows)


def _names(codecs: Mapping[str, Any]) -> list[str]:
    return [name for name in next(iter(codecs.values()))["settings"][0] if name not in OTHER]


def _measures(row: Mapping[str, float]) -> list[str]:
    return [f"{value:.3g}" for name, value in row.items() if name not in OTHER]


def _gain(cell: Mapping[str, Any]) -> str:
    unit = "dB" if "dB" in cell else "%"
    value, (low, high), form = cell.get("dB", cell.get("percent")), cell["interval"], "+.2f" if unit == "dB" else "+.0f"
    return f"{value:{form}} {unit} ({low:{form}} to {high:{form}})"

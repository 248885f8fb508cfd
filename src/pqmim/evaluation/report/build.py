"""Results as a folder to read: a page, its plots, and crops of photos where these are wanted."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pqmim.errors import OutputError, PqmimError
from pqmim.evaluation.published import PublishedCurve, chosen, published_curves
from pqmim.evaluation.report.crops import Example
from pqmim.evaluation.report.page import Evaluation, page
from pqmim.evaluation.report.plots import TITLES, draw_rd
from pqmim.evaluation.results import is_evaluation
from pqmim.files import write_atomically
from pqmim.image.picture import to_pil
from pqmim.image.save import encode


def collect(folder: str | os.PathLike[str]) -> list[Evaluation]:
    """The evaluations among the JSON files under a folder, in order of their paths.

    Each comes with the published curves under the same folder whose file names the same data set in "dataset", in any
    case. JSON of other kinds is passed over. Raises PqmimError where the folder is none, holds no evaluation, or a
    .json file cannot be read as JSON.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PqmimError("not a folder: name one that holds results of pqmim evaluate", folder)
    records: dict[str, dict[str, Any]] = {}
    published: dict[str, dict[str, PublishedCurve]] = {}
    for path in sorted(folder.rglob("*.json")):
        record = _read(path)
        if is_evaluation(record):
            records[path.relative_to(folder).as_posix()] = record
        elif isinstance(record, dict) and "dataset" in record:
            try:
                published.setdefault(_key(record), {}).update(published_curves(record))
            except ValueError:  # of another kind
                continue
    if not records:
        raise PqmimError("holds no results of pqmim evaluate --json", folder)
    return [Evaluation(name, record, published.get(_key(record), {}), {}) for name, record in records.items()]


def render(evaluations: Sequence[Evaluation], examples: Sequence[Example] = ()) -> dict[str, bytes]:
    """The files of a report by their paths in its folder, "index.html" the last; other files are linked from it."""
    content: dict[str, bytes] = {}
    sections = []
    for number, evaluation in enumerate(evaluations, 1):
        plots = {}
        for measure in TITLES:
            path = f"plots/{number}-{_slug(evaluation.name)}-{measure}.svg"
            try:
                content[path] = draw_rd([evaluation.record], chosen(evaluation.published), measure=measure)
            except PqmimError:  # not measured
                continue
            plots[measure] = path
        sections.append(evaluation._replace(plots=plots))
    pictures = []
    for number, example in enumerate(examples, 1):
        stem = f"crops/{number}-{_slug(example.photo)}"
        rows = [[f"{stem}-{i}-{crop.codec}.png" for crop in row] for i, row in enumerate(example.rows, 1)]
        shown = {f"{stem}.png": example.rgb}
        for links, row in zip(rows, example.rows):
            shown |= {link: crop.rgb for link, crop in zip(links, row)}
        content |= {link: encode(to_pil(rgb), ".png")[0] for link, rgb in shown.items()}
        pictures.append((example, f"{stem}.png", rows))
    content["index.html"] = page(sections, pictures).encode()
    return content


def check_folder(folder: str | os.PathLike[str], force: bool = False) -> None:
    """Before any work is done: raises OutputError where a report cannot go there.

    That is a file, or a folder that holds anything, unless `force` is given.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError("cannot be written: it is a file, and a report is a folder", folder)
    try:
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise OutputError("not empty: choose another folder, or write into it with --force", folder)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", folder) from error


def write_report(content: dict[str, bytes], folder: str | os.PathLike[str], force: bool = False) -> None:
    """Writes what `render` returned, each file whole or not at all and the page last, so that its links never dangle.

    With `force`, files of the same names are replaced and others left as they are. Raises OutputError.
    """
    check_folder(folder, force)
    for name, data in content.items():
        path = Path(folder, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot be made: {error.strerror}", path.parent) from error
        write_atomically(path, data, force=force)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PqmimError(f"cannot be read: {error.strerror}", path) from error
    except ValueError as error:
        raise PqmimError("not JSON, or damaged", path) from error


def _key(record: Mapping[str, Any]) -> str:
    return str(record["dataset"]).casefold()


def _slug(name: str) -> str:
    """A name of letters, digits and hyphens, whatever a file was called, without its ending."""
    return re.sub(r"[^a-z0-9]+", "-", Path(name).with_suffix("").as_posix().casefold()).strip("-") or "results"

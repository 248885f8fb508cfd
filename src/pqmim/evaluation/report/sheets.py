"""Contact sheets: what codecs make of the same photos at about the same rates, to be looked at."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pqmim.evaluation.codecs import ImageCodec
from pqmim.evaluation.metrics import psnr
from pqmim.evaluation.report.crops import nearest_setting
from pqmim.evaluation.summaries import RATES
from pqmim.image.contact_sheet import Cell, contact_sheet
from pqmim.image.picture import read_picture

SHEETS = 6  # photos, spread over those of a folder


def sheets_of(paths: Sequence[Path], folder: str | os.PathLike[str]) -> dict[Path, Path]:
    """The sheet of each photo that gets one: of up to `SHEETS` all, else some that are spread over them.

    Photos that differ in their endings alone keep these in the names of their sheets.
    """
    if len(paths) > SHEETS:
        paths = [paths[i * (len(paths) - 1) // (SHEETS - 1)] for i in range(SHEETS)]
    stems = Counter(path.stem.casefold() for path in paths)
    names = {path: path.stem if stems[path.stem.casefold()] == 1 else path.name for path in paths}
    return {path: Path(folder, f"{name}.png") for path, name in names.items()}


def write_sheets(
    paths: Sequence[Path], codecs: Sequence[ImageCodec], folder: str | os.PathLike[str], force: bool = False
) -> list[Path]:
    """A PNG for each of a few photos: a row for each of `summaries.RATES`, the photo first, then the codecs in order.

    Each codec has the setting whose file comes nearest to the rate; its bytes and PSNR stand below.

    Args:
        paths: The photos; see `sheets_of` for those that are taken.
        codecs: What makes the pictures.
        folder: Where the sheets go; made where it is not there.
        force: Whether sheets that are there are replaced.

    Returns:
        The paths of the sheets.

    Raises:
        OutputError: A sheet exists without `force`, or cannot be written.
        InvalidImage: A photo cannot be read.
    """
    sheets = sheets_of(paths, folder)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, sheet in sheets.items():
        rgb = read_picture(path).rgb
        rows = []
        for rate in RATES:
            row = [Cell(rgb, f"{path.stem}\nthe photo")]
            for codec in codecs:
                data = nearest_setting(codec, rgb, round(rate * rgb.shape[0] * rgb.shape[1] / 8))
                decoded = codec.decode(data)
                row.append(Cell(decoded, f"{codec.name}\n{len(data):,} bytes, {psnr(rgb, decoded):.2f} dB"))
            rows.append(row)
        contact_sheet(rows, sheet, force=force)
    return list(sheets.values())

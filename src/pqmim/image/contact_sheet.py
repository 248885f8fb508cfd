"""Pictures side by side under their captions."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pqmim.image.picture import to_pil
from pqmim.image.save import save

PAPER, INK, FAINT = "#ffffff", "#1b1b1f", "#6b6b76"


class Cell(NamedTuple):
    """A picture of the sheet.

    Attributes:
        image: or pixels (H, W, 3) uint8.
        caption: its first line is printed strong, further lines faint.
    """

    image: Image.Image | NDArray[np.uint8]
    caption: str


class _Prepared(NamedTuple):
    image: Image.Image
    caption: str


def contact_sheet(
    rows: Sequence[Sequence[Cell | tuple[Image.Image | NDArray[np.uint8], str]]],
    out: str | os.PathLike[str],
    *,
    crop: tuple[int, int, int, int] | None = None,
    zoom: int = 1,
    force: bool = False,
) -> Image.Image:
    """Draws rows of captioned pictures, pixel for pixel, writes them in the format of the name's ending, returns them.

    `crop`: (left, top, right, bottom) of the part to show of every picture; `zoom`: side of the square that shows
    a pixel. Raises ValueError without pictures, OutputError where the file cannot be written.
    """
    if not rows or not all(rows):
        raise ValueError("A contact sheet needs at least one picture in every row.")
    cells = [[_prepared(Cell(*cell), crop, zoom) for cell in row] for row in rows]
    column = max(cell.image.width for row in cells for cell in row)
    text = max(16, column // 22)
    strong, faint = ImageFont.load_default(text), ImageFont.load_default(round(0.82 * text))
    gap, line = text, round(1.5 * text)
    heights = [
        max(cell.image.height for cell in row) + line * max(len(cell.caption.splitlines()) for cell in row) + gap // 2
        for row in cells
    ]
    width = max(map(len, cells)) * (column + gap) + gap
    sheet = Image.new("RGB", (width, sum(heights) + gap * (len(rows) + 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = gap
    for row, height in zip(cells, heights):
        for i, cell in enumerate(row):
            left = gap + i * (column + gap)
            sheet.paste(cell.image, (left, top))
            y = top + max(other.image.height for other in row) + gap // 2
            for number, words in enumerate(cell.caption.splitlines()):
                font, colour = (faint, FAINT) if number else (strong, INK)
                draw.text((left, y + number * line), words, fill=colour, font=font)
        top += height + gap
    save(sheet, out, force=force)
    return sheet


def _prepared(cell: Cell, crop: tuple[int, int, int, int] | None, zoom: int) -> _Prepared:
    image = to_pil(cell.image) if isinstance(cell.image, np.ndarray) else cell.image
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, PAPER), image)
    image = image.convert("RGB")
    if crop is not None:
        image = image.crop(crop)
    size = (image.width * zoom, image.height * zoom)
    return _Prepared(image.resize(size, Image.Resampling.NEAREST), cell.caption)

"""Drawings for training: shapes and words in flat, full colours, such as charts, screens and paper have and photos rarely do."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SHAPES = 3, 24  # of a drawing: the fewest, and one more than the most
FINER = 2  # what smooth edges are drawn larger by


def draw(size: int, seed: int) -> NDArray[np.uint8]:
    """A drawing (size, size, 3), the same for the same seed; half of them have smooth edges, half hard ones."""
    rng = np.random.default_rng(seed)
    scale = FINER if rng.random() < 0.5 else 1
    side = size * scale
    palette = [_colour(rng) for _ in range(rng.integers(2, 9))]
    image = Image.new("RGB", (side, side), palette[0])
    canvas = ImageDraw.Draw(image)
    if rng.random() < 0.3:
        _tiles(canvas, side, palette, rng)
    for _ in range(rng.integers(*SHAPES)):
        _shape(canvas, side, palette[rng.integers(len(palette))], rng)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX) if scale > 1 else image)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A colour, half of the time one of a corner of the cube, or near it."""
    value = rng.integers(256, size=3)
    if rng.random() < 0.5:
        value = rng.integers(2, size=3) * 255 + rng.integers(-40, 41, 3) * int(rng.random() < 0.5)
    red, green, blue = value.clip(0, 255).tolist()
    return red, green, blue


def _tiles(
    canvas: ImageDraw.ImageDraw, side: int, palette: list[tuple[int, int, int]], rng: np.random.Generator
) -> None:
    """A chart of squares, with or without gaps."""
    pitch = int(rng.integers(side // 12, side // 3))
    gap = int(rng.integers(0, pitch // 4))
    for top in range(0, side, pitch):
        for left in range(0, side, pitch):
            colour = palette[rng.integers(len(palette))]
            canvas.rectangle((left, top, left + pitch - gap - 1, top + pitch - gap - 1), fill=colour)


def _shape(canvas: ImageDraw.ImageDraw, side: int, colour: tuple[int, int, int], rng: np.random.Generator) -> None:
    """A rectangle, an ellipse, a polygon, a line or a row of letters."""
    kind = rng.integers(5)
    left, top = rng.integers(-side // 8, side, 2).tolist()
    width, height = (side * rng.uniform(0.02, 0.6, 2) ** 1.5).astype(int).tolist()
    box = (left, top, left + width, top + height)
    if kind == 0:
        canvas.rectangle(box, fill=colour)
    elif kind == 1:
        canvas.ellipse(box, fill=colour)
    elif kind == 2:
        corners = rng.integers(0, side // 2, (int(rng.integers(3, 7)), 2)) + (left - side // 4, top - side // 4)
        canvas.polygon([(int(x), int(y)) for x, y in corners], fill=colour)
    elif kind == 3:
        end = rng.integers(0, side, 2).tolist()
        canvas.line((left, top, *end), fill=colour, width=int(rng.integers(1, max(2, side // 24))))
    else:
        letters = "".join(map(chr, rng.integers(33, 127, int(rng.integers(3, 20)))))
        canvas.text((left, top), letters, fill=colour)

"""Pictures as coloured characters, for terminals without a screen beside them."""

from PIL import Image

RESET = "\x1b[0m"


def drawn(image: Image.Image, columns: int = 80) -> str:
    """Lines of half blocks, two pixels a character, in 24-bit colours.

    Args:
        image: of any mode.
        columns: characters of a line, at most; a picture is not enlarged.
    """
    width = max(1, min(columns, image.width))
    height = max(2, 2 * round(width * image.height / image.width / 2))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    small = image.convert("RGB").resize((width, height), Image.Resampling.BOX)
    data = small.tobytes()
    row = 3 * width
    lines = []
    for top in range(0, height * row, 2 * row):
        places = range(top, top + row, 3)
        cells = [_cell(data[place : place + 3], data[place + row : place + row + 3]) for place in places]
        lines.append("".join(cells) + RESET)
    return "\n".join(lines)


def _cell(above: bytes, below: bytes) -> str:
    upper, lower = (";".join(map(str, colour)) for colour in (above, below))
    return f"\x1b[38;2;{upper};48;2;{lower}m▀"

"""Rate-distortion plots."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

from pqmim.errors import OutputError, PqmimError
from pqmim.evaluation.published import PublishedCurve
from pqmim.evaluation.results import curve
from pqmim.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OWN = "pqmim"
NAMES = {
    "pqmim-fast": "pqmim, effort 0",
    "pqmim-refined": "pqmim, effort 16",
    "jpeg": "JPEG",
    "webp": "WebP",
    "avif": "AVIF",
    "avif-444": "AVIF, speed 2, 4:4:4",
    "jxl": "JPEG XL",
    "hyperprior": "mean-scale hyperprior",
    "vq": "vanilla VQ",
}
COLOURS = {
    OWN: "#d6336c",
    "pqmim-fast": "#f06595",
    "pqmim-refined": "#8a0f3c",
    "jpeg": "#868e96",
    "webp": "#2b8a3e",
    "avif": "#1c7ed6",
    "avif-444": "#1864ab",
    "jxl": "#e8590c",
    "hyperprior": "#7048e8",
    "vq": "#0c8599",
}
TITLES = {
    "psnr": "PSNR over RGB (dB)",
    "ms_ssim": "MS-SSIM over RGB (dB)",
    "squeezenet": "SqueezeNet feature distance (less is closer)",
}
INK, FAINT_INK, FAINT, GRID = "#1b1b1f", "#868e96", "#bdc3ca", "#eceef1"
MARGIN = 0.03  # of the range of qualities, left free above and below the curves
LABEL_GAP = 0.042  # of the plot's height: closer labels are pushed apart


class _Line(NamedTuple):
    label: str
    points: list[tuple[float, float]]  # bpp and quality, in order of bpp
    published: bool
    colour: str


def rd_plot(
    results: Sequence[Mapping[str, Any]],
    out: str | os.PathLike[str],
    published: Mapping[str, PublishedCurve] | None = None,
    *,
    measure: str = "psnr",
    max_bpp: float = 1.2,
    force: bool = False,
) -> None:
    """Writes `draw_rd` to a file; the name's ending, .svg or .png, chooses the format.

    Raises OutputError where it is another, the file exists without `force` or cannot be written, and as `draw_rd` does.
    """
    ending = Path(out).suffix.lower().lstrip(".")
    if ending not in ("svg", "png"):
        raise OutputError("cannot be written: a plot ends in .svg or .png", out)
    try:
        drawn = draw_rd(results, published, measure=measure, max_bpp=max_bpp, format=ending)
    except PqmimError as error:
        raise error.about(out) from None
    write_atomically(out, drawn, force)


def draw_rd(
    results: Sequence[Mapping[str, Any]],
    published: Mapping[str, PublishedCurve] | None = None,
    *,
    measure: str = "psnr",
    max_bpp: float = 1.2,
    format: str = "svg",
) -> bytes:
    """A plot over rate for every codec of one or several results, with published curves as thin dashed lines.

    `measure` is one of `TITLES`, in the units of `results.curve`; codecs without it are left out. Returns the bytes
    of an SVG or PNG file, the same every time. Raises PqmimError where no curve has a point below `max_bpp`.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # no pyplot: the plot has no window and no global state

    lines = [line for line in _lines(results, published or {}, measure) if line.points[0][0] < max_bpp]
    if not lines:
        raise PqmimError(f"nothing to draw: no curve of {measure} begins below {max_bpp} bits a pixel")
    figure = Figure(figsize=(8, 5.2), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    seen = [_until(line.points, max_bpp) for line in lines]
    for line, points in zip(lines, seen):
        if line.published:
            axes.plot(*zip(*points), color=line.colour, linewidth=1, linestyle=(0, (4, 2)))
        else:
            width = 2.6 if line.label == OWN else 1.6
            measured = [i for i, point in enumerate(points) if point in line.points]
            axes.plot(
                *zip(*points),
                color=line.colour,
                linewidth=width,
                zorder=2 + width,
                marker="o",
                markersize=3.5,
                markevery=measured,
            )
    qualities = [quality for points in seen for _, quality in points]
    low, high = min(qualities), max(qualities)
    margin = MARGIN * (high - low) or MARGIN
    axes.set(xlim=(0, max_bpp), ylim=(low - margin, high + margin))
    _label_ends(axes, lines, seen)
    dataset = ", ".join(dict.fromkeys(str(result["dataset"]) for result in results))
    title = f"{dataset[:1].upper()}{dataset[1:]}: {TITLES[measure]}"
    axes.set_title(title, loc="left", color=INK, fontsize=11, pad=12)
    axes.set_xlabel("file size (bits a pixel)", color=INK)
    axes.locator_params(axis="y", integer=measure != "squeezenet")
    axes.tick_params(length=0, colors=INK)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": OWN}):  # the same plot gives the same file
        figure.savefig(buffer, format=format, dpi=160, metadata={"Date": None} if format == "svg" else None)
    return buffer.getvalue()


def _lines(results: Sequence[Mapping[str, Any]], published: Mapping[str, PublishedCurve], measure: str) -> list[_Line]:
    lines = [_Line(name, sorted(zip(*known.points(measure))), True, FAINT) for name, known in published.items()]
    for result in results:
        for name, codec in result["codecs"].items():
            points = list(zip(*curve(codec, measure)))
            lines.append(_Line(NAMES.get(name, name), points, False, COLOURS.get(name, INK)))
    return [line for line in lines if line.points]


def _until(points: list[tuple[float, float]], max_bpp: float) -> list[tuple[float, float]]:
    """The points up to a rate, with the curve's straight continuation to it where it goes on."""
    inside = [point for point in points if point[0] <= max_bpp]
    if len(inside) < len(points):
        (rate, quality), (next_rate, next_quality) = points[len(inside) - 1], points[len(inside)]
        inside.append((max_bpp, quality + (next_quality - quality) * (max_bpp - rate) / (next_rate - rate)))
    return inside


def _label_ends(axes: "Axes", lines: list[_Line], seen: list[list[tuple[float, float]]]) -> None:
    """Names each curve: in the right margin where it comes near it, else above its end."""
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    near = [i for i, points in enumerate(seen) if points[-1][0] > 0.9 * right]
    heights = dict(zip(near, spread_apart([seen[i][-1][1] for i in near], LABEL_GAP * (high - low))))
    for i, (line, points) in enumerate(zip(lines, seen)):
        style: dict[str, Any] = {
            "color": FAINT_INK if line.published else line.colour,
            "fontsize": 8 if line.published else 10,
            "fontweight": "bold" if line.label == OWN else "normal",
            "annotation_clip": False,
            "zorder": 4,
        }
        if i in heights:
            leader: dict[str, Any] = {
                "arrowstyle": "-",
                "color": line.colour,
                "linewidth": 0.5,
                "shrinkA": 2,
                "shrinkB": 1,
            }
            axes.annotate(line.label, points[-1], (1.03 * right, heights[i]), va="center", arrowprops=leader, **style)
        else:
            axes.annotate(line.label, points[-1], (0, 5), textcoords="offset points", ha="center", **style)


def spread_apart(heights: list[float], gap: float) -> list[float]:
    """Heights moved as little as it takes, by least squares, to lie at least `gap` apart in the same order."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    blocks: list[list[float]] = []  # runs that share one shift, each the list of heights less rank times gap
    for rank, i in enumerate(order):
        blocks.append([heights[i] - rank * gap])
        while len(blocks) > 1 and mean(blocks[-2]) >= mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    levels = [mean(block) for block in blocks for _ in block]
    spread = [level + rank * gap for rank, level in enumerate(levels)]
    return [height for _, height in sorted(zip(order, spread))]

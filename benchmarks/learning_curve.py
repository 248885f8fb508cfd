"""How the first weights learned, until `3b6`: held-back photos over the steps of each stage, from the logs of the run.

    python benchmarks/learning_curve.py results/training/default.jsonl --plot docs/learning-curve.svg

Lines say which run they are of: each began from the weights of the one before, the third with the prior alone.  The
transforms are drawn as the rate that they need beyond that of the last evaluation, at equal PSNR (BD-rate over all
rate levels, static tables), one run after the other; the prior as its share of the bits of static frequencies, each
run by itself, since the codes differ.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from pqmim.evaluation.bdrate import bd_rate

COLOURS = ("#1f4e79", "#d6336c", "#2b8a3e")  # of the runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("--plot", type=Path, default=Path("docs/learning-curve.svg"), metavar="FILE")
    args = parser.parse_args()
    lines = [json.loads(line) for line in args.log.read_text(encoding="utf-8").splitlines()]

    plt.rcParams["svg.hashsalt"] = "pqmim"  # the same figure for the same log
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    found = [line for line in lines if line["stage"] == "transforms" and "held_back/psnr_0" in line]
    excess = [bd_rate(curve(found[-1]), curve(line)) for line in found]
    first = max(line["step"] for line in found if line["run"] == 1)
    steps = [line["step"] + first * (line["run"] - 1) for line in found]
    left.plot(steps, excess, marker="o", markersize=3, color=COLOURS[0])
    left.axvline(first, color="#bbbbbb", linewidth=0.8)
    left.set(xlabel="steps of the transforms", ylabel="rate beyond the last, %", title="Transforms, scalar proxy")
    for run, colour in enumerate(COLOURS, 1):
        shares = [
            (line["step"], 100 * line["held_back/share_of_static"])
            for line in lines
            if line["run"] == run and "held_back/share_of_static" in line
        ]
        right.plot(*zip(*shares), marker="o", markersize=3, color=colour, label=f"run {run}")
    right.legend(frameon=False)
    right.set(xlabel="steps of the prior", ylabel="share of static bits, %", title="Masked prior")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(args.plot, metadata={"Date": None} if args.plot.suffix == ".svg" else None)


def curve(line: dict) -> tuple[list[float], list[float]]:
    """Rates and PSNRs of an evaluation's levels, lowest rate first."""
    levels = sorted(int(key.rsplit("_", 1)[1]) for key in line if key.startswith("held_back/psnr_"))
    points = sorted((line[f"held_back/bpp_{level}"], line[f"held_back/psnr_{level}"]) for level in levels)
    return [bpp for bpp, _ in points], [psnr for _, psnr in points]


if __name__ == "__main__":
    main()

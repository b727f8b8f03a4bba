"""Draw what inference.py printed as bars: how many times faster than MONAI each way was.

usage: python benchmarks/inference.py > RESULTS
       python benchmarks/speed_chart.py RESULTS [RESULTS ...] PICTURE.svg
"""

import argparse
import json
from pathlib import Path

from matplotlib import pyplot as plt

YARDSTICK = "times MONAI"
OURS, OTHERS = "#1b6ca8", "#b0b0b0"


def read(path):
    """Return a title and the records of each comparison in a file."""
    comparisons = []
    for line in path.read_text().splitlines():
        if ", image " in line:
            comparisons.append((line.rsplit(",", 1)[0], []))
        elif line.startswith("{"):
            comparisons[-1][1].append(json.loads(line))
    return [(title, [r for r in records if YARDSTICK in r]) for title, records in comparisons]


def draw(comparisons, path):
    plt.switch_backend("svg")
    plt.rcParams["svg.fonttype"] = "none"
    heights = [len(records) for _, records in comparisons]
    figure, panels = plt.subplots(
        len(comparisons),
        figsize=(8, 0.32 * sum(heights) + 0.9 * len(heights)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for axes, (title, records) in zip(panels[:, 0], comparisons, strict=True):
        records = sorted(records, key=lambda r: r[YARDSTICK])
        colours = [OURS if r["way"].startswith("ours") else OTHERS for r in records]
        bars = axes.barh(
            [r["way"] for r in records], [r[YARDSTICK] for r in records], color=colours
        )
        axes.bar_label(
            bars, [f"{r[YARDSTICK]:.1f}  ({r['seconds']:.1f} s)" for r in records], padding=3
        )
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("times faster than MONAI in its default layout")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.2)
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    comparisons = [found for path in arguments.results for found in read(path)]
    draw(comparisons, arguments.picture)


if __name__ == "__main__":
    main()

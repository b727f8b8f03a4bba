"""Draw the pictures of docs/metrics.md; every number in them is computed by the package.

    python docs/make_metric_figures.py

Writes SVG files to docs/images; needs nothing but napari-segzoo.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_segzoo.metrics import LEGENDS, error_overlay, evaluate, soft_scores

FOLDER = Path(__file__).parent / "images"
CELL = 9
GAP = 26
LINE = 17
INK = "#333333"


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> Any:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= (radius + 0.4) ** 2


def panel(codes: Any, colours: Mapping[int, str], lines: list[str], left: float) -> str:
    """Draw one grid of voxels with lines of text below it; `left` is where it begins."""
    rows, columns = codes.shape
    parts = [
        f'<rect x="{left}" y="0" width="{columns * CELL}" height="{rows * CELL}" '
        f'fill="#ffffff" stroke="#bbbbbb"/>'
    ]
    for y, x in zip(*np.nonzero(codes), strict=True):
        parts.append(
            f'<rect x="{left + x * CELL}" y="{y * CELL}" width="{CELL}" height="{CELL}" '
            f'fill="{colours[int(codes[y, x])]}" stroke="#ffffff" stroke-width="0.5"/>'
        )
    parts += [
        text(line, left, rows * CELL + LINE * (n + 1), bold=n == 0) for n, line in enumerate(lines)
    ]
    return "\n".join(parts)


def text(words: str, x: float, y: float, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{INK}"{weight}>{words}</text>'


def legend(task: str, y: float) -> str:
    parts = []
    x = 0.0
    for entry in LEGENDS[task].values():
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{entry.colour}"/>')
        parts.append(text(entry.name, x + 17, y + 11))
        x += 34 + 8 * len(entry.name)
    return "\n".join(parts)


def write(name: str, body: str, width: float, height: float) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {width + 16:g} {height + 16:g}" '
        f'width="{width + 16:g}" font-family="sans-serif" font-size="13">\n'
        f'<rect x="-8" y="-8" width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n',
        encoding="utf-8",
    )


def draw(name: str, task: str, cases: list[tuple[str, Any, Any, list[str]]]) -> None:
    """Draw pairs side by side as error overlays, each with the scores asked for below."""
    colours = {code: entry.colour for code, entry in LEGENDS[task].items()}
    left, body = 0.0, []
    for title, reference, prediction, metrics in cases:
        report = evaluate(reference, prediction, task=task)
        if "cl_dice" in metrics:
            report = evaluate(reference, prediction, centreline=True)
        lines = [title, *(f"{m} {number(report[m]):.2f}" for m in metrics)]
        body.append(panel(error_overlay(reference, prediction, task=task), colours, lines, left))
        left += max(reference.shape[1] * CELL, 8 * len(title)) + GAP
    height = max(c[1].shape[0] * CELL + LINE * (len(c[3]) + 1) for c in cases) + 14
    write(name, "\n".join([*body, legend(task, height)]), left - GAP, height + 14)


def number(score: Any) -> float:
    """Take class 1, or the first threshold, of a score that has several."""
    return score if isinstance(score, int | float) else score.get("1", next(iter(score.values())))


def overlap() -> None:
    shape = (22, 22)
    truth = disc(shape, (11, 11), 7).astype(int)
    metrics = ["dice", "iou", "precision", "recall", "volume_similarity"]
    draw(
        "metrics_overlap",
        "semantic",
        [
            ("too large", truth, disc(shape, (11, 11), 9).astype(int), metrics),
            ("too small", truth, disc(shape, (11, 11), 5).astype(int), metrics),
            ("beside it", truth, disc(shape, (11, 14), 7).astype(int), metrics),
            ("nothing", truth, np.zeros(shape, int), metrics[:2] + metrics[3:]),
        ],
    )


def surface() -> None:
    shape = (30, 30)
    truth = disc(shape, (14, 14), 9).astype(int)
    speck = truth.copy()
    speck[27, 27] = 1
    small = disc((30, 30), (14, 14), 3).astype(int)
    metrics = ["dice", "hd", "hd95", "assd", "nsd"]
    draw(
        "metrics_surface",
        "semantic",
        [
            ("one voxel off", truth, np.roll(truth, 1, axis=1), metrics),
            ("a speck far away", truth, speck, metrics),
            ("small, one voxel off", small, np.roll(small, 1, axis=1), metrics),
            ("four voxels off", truth, np.roll(truth, 4, axis=1), metrics),
        ],
    )


def centreline() -> None:
    tube, thin, cut = np.zeros((3, 18, 34), int)
    tube[7:12, 2:32] = 1
    thin[8:11, 2:32] = 1
    cut[7:12, 2:32] = 1
    cut[:, 12:22] = 0
    metrics = ["cl_dice", "dice"]
    draw(
        "metrics_centreline",
        "semantic",
        [("thinner", tube, thin, metrics), ("interrupted", tube, cut, metrics)],
    )


def instances() -> None:
    shape = (26, 70)
    reference, prediction = np.zeros((2, *shape), int)
    for label, x in enumerate((8, 22, 35, 45, 57), 1):
        reference[disc(shape, (12, x), 6 if label in (1, 2, 5) else 5)] = label
    prediction[disc(shape, (12.5, 8.5), 6)] = 1
    prediction[(reference == 2) & (np.arange(shape[1]) < 21)] = 2
    prediction[(reference == 2) & (np.arange(shape[1]) >= 21)] = 3
    prediction[(reference == 3) | (reference == 4)] = 4
    prediction[disc(shape, (20, 65), 3)] = 6
    metrics = ["ap", "f1", "panoptic_quality", "aji", "seg"]
    title = "matched, split, merged, missed, false"
    draw("metrics_instances", "instances", [(title, reference, prediction, metrics)])


def calibration() -> None:
    """Draw the calibration curves of an honest and of an overconfident prediction."""
    random = np.random.default_rng(0)
    honest = random.beta(1, 1, 200_000)
    truth = (random.random(honest.size) < honest).astype(np.uint8)
    bold = honest**3 / (honest**3 + (1 - honest) ** 3)
    side = 220.0
    body = [
        f'<rect x="0" y="0" width="{side}" height="{side}" fill="none" stroke="#bbbbbb"/>',
        f'<line x1="0" y1="{side}" x2="{side}" y2="0" stroke="#bbbbbb" stroke-dasharray="4"/>',
        text("confidence 0.5 to 1, accuracy 0.5 to 1", 0, side + LINE),
    ]
    for n, (name, chance, colour) in enumerate(
        [("honest", honest, "#009e73"), ("overconfident", bold, "#d55e00")]
    ):
        scores = soft_scores(truth, chance)
        points = [
            f"{(c - 0.5) * 2 * side:.1f},{side - (a - 0.5) * 2 * side:.1f}"
            for c, a, v in zip(scores.confidence, scores.accuracy, scores.voxels, strict=True)
            if v
        ]
        body.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            'stroke-width="2.5"/>'
        )
        words = (
            f"{name}: calibration error {scores.calibration_error:.2f}, "
            f"Brier {scores.brier:.2f}, cross-entropy {scores.cross_entropy:.2f}"
        )
        y = side + LINE * (n + 2)
        body.append(f'<rect x="0" y="{y - 11}" width="12" height="12" fill="{colour}"/>')
        body.append(text(words, 17, y))
    write("metrics_calibration", "\n".join(body), 500, side + LINE * 3)


if __name__ == "__main__":
    for figure in (overlap, surface, centreline, instances, calibration):
        figure()

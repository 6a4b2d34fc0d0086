"""Pictures of numbers, in one plain style: bars, curves, a reliability diagram; and a picture as inline SVG.

Nothing here touches pyplot: a figure belongs to its caller and goes when it is dropped.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qa_lightning.runs.analysis import Group
from qa_lightning.runs.comparison import Difference
from qa_lightning.scoring.calibration import Reliability
from qa_lightning.utils.arrays import FloatArray
from qa_lightning.utils.html import PALETTE

_COLORS = {f"--{name}": PALETTE[name][0] for name in ("ink", "muted", "line", "accent", "accent-soft", "surface")}
INK, MUTED, LINE, ACCENT, SOFT, SURFACE = _COLORS.values()
"""Text, lesser text, lines, the accent and its tint, and the ground; each gives way to a colour of the style sheet."""

WIDTH = 4.1
"""Inches. On a phone, a point of a picture is about 1.1 pixels: text of 11 points has 12 there."""

_INTERVAL = "95 % of F1"
_MOST_POINTS = 500
_LONGEST_LABEL = 16
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a diagram.

    Attributes:
        label: What the legend calls it.
        x: ``[points]``.
        y: ``[points]``.
        color: One of the colours above.
        dashes: matplotlib's line style, which distinguishes lines without colour.
        steps: matplotlib's ``steps-pre`` or ``steps-post`` for a curve that jumps.
        marker: matplotlib's marker of each point.
    """

    label: str
    x: FloatArray
    y: FloatArray
    color: str = ACCENT
    dashes: str = "-"
    steps: Any = "default"
    marker: str = ""


def bar_chart(groups: Sequence[Group]) -> Figure:
    """A bar for each group, EM within F1 with its interval, with F1 and the number of questions beside it."""
    with style():
        figure = Figure(figsize=(WIDTH, 0.85 + 0.27 * len(groups)), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(groups))
        axes.barh(rows, [group.f1 for group in groups], height=0.62, color=SOFT, label="F1")
        axes.barh(rows, [group.exact_match for group in groups], height=0.62, color=ACCENT, label="EM")
        _whiskers(axes, groups)
        axes.set_yticks(rows, [_short(group.label) for group in groups], color=INK)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xticks([0, 50, 100])
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        f1s = [f"{group.f1:.1f}" if group.count else "–" for group in groups]
        counts = [f"{group.count:,}" for group in groups]
        _column(axes, 38, "F1", f1s, INK)
        _column(axes, 45 + 7 * max(map(len, counts)), "n", counts, MUTED)
        figure.legend(
            *_in_order(axes, "EM", "F1", _INTERVAL), loc="outside upper left", ncols=3, handlelength=1.0, borderpad=0
        )
    return figure


def difference_chart(differences: Mapping[str, Difference]) -> Figure:
    """A dot for how much each score differs, on its interval, beside an upright line where nothing does."""
    with style():
        figure = Figure(figsize=(WIDTH, 0.7 + 0.3 * len(differences)), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(differences))
        means = np.array([difference.difference for difference in differences.values()])
        low, high = np.array([difference.interval for difference in differences.values()]).T
        reach = np.maximum([means - low, high - means], 0)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.errorbar(means, rows, xerr=reach, fmt="o", color=ACCENT, ecolor=ACCENT, capsize=3)
        axes.set_yticks(rows, list(differences), color=INK)
        axes.set_ylim(len(differences) - 0.5, -0.5)
        axes.set_xlabel("worse in B  ←  B − A  →  better in B")
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
        reach_of_axis = max(abs(low).max(), abs(high).max(), 0.5) * 1.08
        axes.set_xlim(-reach_of_axis, reach_of_axis)
    return figure


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    marks: Sequence[tuple[float, str, str]] = (),
    percent: bool = False,
) -> Figure:
    """Curves, with upright lines at some places.

    Args:
        lines: The curves.
        x_label: What runs to the right.
        y_label: What runs upwards.
        marks: Where upright lines stand, the names of these in the legend, and their line styles.
        percent: Whether the curves run from 0 to 100.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        axes = figure.subplots()
        for line in lines:
            x, y = _thinned(line)
            axes.plot(x, y, line.dashes, color=line.color, drawstyle=line.steps, marker=line.marker, label=line.label)
        for place, name, dashes in marks:
            axes.axvline(place, color=MUTED, linewidth=1, linestyle=dashes, label=name)
        if percent:
            axes.set_ylim(0, 102)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.margins(x=0.02)
        axes.tick_params(length=0)
        axes.locator_params(axis="x", nbins=6)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, borderpad=0)
    return figure


def reliability_diagram(reliability: Reliability) -> Figure:
    """Accuracy over confidence, bin by bin, and below it how many answers each bin holds."""
    with style():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        widths = 100 * np.diff(reliability.edges)
        middles, drawn = 100 * reliability.edges[:-1] + widths / 2, 0.92 * widths
        upper.bar(middles, 100 * reliability.accuracy, width=drawn, color=SOFT, label="exactly right")
        upper.plot([0, 100], [0, 100], "--", color=MUTED, linewidth=1, label="perfectly calibrated")
        upper.plot(100 * reliability.confidence, 100 * reliability.accuracy, "o", color=ACCENT, label="mean of a bin")
        upper.set_ylim(0, 102)
        upper.set_ylabel("right (%)")
        lower.bar(middles, reliability.counts, width=drawn, color=SOFT)
        lower.set_ylabel("answers")
        lower.set_xlabel("probability of the predicted answer (%)")
        lower.set_xlim(0, 100)
        lower.yaxis.set_major_formatter("{x:,.0f}")
        lower.locator_params(axis="y", nbins=3, integer=True)
        for axes in (upper, lower):
            axes.tick_params(length=0)
        figure.legend(*upper.get_legend_handles_labels(), loc="outside upper left", ncols=2, borderpad=0)
    return figure


def signed(value: float) -> str:
    """A number with two decimals and, where it is negative, the sign that matplotlib writes."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def to_svg(figure: Figure, name: str) -> str:
    """A figure as an ``svg`` element for a page of HTML: the same for the same figure, with text as text.

    Colours and the font become those of the page's style sheet.

    Args:
        figure: What to draw.
        name: Makes the ids within this picture differ from those of the page's other pictures.
    """
    stream = io.StringIO()
    unwanted = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with style(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # The browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(stream, format="svg", transparent=True, metadata=unwanted)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'font: ([\d.]+px) [^;"]*', r"font-size: \1", svg)
    for variable, color in _COLORS.items():
        svg = svg.replace(color, f"var({variable})")
    return re.sub(r"\s*\n\s*", "\n", svg)


def style() -> AbstractContextManager[None]:
    """The style of all pictures, for as long as one is drawn."""
    return mpl.rc_context(_STYLE)


def _column(axes: Axes, right: int, name: str, cells: Sequence[str], color: str) -> None:
    """A column of text beside the rows of a chart, which ends so many points right of it."""
    to_the_right: dict[str, Any] = {
        "xycoords": axes.get_yaxis_transform(),
        "xytext": (right, 0),
        "textcoords": "offset points",
        "ha": "right",
    }
    axes.annotate(name, (1, -0.75), va="bottom", color=MUTED, **to_the_right)
    for row, cell in enumerate(cells):
        axes.annotate(cell, (1, row), va="center", color=color, **to_the_right)


def _whiskers(axes: Axes, groups: Sequence[Group]) -> None:
    """A line from end to end of each interval of F1."""
    known = [(row, group.f1, *group.f1_interval) for row, group in enumerate(groups) if group.f1_interval]
    if known:
        rows, f1, low, high = np.array(known).T
        reach = np.maximum([f1 - low, high - f1], 0)
        bars = axes.errorbar(f1, rows, xerr=reach, fmt="none", ecolor=INK, elinewidth=1, capsize=2.5, label=_INTERVAL)
        for part in bars.lines[1]:
            part.set_clip_on(False)


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"


def _in_order(axes: Axes, *labels: str) -> tuple[list[Any], list[str]]:
    """What is in the legend, in this order, as far as it is in the chart."""
    found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    kept = [label for label in labels if label in found]
    return [found[label] for label in kept], kept


def _thinned(line: Line) -> tuple[FloatArray, FloatArray]:
    """No more points than can be seen apart, among them the first, the last and the highest."""
    if len(line.x) <= _MOST_POINTS:
        return line.x, line.y
    kept = np.linspace(0, len(line.x) - 1, _MOST_POINTS).astype(np.int64)
    kept = np.union1d(kept, [line.y.argmax()])
    return line.x[kept], line.y[kept]

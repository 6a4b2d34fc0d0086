"""Pictures of experiments: how scores spread over runs, and how they grow with data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qa_lightning.report.drawing import ACCENT, INK, MUTED, SOFT, WIDTH, style
from qa_lightning.runs.spread import Spread
from qa_lightning.utils.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class LearningPoint:
    """A point of a learning curve.

    Attributes:
        size: How many questions were trained on.
        mean: The mean score.
        interval: Its 95 % interval.
        runs: The score of each run.
    """

    size: float
    mean: float
    interval: tuple[float, float]
    runs: tuple[float, ...]


def spread_chart(spreads: Mapping[str, Spread], each: str = "a seed", mean: str = "mean") -> Figure:
    """A dot for each run's score, and below them the mean on its interval, a row for each score.

    Args:
        spreads: The scores by name.
        each: What the legend calls a dot.
        mean: What it calls the mean.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * len(spreads)), layout="constrained")
        axes = figure.subplots()
        for row, spread in enumerate(spreads.values()):
            axes.plot(spread.runs, np.full(len(spread.runs), row - 0.14), "o", color=MUTED, alpha=0.7)
            low, high = spread.interval or spread.over_questions
            axes.hlines(row + 0.14, low, high, color=ACCENT)
            axes.plot([spread.mean], [row + 0.14], "D", color=ACCENT)
        axes.plot([], [], "o", color=MUTED, alpha=0.7, label=each)
        axes.plot([], [], "-D", color=ACCENT, label=f"{mean}, 95 % interval")
        axes.set_yticks(np.arange(len(spreads)), list(spreads), color=INK)
        axes.set_ylim(len(spreads) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, borderpad=0)
    return figure


def learning_curve_chart(
    points: Sequence[LearningPoint], law: Callable[[FloatArray], FloatArray] | None, until: float, y_label: str
) -> Figure:
    """Scores over the number of training questions, on a logarithmic axis, with their intervals as a band.

    Args:
        points: The points, by ascending sizes.
        law: A curve through them, by sizes; None: there is none.
        until: The size until which it is drawn.
        y_label: What the score is called.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        axes = figure.subplots()
        sizes = np.array([point.size for point in points])
        low, high = np.array([point.interval for point in points]).T
        axes.fill_between(sizes, low, high, color=SOFT, alpha=0.6, linewidth=0, label="95 % interval")
        for point in points:
            axes.plot(np.full(len(point.runs), point.size), point.runs, "o", color=MUTED, alpha=0.7)
        axes.plot(sizes, [point.mean for point in points], "-D", color=ACCENT, label="mean")
        if law is not None:
            curve = np.geomspace(sizes[0], until, 60)
            axes.plot(curve, law(curve), "--", color=INK, label="power law")
        axes.set_xscale("log")
        shown = _apart(sizes, until)
        axes.set_xticks(shown, [f"{size:,.0f}" for size in shown])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("training questions")
        axes.set_ylabel(y_label)
        axes.tick_params(length=0)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, borderpad=0)
    return figure


def _apart(sizes: FloatArray, until: float) -> list[float]:
    """The sizes whose labels have room on an axis that ends at a size: the largest, and of the others those apart."""
    room = 0.16 * np.log(until / sizes[0])
    shown: list[float] = []
    for size in sizes[::-1].tolist():
        if not shown or np.log(shown[-1] / size) >= room:
            shown.append(size)
    return shown[::-1]

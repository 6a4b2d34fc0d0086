"""Pictures of experiments: how scores spread over runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from qa_lightning.report.drawing import ACCENT, INK, MUTED, WIDTH, style
from qa_lightning.runs.spread import Spread


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

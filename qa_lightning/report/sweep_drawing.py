"""Pictures of sweeps: the best so far, all trials over all parameters, and what each parameter does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qa_lightning.report.drawing import ACCENT, INK, LINE, MUTED, SOFT, SURFACE, WIDTH, style
from qa_lightning.utils.arrays import FloatArray

_LONGEST = 30


@dataclass(frozen=True)
class Scale:
    """Where trials lie on a line from 0 to 1.

    Attributes:
        name: What is measured.
        places: ``[trials]``; not a number where a trial has none.
        ticks: Places, and what stands there.
    """

    name: str
    places: FloatArray
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Trials:
    """What pictures show of trials that have a value.

    Attributes:
        values: ``[trials]``: the best value of each.
        ended: ``[trials]``, true where a trial came to its end, rather than being stopped.
        best: The place of the best one.
        label: What the values are called.
        maximize: Whether more is better.
    """

    values: FloatArray
    ended: np.ndarray
    best: int
    label: str
    maximize: bool


def number_scale(name: str, values: FloatArray, *, logarithmic: bool = False) -> Scale:
    """A line over numbers, from the least to the greatest, or over their logarithms."""
    known = values[np.isfinite(values)]
    logarithmic = logarithmic and len(known) > 0 and known.min() > 0
    line = np.log(values) if logarithmic else values
    low, high = (np.nanmin(line), np.nanmax(line)) if len(known) else (0.0, 0.0)
    if low == high:
        text = [(0.5, f"{known[0]:.3g}")] if len(known) else []
        return Scale(name, np.where(np.isfinite(values), 0.5, np.nan), text)
    places = (line - low) / (high - low)
    marks = [low, (low + high) / 2, high]
    if not logarithmic and np.all(known == np.round(known)):
        marks = sorted({low, float(np.round((low + high) / 2)), high})
    shown = np.exp(marks) if logarithmic else np.array(marks)
    return Scale(
        name,
        places,
        [(float((mark - low) / (high - low)), f"{value:.3g}") for mark, value in zip(marks, shown, strict=True)],
    )


def choice_scale(name: str, labels: Sequence[str], order: Sequence[str]) -> Scale:
    """A line over choices in their order."""
    step = 1 / max(len(order) - 1, 1)
    place = {label: (number * step if len(order) > 1 else 0.5) for number, label in enumerate(order)}
    every = -(-len(order) // 6)  # no more than can be read beside each other
    return Scale(
        name,
        np.array([place.get(label, np.nan) for label in labels], dtype=np.float64),
        [(place[label], _short(label, 12)) for label in list(order)[::every]],
    )


def progress_chart(trials: Trials, times: FloatArray, unit: str) -> Figure:
    """Each trial's value at the time of its end, and the best so far of those that came to theirs.

    Args:
        trials: The trials.
        times: ``[trials]``: when each ended, ascending.
        unit: Of the times.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        axes = figure.subplots()
        stopped = ~trials.ended
        if stopped.any():
            axes.plot(times[stopped], trials.values[stopped], "o", color=MUTED, fillstyle="none", label="stopped")
        axes.plot(times[trials.ended], trials.values[trials.ended], "o", color=ACCENT, label="a trial")
        best = (np.maximum if trials.maximize else np.minimum).accumulate(trials.values[trials.ended])
        if len(best):
            x, y = np.append(times[trials.ended], times[-1]), np.append(best, best[-1])
            axes.plot(x, y, color=INK, drawstyle="steps-post", label="best so far")
        axes.set_xlabel(f"{unit} since the first trial began")
        axes.set_ylabel(_short(trials.label, 20))
        axes.tick_params(length=0)
        axes.locator_params(axis="x", nbins=6)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, borderpad=0)
    return figure


def parallel_chart(trials: Trials, scales: Sequence[Scale]) -> Figure:
    """Every trial as a line from scale to scale, downwards; the last scale is the objective's."""
    with style():
        figure = Figure(figsize=(WIDTH, 0.7 + 0.85 * len(scales)), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(scales))
        places = np.array([scale.places for scale in scales])
        order = np.argsort(trials.values if trials.maximize else -trials.values)
        good = set(order[-max(len(order) // 4, 1) :].tolist())
        for trial in order.tolist():
            color, width = (ACCENT, 1.4) if trial in good else (MUTED, 0.6)
            dashes = "-" if trials.ended[trial] else ":"
            axes.plot(places[:, trial], rows, dashes, color=INK if trial == trials.best else color, linewidth=width)
        axes.plot(places[:, trials.best], rows, "o-", color=INK, linewidth=2, label="the best")
        axes.plot([], [], color=ACCENT, label="best quarter")
        axes.plot([], [], color=MUTED, linewidth=0.6, label="others")
        for row, scale in enumerate(scales):
            axes.axhline(row, color=LINE, linewidth=1, zorder=0)
            _label(axes, (0, row), _short(scale.name, _LONGEST), 4, INK)
            for place, text in scale.ticks:
                _label(axes, (place, row), text, -4, MUTED)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(len(scales) - 0.55, -0.45)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, borderpad=0)
    return figure


def importance_chart(names: Sequence[str], shares: FloatArray, intervals: FloatArray) -> Figure:
    """A bar for each parameter's importance, with its interval.

    Args:
        names: The parameters.
        shares: ``[parameters]``, 0 to 1.
        intervals: ``[parameters, 2]``.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 0.7 + 0.52 * len(names)), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(names))
        axes.barh(rows, 100 * shares, height=0.4, color=SOFT)
        reach = 100 * np.maximum([shares - intervals[:, 0], intervals[:, 1] - shares], 0)
        axes.errorbar(100 * shares, rows, xerr=reach, fmt="o", color=ACCENT, ecolor=ACCENT, capsize=3)
        for row, name in enumerate(names):
            axes.annotate(_short(name, _LONGEST), (0, row - 0.27), va="bottom", color=INK)
        axes.set_yticks([])
        axes.set_ylim(len(names) - 0.6, -0.75)
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of what all parameters make")
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def slice_chart(trials: Trials, scale: Scale) -> Figure:
    """Each trial's value over one parameter."""
    with style():
        figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
        axes = figure.subplots()
        stopped = ~trials.ended
        if stopped.any():
            axes.plot(
                scale.places[stopped], trials.values[stopped], "o", color=MUTED, fillstyle="none", label="stopped"
            )
        axes.plot(scale.places[trials.ended], trials.values[trials.ended], "o", color=ACCENT, label="a trial")
        axes.plot([scale.places[trials.best]], [trials.values[trials.best]], "D", color=INK, label="the best")
        axes.set_xticks([place for place, _ in scale.ticks], [text for _, text in scale.ticks])
        axes.set_xlim(-0.06, 1.06)
        axes.set_xlabel(_short(scale.name, _LONGEST))
        axes.set_ylabel(_short(trials.label, 20))
        axes.tick_params(length=0)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, borderpad=0)
    return figure


def _label(axes: Axes, place: tuple[float, float], text: str, points: float, color: str) -> None:
    """A text so many points above a place, or below it, on a ground of its own, since lines run behind it."""
    side: Any = "left" if place[0] < 0.05 else "right" if place[0] > 0.95 else "center"
    axes.annotate(
        text,
        place,
        xytext=(0, points),
        textcoords="offset points",
        ha=side,
        va="bottom" if points > 0 else "top",
        color=color,
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
    )


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"

"""Names and parses the figures in ``metrics.json``: scores, their intervals and their null thresholds.

A name is ``STAGE/SET/FIGURE``, without ``SET/`` where there is one evaluation set only: ``val/f1``,
``test/en/HasAns_exact``. Beside a figure may stand its 95 % interval, ``val/f1_ci95``, and the null threshold that
gives it, ``val/best_f1_thresh``; ``val/null_score_diff_threshold`` is the one in use. ``epoch`` and ``step`` have no
stage. Scores are on a scale of 0 to 100. Of several sets there are means besides, each set counting as much as any
other: ``val/mean_f1``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qa_lightning.scoring.thresholds import is_best_threshold

HAS_ANSWER = "HasAns_"
NO_ANSWER = "NoAns_"
BEST = "best_"
"""Prefixes of figures over the answerable or the unanswerable questions, or at the best threshold."""

MEAN = "mean_"
"""Prefix of a mean over evaluation sets; the name has no set, so that one may be called ``mean``."""

INTERVAL = "_ci95"
THRESHOLD = "_thresh"
"""Suffixes of the interval and of the threshold of a figure."""

THRESHOLD_IN_USE = "null_score_diff_threshold"
PROGRESS = ("epoch", "step")

_OF_ALL_SETS = ("exact_match", "f1")
_COUNTS = ("total", "missing", *PROGRESS)
_WITHOUT_THRESHOLD = (*_COUNTS, "loss")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its interval and threshold.

    Attributes:
        name: Its name, with or without stage and evaluation set.
        value: The figure.
        interval: The lower and the upper end of its 95 % interval; None where there is none.
        threshold: The null threshold that it was taken at; None where none plays a part.
        tuned: Whether that threshold is the best one for the very questions that were scored.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    threshold: float | None = None
    tuned: bool = False

    @property
    def is_count(self) -> bool:
        """Whether it counts something, rather than being a score."""
        return is_count(self.name)

    def text(self) -> str:
        """Formats the value for people: ``12,345`` or ``81.25``."""
        return f"{self.value:,.0f}" if self.is_count else f"{self.value:.2f}"

    def interval_text(self) -> str:
        """Formats the interval for people: ``79.10 – 83.40``; empty where there is none."""
        return "" if self.interval is None else " – ".join(f"{limit:.2f}" for limit in self.interval)


def name_metrics(
    stage: str, evaluation_set: str, scores: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """Names figures and their intervals as ``metrics.json`` has them.

    Args:
        stage: ``val`` or ``test``.
        evaluation_set: The name of the set; empty where there is one only.
        scores: Figures by plain name.
        intervals: The 95 % intervals of some of them, by the same names.
    """
    values: dict[str, Any] = {**scores, **{f"{name}{INTERVAL}": list(limits) for name, limits in intervals.items()}}
    return {"/".join(filter(None, (stage, evaluation_set, name))): value for name, value in values.items()}


def mean_over_sets(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Means of EM and F1 over evaluation sets; empty where there is one set only, or one lacks the score.

    Args:
        scores: The figures of each set, by plain name.
    """
    if len(scores) < 2:
        return {}
    known = [name for name in _OF_ALL_SETS if all(name in of_set for of_set in scores.values())]
    return {f"{MEAN}{name}": sum(of_set[name] for of_set in scores.values()) / len(scores) for name in known}


def read_figures(metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """Reads figures, each with its interval and threshold.

    Args:
        metrics: What `name_metrics` made, or the same by plain names.

    Returns:
        The figures by name, in the order of ``metrics``.
    """
    return {name: _read_figure(name, metrics) for name in metrics if not is_interval(name) and not is_threshold(name)}


def read_thresholds(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Reads the names and values of the thresholds that are best for a figure."""
    return ((name, value) for name, value in metrics.items() if name.endswith(THRESHOLD))


def is_interval(name: str) -> bool:
    """Whether a name is that of an interval."""
    return name.endswith(INTERVAL)


def is_threshold(name: str) -> bool:
    """Whether a name is that of a threshold."""
    return name.endswith((THRESHOLD, THRESHOLD_IN_USE))


def is_count(name: str) -> bool:
    """Whether a name is that of a count."""
    return name.endswith(_COUNTS)


def _read_figure(name: str, metrics: Mapping[str, Any]) -> Figure:
    prefix, slash, plain = name.rpartition("/")
    of_set = f"{prefix}{slash}"
    limits = metrics.get(name + INTERVAL)
    threshold = metrics.get(name + THRESHOLD)
    if threshold is None and not plain.startswith(BEST):
        threshold = metrics.get(of_set + THRESHOLD_IN_USE)
    if name.endswith(_WITHOUT_THRESHOLD):
        threshold = None
    # The threshold in use may have been tuned before, on the same questions.
    best = [metrics[key] for key in (name + THRESHOLD, f"{of_set}{BEST}f1{THRESHOLD}") if key in metrics]
    return Figure(
        name,
        metrics[name],
        None if limits is None else (limits[0], limits[1]),
        threshold,
        threshold is not None and any(is_best_threshold(threshold, value) for value in best),
    )

"""What the trainings of a learning curve come to."""

from __future__ import annotations

from dataclasses import dataclass

from qa_lightning.experiments.power_law import Forecast
from qa_lightning.runs.spread import Spread

SCORES = ("f1", "exact_match")
"""The scores that are drawn and extrapolated."""


@dataclass(frozen=True)
class Point:
    """A share of the data.

    Attributes:
        fraction: The share that was asked for.
        questions: How many questions were trained on, the mean over seeds.
        scores: Each score's spread over seeds.
    """

    fraction: float
    questions: float
    scores: dict[str, Spread]


@dataclass(frozen=True)
class LearningCurve:
    """What the trainings come to.

    Attributes:
        points: The shares, ascending.
        forecasts: What twice the data would bring, by the score's name.
        seeds: How many seeds each share was trained with.
        validated: How many questions were scored.
    """

    points: list[Point]
    forecasts: dict[str, Forecast]
    seeds: int
    validated: int

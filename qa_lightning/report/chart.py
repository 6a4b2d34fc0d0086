"""A picture and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from qa_lightning.runs.analysis import Group


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and what is said of it.

    Attributes:
        name: Its key: ``question_type``.
        part: The part of the page where it stands: ``learning``, ``groups`` or ``confidence``.
        title: Its heading.
        note: What to know in order to read it.
        words: Its numbers in words, for those who cannot see it.
        figure: The picture.
        groups: The groups that it shows, where it shows groups.
    """

    name: str
    part: str
    title: str
    note: str
    words: str
    figure: Figure
    groups: Sequence[Group] = ()

"""Histograms of lengths, as the page of ``inspect`` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qa_lightning.inspection.statistics import Inspection
from qa_lightning.utils.arrays import IntArray

WIDTH, HEIGHT = 320, 84
"""Units of a picture without its labels, about a pixel each on a phone."""

_MOST_BARS = 24
_SHOWN = 99.5  # percent of all lengths that have bars of their own; the last bar holds the others, too


class Bar(NamedTuple):
    """A bar of a histogram.

    Attributes:
        label: The lengths that it counts: ``8–15``.
        count: How many there are.
        x: Its left edge.
        y: Its upper edge.
        width: Its width.
        height: Its height; at least one unit where it counts anything.
    """

    label: str
    count: int
    x: float
    y: float
    width: float
    height: float


class Histogram(NamedTuple):
    """How lengths in tokens are distributed in a split.

    Attributes:
        split: The split.
        bars: Its bars, from left to right.
        ticks: Places of the axis below them, and what stands there.
        words: The same for those who cannot see it.
    """

    split: str
    bars: list[Bar]
    ticks: list[tuple[float, str]]
    words: str


def histograms(found: Mapping[str, Inspection]) -> dict[str, list[Histogram]]:
    """Makes the histograms of each thing that is measured, one for each split, all on the same axis.

    Args:
        found: The splits by name, at least one.

    Returns:
        The histograms by what is measured; nothing where no split has any of it.
    """
    drawn = {}
    for what in next(iter(found.values())).token_lengths:
        lengths = {name: split.token_lengths[what] for name, split in found.items() if len(split.token_lengths[what])}
        if lengths:
            edges = _edges(lengths)
            drawn[what] = [_histogram(name, values, edges) for name, values in lengths.items()]
    return drawn


def _edges(lengths: Mapping[str, IntArray]) -> list[int]:
    """Where bars begin and, exclusive, the last one ends; whole numbers at equal distances."""
    everything = np.concatenate(list(lengths.values()))
    least, most = int(everything.min()), int(np.ceil(max(np.percentile(x, _SHOWN) for x in lengths.values())))
    step = _round_step((most - least + 1) / _MOST_BARS)
    begin = least // step * step
    return list(range(begin, most + step + 1, step))


def _round_step(least: float) -> int:
    """The lowest of the numbers 1, 2, 5, 10, 20, … that is no lower."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= least:
                return digit * power
        power *= 10


def _histogram(name: str, lengths: IntArray, edges: list[int]) -> Histogram:
    beyond = int(lengths.max()) >= edges[-1]
    counts = np.histogram(np.minimum(lengths, edges[-1] - 1), edges)[0].tolist()
    width, step = WIDTH / len(counts), edges[1] - edges[0]
    bars = []
    for place, count in enumerate(counts):
        first, last = edges[place], edges[place + 1] - 1
        label = f"{first:,}" if step == 1 else f"{first:,}–{last:,}"
        if beyond and place == len(counts) - 1:
            label = f"{first:,} and more"
        height = max(1.0, HEIGHT * count / max(counts)) if count else 0.0
        bars.append(Bar(label, count, round(place * width, 2), round(HEIGHT - height, 2), round(width - 1, 2), height))
    words = "; ".join(f"{bar.label} tokens: {bar.count:,}" for bar in bars if bar.count)
    return Histogram(name, bars, _ticks(edges, width), f"{name}: {words}")


def _ticks(edges: list[int], width: float) -> list[tuple[float, str]]:
    """Some bars' left edges, with the lengths that they begin at; none so far right that its text would be cut off."""
    every = max(1, -(-len(edges) // 6))
    return [(round(place * width, 2), f"{edges[place]:,}") for place in range(0, len(edges) - 1, every)]

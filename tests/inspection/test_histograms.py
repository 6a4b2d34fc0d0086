"""Histograms of lengths, counted by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from qa_lightning.inspection.histograms import HEIGHT, WIDTH, Histogram, histograms


def drawn(**lengths: list[int]) -> list[Histogram]:
    """Histograms of the questions of these splits."""
    found: Any = {
        name: SimpleNamespace(token_lengths={"question": np.array(values, dtype=np.int64)})
        for name, values in lengths.items()
    }
    return histograms(cast("Any", found)).get("question", [])


def shown(histogram: Histogram) -> dict[str, int]:
    return {bar.label: bar.count for bar in histogram.bars if bar.count}


def test_each_length_has_its_bar_where_there_is_room() -> None:
    (found,) = drawn(train=[3, 3, 5])
    assert shown(found) == {"3": 2, "5": 1}
    assert [bar.height for bar in found.bars if bar.count] == [HEIGHT, HEIGHT / 2]
    assert found.words == "train: 3 tokens: 2; 5 tokens: 1"


def test_splits_share_an_axis() -> None:
    train, dev = drawn(train=list(range(1, 101)), dev=[7])
    assert [bar.label for bar in train.bars] == [bar.label for bar in dev.bars]
    assert sum(shown(train).values()) == 100
    assert shown(dev) == {"5–9": 1}
    assert train.ticks == dev.ticks


def test_a_few_that_are_much_longer_are_in_the_last_bar() -> None:
    (found,) = drawn(train=[*range(1, 21)] * 100 + [100_000])
    assert len(found.bars) < 30
    assert found.bars[-1].label == "20 and more"
    assert found.bars[-1].count == 101


def test_bars_stay_within_the_picture_and_few_are_seen() -> None:
    (found,) = drawn(train=[1] * 10_000 + [50])
    counted = [bar for bar in found.bars if bar.count]
    assert min(bar.height for bar in counted) >= 1
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH and bar.y >= 0 for bar in found.bars)


def test_what_has_no_length_has_no_histogram() -> None:
    assert drawn(train=[]) == []
    assert [histogram.split for histogram in drawn(train=[], dev=[2])] == ["dev"]

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qa_lightning.data.shapes import MULTIPLE, Shapes, least_padding_lengths


def padding(lengths: NDArray[np.int64], to: NDArray[np.int64]) -> int:
    """Tokens of padding where each window is as long as the next of some lengths."""
    return int(sum(to[to >= length].min() - length for length in lengths))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(1, 5))
def test_no_other_lengths_pad_less(windows: list[int], count: int) -> None:
    lengths = np.array(windows)
    chosen = least_padding_lengths(lengths, count)
    assert len(chosen) <= count
    assert (np.diff(chosen) > 0).all()
    assert chosen[-1] == lengths.max()
    assert not (chosen[:-1] % MULTIPLE).any()
    shorter = range(MULTIPLE, int(lengths.max()), MULTIPLE)
    every = [np.array([*some, lengths.max()]) for n in range(count) for some in combinations(shorter, n)]
    assert padding(lengths, chosen) == min(padding(lengths, choice) for choice in every)


def test_by_hand() -> None:
    lengths = np.array([9, 10, 11, 30, 31, 64, 64, 100])
    assert least_padding_lengths(lengths, 1).tolist() == [100]
    assert least_padding_lengths(lengths, 2).tolist() == [32, 100]
    assert least_padding_lengths(lengths, 4).tolist() == [16, 32, 64, 100]
    # More lengths than there is use for.
    assert least_padding_lengths(lengths, 9).tolist() == [16, 32, 64, 100]


def test_windows_of_any_length_take_little_time_and_memory() -> None:
    chosen = least_padding_lengths(np.random.default_rng(0).integers(1, 100_000, 2000), 12)
    assert len(chosen) == 12
    assert chosen[-1] < 100_000


def test_each_length_has_its_number_of_windows() -> None:
    shapes = Shapes.of(np.array([9, 10, 60, 60]), 2, lambda lengths: 120 // lengths)
    assert shapes.lengths.tolist() == [16, 60]
    assert shapes.windows.tolist() == [7, 2]
    assert Shapes.of(np.array([9, 60]), 2, lambda _: 4).windows.tolist() == [4, 4]
    assert shapes.index_of(np.array([1, 16, 17, 60])).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("count", [6, 12])
def test_lengths_like_those_of_squad(count: int) -> None:
    # About log-normal, with the long ones cut into windows of 384.
    lengths = np.minimum(np.random.default_rng(3).lognormal(5.1, 0.4, 20_000).astype(int) + 20, 384)
    share = padding(lengths, least_padding_lengths(lengths, count)) / lengths.sum()
    assert share < (0.08 if count == 12 else 0.15)

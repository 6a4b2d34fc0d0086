from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qa_lightning.data.batching import FEWEST_POOLS, POOL, EvaluationBatches, TrainingBatches
from qa_lightning.data.windows import Windows

RANDOM = np.random.default_rng(7)


def padding(batches: list[NDArray[np.int64]], lengths: NDArray[np.int64]) -> float:
    """The share of tokens that are padding."""
    filled = sum(len(rows) * lengths[rows].max() for rows in batches)
    return 1 - sum(lengths[rows].sum() for rows in batches) / filled


def per_process(lengths: NDArray[np.int64], batch_size: int, world_size: int, epoch: int = 0) -> list[list[list[int]]]:
    drawn = []
    for rank in range(world_size):
        sampler = TrainingBatches(lengths, batch_size, 3, rank, world_size)
        sampler.set_epoch(epoch)
        drawn.append([rows.tolist() for rows in sampler])
        assert len(drawn[-1]) == len(sampler)
    return drawn


# Training


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 5))
def test_every_window_once_an_epoch_and_equal_steps(windows: int, batch_size: int, world_size: int) -> None:
    processes = per_process(np.arange(windows) % 17 + 5, batch_size, world_size)
    assert len({len(batches) for batches in processes}) == 1
    seen = [tuple(sorted(rows)) for batches in processes for rows in batches]
    assert all(0 < len(rows) <= batch_size for rows in seen)
    # Only whole batches are seen again, as many as the last step lacks.
    again = Counter(seen) - Counter(set(seen))
    batches = math.ceil(windows / batch_size)
    assert again.total() == math.ceil(batches / world_size) * world_size - batches
    assert batches < world_size or max(again.values(), default=1) == 1
    assert sorted(row for rows in set(seen) for row in rows) == list(range(windows))


@pytest.mark.parametrize(("windows", "batch_size"), [(0, 4), (1, 4)])
def test_almost_nothing(windows: int, batch_size: int) -> None:
    processes = per_process(np.full(windows, 9), batch_size, 3)
    assert processes == [[list(range(windows))] * windows] * 3


def test_the_order_is_that_of_seed_and_epoch() -> None:
    lengths = RANDOM.integers(10, 384, 1000)

    def order(seed: int, epoch: int) -> list[int]:
        sampler = TrainingBatches(lengths, 8, seed)
        sampler.set_epoch(epoch)
        return np.concatenate(list(sampler)).tolist()

    orders = {(seed, epoch): order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert len({tuple(rows) for rows in orders.values()}) == 4
    assert order(1, 1) == orders[1, 1]
    sampler = TrainingBatches(lengths, 8, 0)
    assert [rows.tolist() for rows in sampler] == [rows.tolist() for rows in sampler]


def test_batches_change_their_company_from_epoch_to_epoch() -> None:
    lengths = RANDOM.integers(10, 384, 4000)
    epochs = [{tuple(sorted(rows)) for rows in per_process(lengths, 8, 1, epoch)[0]} for epoch in (0, 1)]
    assert len(epochs[0] & epochs[1]) < 0.01 * len(epochs[0])


def test_little_is_padded_and_long_batches_come_at_any_time() -> None:
    lengths = RANDOM.integers(20, 385, 16 * POOL * FEWEST_POOLS)
    (batches,) = per_process(lengths, 16, 1)
    rows = [np.array(batch) for batch in batches]
    shuffled = np.split(RANDOM.permutation(len(lengths)), len(rows))
    assert padding(rows, lengths) < 0.02
    assert padding(shuffled, lengths) > 0.4
    # Lengths do not drift through the epoch: correlation with the step is that of chance.
    longest = np.array([lengths[batch].max() for batch in rows])
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.15


def test_processes_work_on_batches_of_like_length() -> None:
    lengths = RANDOM.integers(20, 385, 16 * POOL * FEWEST_POOLS)
    processes = per_process(lengths, 16, 2)
    longest = np.array([[lengths[rows].max() for rows in batches] for batches in processes])
    assert np.abs(longest[0] - longest[1]).mean() < 15


def test_an_interrupted_epoch_goes_on_where_it_was() -> None:
    lengths = np.arange(40) % 7 + 5
    straight, resumed = (TrainingBatches(lengths, 4, seed=1) for _ in range(2))
    resumed.skip(2, 7)
    assert resumed.epoch == 2  # before Lightning tells it
    assert len(resumed) == 10
    for epoch, skipped in ((2, 7), (3, 0), (2, 7)):
        straight.set_epoch(epoch)
        resumed.set_epoch(epoch)
        assert [rows.tolist() for rows in resumed] == [rows.tolist() for rows in straight][skipped:]
    resumed.skip(2, 10)
    assert resumed.epoch == 3
    assert len(list(resumed)) == 10


# Evaluation


def cut_into(counts: list[int]) -> Windows:
    """Windows of questions that have so many each."""
    example = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    return Windows(example, np.zeros_like(example), np.zeros_like(example))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.integers(1, 7), st.integers(1, 4))
def test_every_window_once_whole_questions_together(counts: list[int], batch_size: int, world_size: int) -> None:
    windows = cut_into(counts)
    lengths = np.random.default_rng(len(windows)).integers(5, 30, len(windows))
    everything = []
    steps = set()
    for rank in range(world_size):
        sampler = EvaluationBatches(windows, lengths, batch_size, rank, world_size)
        batches = list(sampler)
        steps.add(len(batches))
        assert len(batches) == len(sampler)
        sizes = [len(rows) for rows in batches]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(0 < size < batch_size for size in sizes) <= 1
        rows = np.concatenate(batches)
        examples = windows.example[rows].tolist()
        # A question's windows follow each other, in their order, and are all here.
        changes = [examples[0], *(b for a, b in pairwise(examples) if a != b)] if examples else []
        assert len(set(changes)) == len(changes)
        assert [counts[example] for example in changes] == [examples.count(example) for example in changes]
        assert all(a < b for a, b in pairwise(rows.tolist()) if windows.example[a] == windows.example[b])
        everything += rows.tolist()
    assert sorted(everything) == list(range(len(windows)))
    assert len(steps) == 1


def test_evaluation_by_hand() -> None:
    windows = cut_into([1, 2, 3, 1, 1])
    lengths = np.array([7, 9, 3, 9, 9, 2, 8, 9])
    # The longest windows are 7, 9, 9, 8 and 9; of equals those with more windows come first.
    order = [3, 4, 5, 1, 2, 7, 6, 0]
    assert np.concatenate(list(EvaluationBatches(windows, lengths, 3))).tolist() == order
    assert [rows.tolist() for rows in EvaluationBatches(windows, lengths, 3)] == [[3, 4, 5], [1, 2, 7], [6, 0]]
    dealt = [[rows.tolist() for rows in EvaluationBatches(windows, lengths, 4, rank, 2)] for rank in (0, 1)]
    assert dealt == [[[3, 4, 5, 7], [0]], [[1, 2, 6], []]]


def test_evaluation_of_fewer_questions_than_processes() -> None:
    windows = cut_into([2])
    found = [list(EvaluationBatches(windows, np.array([5, 4]), 8, rank, 3)) for rank in range(3)]
    assert [[rows.tolist() for rows in batches] for batches in found] == [[[0, 1]], [[]], [[]]]
    assert list(EvaluationBatches(cut_into([]), np.zeros(0, dtype=np.int64), 8)) == []


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_have_like_shares_and_little_is_padded(world_size: int) -> None:
    counts = np.random.default_rng(0).integers(1, 6, 900).tolist()
    windows = cut_into(counts)
    # All windows of a question but the last are full.
    last = np.append(windows.example[1:] != windows.example[:-1], True)
    lengths = np.where(last, np.random.default_rng(1).integers(40, 384, len(windows)), 384)
    work = []
    for rank in range(world_size):
        batches = list(EvaluationBatches(windows, lengths, 16, rank, world_size))
        work.append(sum(len(rows) * lengths[rows].max() for rows in batches))
    assert max(work) < 1.05 * min(work)

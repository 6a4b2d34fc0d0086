from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qa_lightning.data.batching import EvaluationBatchSampler, TrainingBatchSampler
from qa_lightning.data.cutting import BATCHES_PER_POOL, MIN_POOLS, packed_shape
from qa_lightning.data.loaders import GPU_SHAPES
from qa_lightning.data.shapes import Shapes
from qa_lightning.data.windows import Windows

RANDOM = np.random.default_rng(7)


def padding(batches: list[NDArray[np.int64]], lengths: NDArray[np.int64]) -> float:
    """The share of tokens that are padding."""
    filled = sum(len(rows) * lengths[rows].max() for rows in batches)
    return 1 - sum(lengths[rows].sum() for rows in batches) / filled


def drawn(sampler: TrainingBatchSampler, epoch: int = 0) -> list[NDArray[np.int64]]:
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


def per_process(
    lengths: NDArray[np.int64], batch_size: int, world_size: int, epoch: int = 0, tokens_per_batch: int | None = None
) -> list[list[list[int]]]:
    """Each process's batches; each window is of a context of its own."""
    contexts = np.arange(len(lengths))
    samplers = (
        TrainingBatchSampler(lengths, contexts, batch_size, tokens_per_batch, seed=3, rank=rank, world_size=world_size)
        for rank in range(world_size)
    )
    return [[rows.tolist() for rows in drawn(sampler, epoch)] for sampler in samplers]


# Training


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 5), st.none() | st.integers(21, 90))
def test_every_window_once_an_epoch_and_equal_steps(
    windows: int, batch_size: int, world_size: int, tokens_per_batch: int | None
) -> None:
    lengths = np.arange(windows) % 17 + 5
    processes = per_process(lengths, batch_size, world_size, tokens_per_batch=tokens_per_batch)
    assert len({len(batches) for batches in processes}) == 1
    seen = [tuple(sorted(rows)) for batches in processes for rows in batches]
    if tokens_per_batch is None:
        assert all(0 < len(rows) <= batch_size for rows in seen)
    else:
        assert all(0 < lengths[list(rows)].sum() < tokens_per_batch + lengths.max() for rows in seen)
    # Only whole batches are seen again, as many as the last step lacks.
    again = Counter(seen) - Counter(set(seen))
    batches = math.ceil(windows / batch_size if tokens_per_batch is None else lengths.sum() / tokens_per_batch)
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
        return np.concatenate(drawn(TrainingBatchSampler(lengths, np.arange(1000), 8, seed=seed), epoch)).tolist()

    orders = {(seed, epoch): order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert len({tuple(rows) for rows in orders.values()}) == 4
    assert order(1, 1) == orders[1, 1]
    sampler = TrainingBatchSampler(lengths, np.arange(1000), 8, seed=0)
    assert [rows.tolist() for rows in sampler] == [rows.tolist() for rows in sampler]


def test_batches_change_their_company_from_epoch_to_epoch() -> None:
    lengths = RANDOM.integers(10, 384, 4000)
    epochs = [{tuple(sorted(rows)) for rows in per_process(lengths, 8, 1, epoch)[0]} for epoch in (0, 1)]
    assert len(epochs[0] & epochs[1]) < 0.01 * len(epochs[0])


def test_little_is_padded_and_long_batches_come_at_any_time() -> None:
    lengths = RANDOM.integers(20, 385, 16 * BATCHES_PER_POOL * MIN_POOLS)
    (batches,) = per_process(lengths, 16, 1)
    rows = [np.array(batch) for batch in batches]
    shuffled = np.split(RANDOM.permutation(len(lengths)), len(rows))
    assert padding(rows, lengths) < 0.02
    assert padding(shuffled, lengths) > 0.4
    # Lengths do not drift through the epoch: correlation with the step is that of chance.
    longest = np.array([lengths[batch].max() for batch in rows])
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.15


def test_little_is_padded_where_pools_and_batches_do_not_end_together() -> None:
    lengths = RANDOM.integers(20, 385, 8 * MIN_POOLS * 10 + 13)  # pools of ten batches and a bit
    (batches,) = per_process(lengths, 8, 1)
    assert padding([np.array(batch) for batch in batches], lengths) < 0.08


@pytest.mark.parametrize("tokens_per_batch", [None, 3000])
def test_questions_of_a_context_meet_in_few_batches(tokens_per_batch: int | None) -> None:
    # Five questions to a context, which are windows of nearly one length.
    contexts = np.repeat(np.arange(500), 5)
    lengths = RANDOM.integers(100, 300, 500)[contexts] + RANDOM.integers(0, 9, len(contexts))
    batches = drawn(TrainingBatchSampler(lengths, contexts, 16, tokens_per_batch, seed=0))
    met = np.mean([len(set(contexts[rows].tolist())) / len(rows) for rows in batches])
    by_length = np.argsort(lengths, kind="stable")
    sorted_only = [len(set(contexts[by_length[i : i + 16]].tolist())) / 16 for i in range(0, len(by_length) - 15, 16)]
    assert met > 0.97
    assert np.mean(sorted_only) < 0.8


@pytest.mark.parametrize(("tokens_per_batch", "world_size"), [(None, 1), (None, 3), (2000, 1), (2000, 2)])
def test_the_batch_with_most_tokens_comes_first(tokens_per_batch: int | None, world_size: int) -> None:
    lengths = RANDOM.integers(20, 385, 1000)
    for epoch in (0, 1):
        processes = per_process(lengths, 8, world_size, epoch, tokens_per_batch)
        sizes = [[len(rows) * lengths[rows].max() for rows in batches] for batches in processes]
        assert max(of_rank[0] for of_rank in sizes) == max(max(of_rank) for of_rank in sizes)


def test_batches_by_tokens_are_equally_many_in_each_epoch() -> None:
    lengths = RANDOM.integers(20, 385, 1000)
    sampler = TrainingBatchSampler(lengths, np.arange(1000), 8, 3000, seed=0)
    epochs = [drawn(sampler, epoch) for epoch in range(5)]
    assert {len(batches) for batches in epochs} == {math.ceil(lengths.sum() / 3000)}
    # About so many tokens each, by many short windows or few long ones.
    sizes = np.array([len(rows) for rows in epochs[0][:-1]])
    assert sizes.max() > 4 * sizes.min()


def test_processes_work_on_batches_of_like_length() -> None:
    lengths = RANDOM.integers(20, 385, 16 * BATCHES_PER_POOL * MIN_POOLS)
    processes = per_process(lengths, 16, 2)
    longest = np.array([[lengths[rows].max() for rows in batches] for batches in processes])
    assert np.abs(longest[0] - longest[1]).mean() < 15


def test_an_interrupted_epoch_goes_on_where_it_was() -> None:
    lengths = np.arange(40) % 7 + 5
    straight, resumed = (TrainingBatchSampler(lengths, np.arange(40), 4, seed=1) for _ in range(2))
    resumed.skip(2, 7)
    assert resumed.epoch == 2  # before Lightning sets it
    assert len(resumed) == 10
    for epoch, skipped in ((2, 7), (3, 0), (2, 7)):
        straight.set_epoch(epoch)
        resumed.set_epoch(epoch)
        assert [rows.tolist() for rows in resumed] == [rows.tolist() for rows in straight][skipped:]
    resumed.skip(2, 10)
    assert resumed.epoch == 3
    assert len(list(resumed)) == 10


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3))
def test_batches_of_few_shapes(windows: list[int], batch_size: int, count: int, world_size: int) -> None:
    lengths = np.array(windows)
    shapes = Shapes.of(lengths, count, lambda _: batch_size)
    contexts = np.arange(len(lengths))
    processes = [
        drawn(
            TrainingBatchSampler(lengths, contexts, batch_size, shapes=shapes, seed=3, rank=rank, world_size=world_size)
        )
        for rank in range(world_size)
    ]
    distinct = {tuple(sorted(rows.tolist())) for batches in processes for rows in batches}
    assert sorted(row for rows in distinct for row in rows) == list(range(len(lengths)))
    # All are full, but for one that holds what is left.
    assert len(distinct) == math.ceil(len(lengths) / batch_size)
    assert sum(len(rows) < batch_size for rows in distinct) <= 1
    # A window is rounded up to the next length, or, where it was left over there, to a longer one.
    to = [shapes.index_of(lengths[list(rows)].max()) for rows in distinct]
    longer = sum(int((shapes.index_of(lengths[list(rows)]) < at).sum()) for rows, at in zip(distinct, to, strict=True))
    assert longer <= (batch_size - 1) * (len(shapes.lengths) - 1)


def test_batches_of_few_shapes_mix_well() -> None:
    contexts = np.repeat(np.arange(800), 5)
    lengths = RANDOM.integers(100, 300, 800)[contexts] + RANDOM.integers(0, 9, len(contexts))
    shapes = Shapes.of(lengths, 6, lambda _: 16)
    sampler = TrainingBatchSampler(lengths, contexts, 16, shapes=shapes, seed=0)
    epochs = [drawn(sampler, epoch) for epoch in (0, 1)]
    assert np.mean([len(set(contexts[rows].tolist())) / len(rows) for rows in epochs[0]]) > 0.97
    sets = [{tuple(sorted(rows.tolist())) for rows in batches} for batches in epochs]
    assert not sets[0] & sets[1]
    longest = np.array([lengths[rows].max() for rows in epochs[0]])
    assert longest[0] == longest.max()
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.15


# Evaluation


def cut_into(counts: list[int]) -> Windows:
    """Windows of questions that have so many each."""
    example = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    return Windows(example, np.zeros_like(example), np.zeros_like(example))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.integers(30, 150), st.integers(1, 4))
def test_every_window_once_whole_questions_together(counts: list[int], tokens: int, world_size: int) -> None:
    windows = cut_into(counts)
    lengths = np.random.default_rng(len(windows)).integers(5, 31, len(windows))
    everything = []
    steps = set()
    for rank in range(world_size):
        sampler = EvaluationBatchSampler(windows, lengths, tokens, rank, world_size)
        batches = list(sampler)
        steps.add(len(batches))
        assert len(batches) == len(sampler)
        filled = [len(batch) * lengths[batch].max(initial=0) for batch in batches]
        assert max(filled) <= tokens
        # A batch ends where the next window would be too much, and only at the end there are batches of none.
        assert all(
            (len(batch) + 1) * lengths[np.isin(windows.example, windows.example[batch[0]])].max() > tokens
            for batch, after in pairwise(batches)
            if len(after)
        )
        assert all(len(batch) or not len(after) for batch, after in pairwise(batches))
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
    assert np.concatenate(list(EvaluationBatchSampler(windows, lengths, 27))).tolist() == order
    assert [rows.tolist() for rows in EvaluationBatchSampler(windows, lengths, 30)] == [[3, 4, 5], [1, 2, 7], [6, 0]]
    dealt = [[rows.tolist() for rows in EvaluationBatchSampler(windows, lengths, 36, rank, 2)] for rank in (0, 1)]
    assert dealt == [[[3, 4, 5, 7], [0]], [[1, 2, 6], []]]


def test_evaluation_in_few_shapes() -> None:
    windows = cut_into([1, 2, 3, 1, 1, 1])
    lengths = np.array([7, 9, 3, 20, 9, 2, 8, 24, 11])
    shapes = Shapes(np.array([8, 16, 24]), np.array([6, 3, 2]))
    batches = [rows.tolist() for rows in EvaluationBatchSampler(windows, lengths, 48, shapes=shapes)]
    # Two of 24, then three of 16; each question's windows are together.
    assert batches == [[3, 4], [5, 7], [1, 2, 8], [0, 6]]


def test_short_windows_are_many_in_a_batch() -> None:
    windows = cut_into([1] * 20)
    lengths = np.array([100] * 4 + [10] * 16)
    assert [len(rows) for rows in EvaluationBatchSampler(windows, lengths, 200)] == [2, 2, 16]


def test_a_window_with_more_tokens_than_a_batch_is_one_by_itself() -> None:
    batches = EvaluationBatchSampler(cut_into([1, 1, 1, 1]), np.array([9, 3, 12, 3]), 6)
    assert [rows.tolist() for rows in batches] == [[2], [0], [1, 3]]


def test_evaluation_of_fewer_questions_than_processes() -> None:
    windows = cut_into([2])
    found = [list(EvaluationBatchSampler(windows, np.array([5, 4]), 40, rank, 3)) for rank in range(3)]
    assert [[rows.tolist() for rows in batches] for batches in found] == [[[0, 1]], [[]], [[]]]
    assert list(EvaluationBatchSampler(cut_into([]), np.zeros(0, dtype=np.int64), 8)) == []


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_have_like_shares_and_little_is_padded(world_size: int) -> None:
    counts = np.random.default_rng(0).integers(1, 6, 900).tolist()
    windows = cut_into(counts)
    # All windows of a question but the last are full.
    last = np.append(windows.example[1:] != windows.example[:-1], True)
    lengths = np.where(last, np.random.default_rng(1).integers(40, 384, len(windows)), 384)
    work = []
    for rank in range(world_size):
        batches = list(EvaluationBatchSampler(windows, lengths, 16 * 384, rank, world_size))
        work.append(sum(len(rows) * lengths[rows].max() for rows in batches))
    assert max(work) < 1.05 * min(work)


# Packed


def packed(lengths: NDArray[np.int64], batch_size: int, tokens_per_batch: int | None = None) -> TrainingBatchSampler:
    shape = packed_shape(lengths, batch_size, tokens_per_batch)
    return TrainingBatchSampler(lengths, np.arange(len(lengths)), batch_size, tokens_per_batch, shape, seed=3)


@given(st.lists(st.integers(5, 40), min_size=1, max_size=200), st.integers(1, 9), st.none() | st.integers(40, 90))
def test_packed_batches_fit_their_row_and_hold_every_window_once(
    of_windows: list[int], batch_size: int, tokens_per_batch: int | None
) -> None:
    lengths = np.array(of_windows)
    sampler = packed(lengths, batch_size, tokens_per_batch)
    shape = packed_shape(lengths, batch_size, tokens_per_batch)
    assert shape.row_tokens is not None
    for epoch in (0, 1):
        batches = drawn(sampler, epoch)
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert max(lengths[rows].sum() for rows in batches) <= shape.row_tokens
        sizes = {len(rows) for rows in batches}
        assert max(sizes) == shape.windows[0]
        assert max(sizes) - min(sizes) <= 1
        assert tokens_per_batch is not None or max(sizes) <= batch_size


def test_packed_batches_fill_their_rows_and_change_their_company() -> None:
    # Like SQuAD's: most windows about 150 tokens, and some as long as they may be.
    lengths = np.minimum(np.random.default_rng(0).gamma(6, 27, 20_000).astype(np.int64) + 12, 384)
    sampler, shape = packed(lengths, 32), packed_shape(lengths, 32)
    assert shape.row_tokens is not None
    first, second = drawn(sampler), drawn(sampler, 1)
    filled = np.concatenate([[lengths[rows].sum() for rows in batches] for batches in (first, second)])
    assert filled.mean() / shape.row_tokens > 0.99
    company = [{row: set(rows.tolist()) for rows in batches for row in rows.tolist()} for batches in (first, second)]
    kept = np.mean([len(company[0][row] & company[1][row]) - 1 for row in range(0, 20_000, 20)]) / 31
    assert kept < 0.02


def test_packed_batches_of_few_windows_change_their_company() -> None:
    lengths = RANDOM.integers(20, 385, 300)
    epochs = [{tuple(sorted(rows.tolist())) for rows in drawn(packed(lengths, 8), epoch)} for epoch in (0, 1)]
    assert len(epochs[0] & epochs[1]) <= 1


@pytest.mark.parametrize("world_size", [1, 3])
def test_packed_evaluation_fills_rows_with_whole_questions_longest_first(world_size: int) -> None:
    counts = RANDOM.integers(1, 5, 300)
    example = np.repeat(np.arange(300), counts).astype(np.int32)
    lengths = RANDOM.integers(20, 100, len(example))
    windows = Windows(example, np.zeros_like(example), lengths.astype(np.int32))
    shape = Shapes.packed(lengths, 20, 1000)
    processes = [
        list(EvaluationBatchSampler(windows, lengths, 1000, rank, world_size, shape)) for rank in range(world_size)
    ]
    assert len({len(batches) for batches in processes}) == 1
    rows = np.concatenate([np.concatenate(batches) for batches in processes])
    assert sorted(rows.tolist()) == list(range(len(example)))
    for batches in processes:
        assert all(lengths[rows].sum() <= 1000 and len(rows) <= 20 for rows in batches)
        full = [lengths[rows].sum() > 900 or len(rows) == 20 for rows in batches if len(rows)]
        assert all(full[:-1])
    examples = [set(example[np.concatenate(batches)].tolist()) for batches in processes]
    assert sum(map(len, examples)) == 300


def test_an_epoch_of_squads_size_has_few_shapes_and_packed_one() -> None:
    # 88,000 windows, about log-normal, the long ones cut at 384; batches of 32, as on a GPU.
    lengths = np.minimum(np.random.default_rng(3).lognormal(4.9, 0.35, 88_000).astype(np.int64) + 24, 384)
    shapes = Shapes.of(lengths, GPU_SHAPES, lambda _: 32)
    padded = drawn(TrainingBatchSampler(lengths, np.arange(88_000) // 5, 32, shapes=shapes, seed=0))
    places = np.array([shapes.index_of(lengths[rows].max()) for rows in padded])
    assert len(set(places.tolist())) == GPU_SHAPES == 12
    assert {len(rows) for rows in padded[1:]} <= {32, 88_000 % 32 or 32}
    assert 1 - lengths.sum() / (shapes.lengths[places] * 32).sum() <= 0.08

    shape = packed_shape(lengths, 32)
    packed_batches = drawn(TrainingBatchSampler(lengths, np.arange(88_000) // 5, 32, shapes=shape, seed=0))
    assert len(shape.lengths) == 1
    assert {len(rows) for rows in packed_batches} == {32}
    assert shape.row_tokens is not None
    assert 1 - lengths.sum() / (shape.row_tokens * len(packed_batches)) <= 0.012

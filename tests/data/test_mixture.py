"""Which windows of which training set an epoch has: counts by hand, draws beside a slow reference, and batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qa_lightning.data.batching import TrainingBatchSampler
from qa_lightning.data.cutting import packed_shape
from qa_lightning.data.mixing import Mixing, apportion, check_mixing, windows_per_epoch
from qa_lightning.data.mixture import AllWindows, Mixture, Rotation
from qa_lightning.data.null_windows import NullWindowSample
from qa_lightning.data.shapes import Shapes
from qa_lightning.utils.errors import UserError

RANDOM = np.random.default_rng(11)


# Counts


def test_counts_by_hand() -> None:
    sizes = {"squad": 900, "de": 100}

    def counts(weights: tuple[float | None, float | None] = (None, None), **settings: object) -> dict[int, list[int]]:
        mixing = Mixing(**settings)  # type: ignore[arg-type]
        return windows_per_epoch(mixing, dict(zip(sizes, weights, strict=True)), list(sizes.values()))

    assert counts() == {0: [900, 100]}
    assert counts(temperature=1.0) == {0: [900, 100]}
    assert counts(temperature=2.0) == {0: [750, 250]}  # √900 : √100 is 3 : 1
    assert counts(temperature=1e9) == {0: [500, 500]}
    assert counts(epoch_windows=50) == {0: [45, 5]}
    assert counts((3.0, 1.0)) == {0: [750, 250]}
    assert counts((None, 4.0)) == {0: [200, 800]}  # 1 where only others have a weight
    assert counts((1.0, 0.0), epoch_windows=7) == {0: [7, 0]}
    curriculum = {3: {"de": 2.0, "squad": 6.0}, 1: {"de": 0.1}}
    assert counts(epoch_windows=40, curriculum=curriculum) == {0: [36, 4], 1: [0, 40], 3: [30, 10]}
    assert counts(curriculum={0: {"squad": 1.0}}) == {0: [1000, 0]}


def test_a_temperature_near_zero_leaves_the_largest_set() -> None:
    sizes = [87_599, 5_000]
    assert windows_per_epoch(Mixing(temperature=0.01), {"a": None, "b": None}, sizes) == {0: [92_599, 0]}


@given(st.integers(0, 10_000), st.lists(st.floats(0, 1e308), min_size=1, max_size=6).filter(any))
def test_shares_sum_to_the_whole_and_are_off_by_less_than_one(total: int, weights: list[float]) -> None:
    counts = apportion(total, weights)
    assert sum(counts) == total
    scaled = [weight / max(weights) for weight in weights]
    for count, weight in zip(counts, scaled, strict=True):
        assert abs(count - total * weight / sum(scaled)) < 1.000001


@pytest.mark.parametrize(
    ("mixing", "weights", "message"),
    [
        ({"temperature": 0.0}, {}, r"data\.mixing\.temperature must be above 0 and finite, not 0\.0"),
        ({"temperature": float("nan")}, {}, r"data\.mixing\.temperature must be above 0"),
        ({"epoch_windows": 0}, {}, r"data\.mixing\.epoch_windows must be at least 1, not 0"),
        ({"curriculum": {}}, {}, r"data\.mixing\.curriculum names no epoch"),
        ({"curriculum": {-1: {"a": 1.0}}}, {}, r"an epoch of data\.mixing\.curriculum must be at least 0, not -1"),
        ({"epoch_windows": 5}, {}, r"there are none; name them there"),
        ({"temperature": 2.0}, {"a": 1.0}, r"data\.train_sets\.a\.weight says otherwise"),
        ({}, {"a": 0.0, "b": 0.0}, r"data\.train_sets: the weights sum to zero"),
        ({}, {"a": -1.0, "b": None}, r"data\.train_sets: the weight of a must be at least 0, not -1\.0"),
        ({"curriculum": {2: {"c": 1.0}}}, {"a": None, "b": None}, r"no training set is called 'c'; there are a, b$"),
        ({"curriculum": {2: {"a": 0.0}}}, {"a": None}, r"curriculum, epoch 2: the weights sum to zero"),
        ({"curriculum": {2: {"a": float("inf")}}}, {"a": None}, r"curriculum, epoch 2: the weight of a must be finite"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    mixing: dict[str, object], weights: dict[str, float | None], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_mixing(Mixing(**mixing), weights)  # type: ignore[arg-type]


def test_a_set_without_windows_has_no_weight() -> None:
    assert windows_per_epoch(Mixing(), {"a": None, "b": None}, [5, 0]) == {0: [5, 0]}
    with pytest.raises(UserError, match="the training set b has no windows"):
        windows_per_epoch(Mixing(), {"a": None, "b": 1.0}, [5, 0])


# Turns


def slow_rotation(lengths: NDArray[np.int64], count: int, seed: tuple[int, int, int], epoch: int) -> list[int]:
    """What `Rotation` draws, group by group."""
    places = len(lengths)
    sizes = [(place + 1) * places // count - place * places // count for place in range(count)]
    number, turn = divmod(epoch, max(sizes))
    random = np.random.default_rng((number, *seed))
    shift = int(random.integers(count))
    chance = random.random(places)
    by_length = sorted(range(places), key=lambda place: lengths[place])
    drawn = []
    for group in range(count):
        begin = 0 if group == 0 else (group * places + shift) // count
        end = places if group == count - 1 else ((group + 1) * places + shift) // count
        ranks = sorted(range(begin, end), key=lambda rank: chance[rank])
        drawn.append(by_length[ranks[turn % len(ranks)]])
    return drawn


@given(st.integers(1, 40), st.data())
def test_turns_are_those_of_the_slow_reference(places: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, places))
    lengths = RANDOM.integers(10, 20, places)
    rotation = Rotation(lengths, count)
    for epoch in range(2 * rotation.epochs + 1):
        drawn = rotation.draw((7, 0, 1), epoch)
        assert drawn.tolist() == slow_rotation(lengths, count, (7, 0, 1), epoch)
        assert len(set(drawn.tolist())) == count
        assert (lengths[drawn] <= rotation.lengths).all()


@given(st.integers(1, 40), st.data())
def test_nothing_is_drawn_twice_before_all_was_drawn_once(places: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, places))
    rotation = Rotation(RANDOM.integers(10, 20, places), count)
    for number in range(3):
        epochs = range(number * rotation.epochs, (number + 1) * rotation.epochs)
        seen = [rotation.draw((7, 0, 1), epoch).tolist() for epoch in epochs]
        before = [place for drawn in seen[:-1] for place in drawn]
        assert len(before) == len(set(before))
        assert {*before, *seen[-1]} == set(range(places))


def test_no_place_is_preferred_in_the_long_run() -> None:
    rotation = Rotation(np.arange(100), 40)
    counts = np.bincount(np.concatenate([rotation.draw((0, 0, 1), epoch) for epoch in range(1500)]), minlength=100)
    assert counts.sum() == 60_000
    assert 500 <= counts.min() <= counts[2:-2].max() < 700


# Several sets


def test_a_mixture_by_hand() -> None:
    """Four windows of the first set of which an epoch has two, and two of the second that it has twice."""
    mixture = Mixture([AllWindows(np.full(4, 9)), AllWindows(np.array([7, 8]))], counts={0: [2, 4]})
    drawn = [mixture.draw(np.random.default_rng(epoch), 0, epoch)[0].tolist() for epoch in range(4)]
    for windows in drawn:
        assert Counter(windows)[4] == Counter(windows)[5] == 2
        assert len(windows) == 6
    for pair in (drawn[:2], drawn[2:]):
        assert sorted(window for windows in pair for window in windows if window < 4) == [0, 1, 2, 3]
    assert mixture.lengths[0].tolist() == [9, 9, 7, 8, 7, 8]


def test_null_windows_are_drawn_within_each_set() -> None:
    lengths = RANDOM.integers(10, 30, 60)
    sets = [NullWindowSample(lengths, np.arange(60) >= 20, 0.5), NullWindowSample(lengths, np.arange(60) >= 30, 0.25)]
    whole = Mixture(sets, [60, 60])
    windows, most = whole.draw(np.random.default_rng(0), 0, 0)
    assert len(windows) == len(set(windows.tolist())) == 80
    assert [(windows < 20).sum(), ((windows >= 20) & (windows < 60)).sum()] == [20, 20]
    assert [((windows >= 60) & (windows < 90)).sum(), (windows >= 90).sum()] == [30, 10]
    assert (lengths[windows % 60] <= most).all()
    some = Mixture(sets, [60, 60], {0: [10, 100]})
    windows, most = some.draw(np.random.default_rng(0), 0, 0)
    assert ((windows < 60).sum(), (windows >= 60).sum()) == (10, 100)
    assert (lengths[windows % 60] <= most).all()


@pytest.mark.parametrize("kind", ["windows", "tokens", "shapes", "packed"])
def test_every_epoch_has_its_counts_in_equally_many_batches_on_every_process(kind: str) -> None:
    """From the second epoch on windows are longer, so that the first has more batches than its tokens need."""
    sizes = (300, 200)
    lengths = np.concatenate([RANDOM.integers(10, 20, 300), RANDOM.integers(30, 60, 200)])
    samples = [AllWindows(lengths[:300]), AllWindows(lengths[300:])]
    counts = {0: [240, 10], 1: [50, 200], 3: [0, 250]}
    mixture = Mixture(samples, sizes, counts)
    tokens = None if kind == "windows" else 480
    shapes = {
        "shapes": Shapes.of(np.concatenate(mixture.lengths), 3, lambda widths: 480 // widths),
        "packed": packed_shape(mixture.lengths[0], 8, 480, *mixture.lengths[1:]),
    }.get(kind)

    def samplers(world_size: int) -> list[TrainingBatchSampler]:
        return [
            TrainingBatchSampler(
                lengths,
                np.arange(500) // 5,
                8,
                tokens,
                shapes,
                seed=3,
                rank=rank,
                world_size=world_size,
                sample=mixture,
            )
            for rank in range(world_size)
        ]

    alone, both = samplers(1), samplers(2)
    for epoch in range(5):
        batches = []
        for sampler in [*alone, *both]:
            sampler.set_epoch(epoch)
            batches.append(list(sampler))
            assert len(batches[-1]) == len(sampler)
        together = [rows for pair in zip(*batches[1:], strict=True) for rows in pair]
        assert Counter(map(tuple, batches[0])) <= Counter(map(tuple, together))
        windows = np.concatenate(batches[0])
        of_sets = counts[max(begin for begin in counts if begin <= epoch)]
        assert [(windows < 300).sum(), (windows >= 300).sum()] == of_sets
        for rows in batches[0]:
            if shapes is not None and shapes.is_packed:
                assert lengths[rows].sum() <= (shapes.row_tokens or 0)
            elif shapes is not None:
                assert len(rows) <= shapes.windows[shapes.index_of(lengths[rows].max())]
            elif tokens is None:
                assert len(rows) <= 8


def test_an_epoch_that_goes_on_has_the_mixture_it_began_with() -> None:
    lengths = RANDOM.integers(10, 60, 100)
    mixture = Mixture([AllWindows(lengths[:70]), AllWindows(lengths[70:])], counts={0: [20, 45], 2: [60, 5]})
    for epoch in (1, 2, 3):
        straight, resumed = (TrainingBatchSampler(lengths, np.arange(100), 4, seed=1, sample=mixture) for _ in range(2))
        resumed.skip(epoch, 7)
        straight.set_epoch(epoch)
        assert [rows.tolist() for rows in resumed] == [rows.tolist() for rows in straight][7:]

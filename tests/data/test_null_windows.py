"""A share of the null windows, drawn anew for each epoch, in batches of the same number and shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qa_lightning.data.batching import TrainingBatchSampler
from qa_lightning.data.cutting import packed_shape
from qa_lightning.data.mixture import Mixture
from qa_lightning.data.null_windows import NullWindowSample, check_null_windows
from qa_lightning.data.shapes import Shapes
from qa_lightning.utils.errors import UserError

RANDOM = np.random.default_rng(5)


def epoch(sampler: TrainingBatchSampler, number: int) -> NDArray[np.int64]:
    sampler.set_epoch(number)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return np.concatenate(batches)


@given(st.integers(1, 60), st.integers(0, 200), st.floats(0, 0.95))
def test_all_answers_and_a_share_of_nulls_of_every_length(answers: int, nulls: int, share: float) -> None:
    lengths = RANDOM.integers(10, 50, answers + nulls)
    is_null = RANDOM.permutation(np.arange(answers + nulls) >= answers)
    sample = NullWindowSample(lengths, is_null, share)
    drawn = sample.draw(np.random.default_rng(0))
    assert len(np.unique(drawn)) == len(drawn) == len(sample.lengths)
    assert np.isin(np.flatnonzero(~is_null), drawn).all()
    expected = min(nulls, round(share / (1 - share) * answers))
    assert is_null[drawn].sum() == expected
    assert (lengths[drawn] <= sample.lengths).all()


def test_every_null_window_has_its_turn_and_none_is_preferred() -> None:
    lengths = np.arange(100) % 9 + 1
    sample = NullWindowSample(lengths, np.arange(100) >= 20, 0.5)
    random = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([sample.draw(random) for _ in range(400)]), minlength=100)
    assert (counts[:20] == 400).all()
    assert len(sample.lengths) == 40
    assert 60 < counts[20:].min() < 100 < counts[20:].max() < 140


@pytest.mark.parametrize("kind", ["windows", "tokens", "shapes", "packed"])
def test_batches_are_equally_many_in_every_epoch_and_process(kind: str) -> None:
    lengths = RANDOM.integers(10, 60, 500)
    sample = NullWindowSample(lengths, np.arange(500) >= 120, 0.4)
    shapes = {
        "shapes": Shapes.of(sample.lengths, 3, lambda widths: 480 // widths),
        "packed": packed_shape(sample.lengths, 8),
    }.get(kind)
    samplers = [
        TrainingBatchSampler(
            lengths,
            np.arange(500) // 5,
            8,
            480 if kind == "tokens" else None,
            shapes,
            seed=3,
            rank=rank,
            world_size=2,
            sample=Mixture([sample], [500]),
        )
        for rank in range(2)
    ]
    seen = []
    for number in range(3):
        windows = [epoch(sampler, number) for sampler in samplers]
        assert len(np.unique(np.concatenate(windows))) == len(sample.lengths) == 200
        seen.append(frozenset(np.concatenate(windows).tolist()))
        for rows in samplers[0]:
            if shapes is not None and shapes.is_packed:
                assert lengths[rows].sum() <= (shapes.row_tokens or 0)
            elif shapes is not None:
                assert len(rows) <= shapes.windows[shapes.index_of(lengths[rows].max())]
    assert len(set(seen)) == 3
    assert frozenset(epoch(samplers[0], 1).tolist()) <= seen[1]  # the same again


def test_an_epoch_that_goes_on_has_the_sample_it_began_with() -> None:
    lengths = RANDOM.integers(10, 60, 100)
    sample = NullWindowSample(lengths, np.arange(100) >= 40, 0.3)
    mixture = Mixture([sample], [100])
    straight, resumed = (TrainingBatchSampler(lengths, np.arange(100), 4, seed=1, sample=mixture) for _ in range(2))
    resumed.skip(2, 7)
    straight.set_epoch(2)
    assert [rows.tolist() for rows in resumed] == [rows.tolist() for rows in straight][7:]


def test_what_is_no_share_is_refused() -> None:
    check_null_windows(None, False)
    check_null_windows(0.0, True)
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match=r"data\.null_windows is a share of at least 0 and below 1"):
            check_null_windows(share, True)
    with pytest.raises(UserError, match="allow_impossible_windows: false leaves out"):
        check_null_windows(0.3, False)

"""Masking: how many tokens, which, and what stands in their place; worked by hand and counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qa_lightning.data.windows import Windows
from qa_lightning.pretraining.masking import Draw, Masking, choose_tokens, replace_tokens
from qa_lightning.pretraining.random_numbers import hash_places, uniform_places
from qa_lightning.pretraining.text_windows import longest_words
from qa_lightning.utils.errors import UserError


def draw(windows: int, epoch: int = 0, seed: int = 0) -> Draw:
    return Draw(seed, epoch, torch.arange(windows))


def places(windows: int, length: int) -> Tensor:
    return torch.arange(length).expand(windows, length)


def test_counts_by_hand() -> None:
    # 15 % of 20 tokens are 3, of 10 are 1.5, which is rounded up, of 3 less than one token; of none there is none.
    assert Masking().count(torch.tensor([20, 10, 9, 3, 1, 0])).tolist() == [3, 2, 1, 1, 1, 0]


def test_the_longest_word_of_each_window() -> None:
    # Two documents: words of 1, 3 and 1 tokens with one between them that covers nothing, and of 2 and 1.
    starts, ends = [0, 2, 2, 4, 2, 6, 0, 0, 3], [1, 5, 5, 4, 5, 7, 2, 2, 4]
    encoded = SimpleNamespace(
        words=np.array([starts, ends], dtype=np.int32).T,
        contexts=SimpleNamespace(offsets=np.array([starts, ends], dtype=np.int32).T, bounds=np.array([0, 6, 9])),
        context_index=np.array([0, 0, 1, 1]),
    )
    columns = ([0, 1, 2, 3], [0, 5, 0, 2], [5, 6, 2, 3])
    windows = Windows(*(np.array(column, dtype=np.int32) for column in columns))
    assert longest_words(encoded, windows).tolist() == [3, 1, 2, 1]  # type: ignore[arg-type]
    encoded.words = None
    assert longest_words(encoded, windows).tolist() == [1] * 4  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.booleans(), st.floats(0.01, 0.99))
def test_no_more_tokens_are_chosen_than_are_known_before(sizes: list[int], whole: bool, share: float) -> None:
    masking = Masking(share=share, whole_words=whole)
    tokens = sum(sizes)
    words = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))[None] if whole else places(1, tokens)
    candidates = torch.ones(1, tokens, dtype=torch.bool)
    chosen = choose_tokens(candidates, words, masking.count(torch.tensor([tokens])), draw(1))
    most = int(masking.most(np.array([tokens]), np.array([max(sizes)]))[0])
    assert chosen.sum() <= most <= tokens
    if not whole or max(sizes) == 1:
        assert chosen.sum() == most


def test_so_many_tokens_are_chosen_and_no_others_than_may_be() -> None:
    candidates = torch.zeros(50, 30, dtype=torch.bool)
    candidates[:, 3:23] = True
    counts = Masking().count(candidates.sum(1))
    chosen = choose_tokens(candidates, places(50, 30), counts, draw(50))
    assert chosen.sum(1).tolist() == [3] * 50
    assert not (chosen & ~candidates).any()
    assert choose_tokens(candidates, places(50, 30), torch.zeros(50).long(), draw(50)).sum() == 0


def test_every_token_is_chosen_equally_often() -> None:
    candidates = torch.ones(20_000, 10, dtype=torch.bool)
    chosen = choose_tokens(candidates, places(20_000, 10), torch.full((20_000,), 2), draw(20_000))
    assert (chosen.double().mean(0) - 0.2).abs().max() < 0.012  # four standard deviations


def test_words_are_chosen_whole() -> None:
    # Words of 1, 3, 2 and 4 tokens, three of which are wanted: drawn until there are enough.
    words = torch.tensor([0, 1, 1, 1, 4, 4, 6, 6, 6, 6]).expand(500, 10)
    candidates = torch.ones(500, 10, dtype=torch.bool)
    chosen = choose_tokens(candidates, words, torch.full((500,), 3), draw(500))
    sizes = {0: 1, 1: 3, 4: 2, 6: 4}
    seen = set()
    for row in chosen:
        of_word = {word: int(row[words[0] == word].sum()) for word in sizes}
        assert all(count in (0, sizes[word]) for word, count in of_word.items())
        taken = frozenset(word for word, count in of_word.items() if count)
        total = sum(sizes[word] for word in taken)
        assert total >= 3
        assert any(total - sizes[word] < 3 for word in taken)  # the last one was needed
        seen.add(taken)
    assert {frozenset({1}), frozenset({6}), frozenset({0, 4})} <= seen


def test_eighty_ten_ten() -> None:
    ids = torch.full((1000, 20), 7)
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[:, ::2] = True
    ordinary = torch.tensor([4, 5, 6])
    given = replace_tokens(ids, chosen, places(1000, 20), Masking(), draw(1000), 3, ordinary)
    assert (given[~chosen] == 7).all()
    shares = [float((given[chosen] == number).double().mean()) for number in (3, 7, 4, 5, 6)]
    for share, expected in zip(shares, [0.8, 0.1, *[0.1 / 3] * 3], strict=True):
        assert abs(share - expected) < 0.016  # four standard deviations
    everything = Masking(mask=0.0, random=1.0)
    assert set(replace_tokens(ids, chosen, places(1000, 20), everything, draw(1000), 3, ordinary)[chosen].tolist()) == {
        *(4, 5, 6)
    }


def test_numbers_depend_on_seed_epoch_window_and_place_alone() -> None:
    windows, at = torch.tensor([[5], [9]]), torch.arange(6)[None]
    first = hash_places(3, 1, 0, windows, at)
    assert torch.equal(first[1:], hash_places(3, 1, 0, windows[1:], at))  # whatever else is in the batch
    assert torch.equal(first[:, 2:], hash_places(3, 1, 0, windows, at[:, 2:]))
    others = [hash_places(4, 1, 0, windows, at), hash_places(3, 2, 0, windows, at), hash_places(3, -1, 0, windows, at)]
    others += [hash_places(3, 1, 1, windows, at), hash_places(3, 1, 0, windows + 1, at)]
    assert len(torch.stack([first, *others]).unique()) == 6 * first.numel()
    assert first.min() >= 0
    numbers = uniform_places(0, 0, 0, torch.arange(200)[:, None], torch.arange(200)[None])
    assert 0 <= numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1
    assert abs(float(numbers.mean()) - 0.5) < 0.006
    hash_places(2**32 - 1, 10**6, 0, torch.tensor([2**40]), torch.tensor([1]))  # no number is too large


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 0.0}, "data.masking.share must be above 0 and below 1, such as 0.15, not 0.0"),
        ({"mask": 1.5}, "data.masking.mask is a share from 0 to 1, not 1.5"),
        ({"random": 0.3}, r"mask \(0.8\) and random \(0.3\) are shares of the same tokens, and together more than 1"),
    ],
)
def test_shares_that_there_cannot_be(values: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Masking(**values)  # type: ignore[arg-type]

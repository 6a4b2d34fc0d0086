"""Recurring spans: found as a slow reference finds them, and asked for so that nothing gives the answer away."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.data.batching import TrainingBatchSampler
from qa_lightning.pretraining.datamodule import TextDataModule
from qa_lightning.pretraining.recurring_spans import TokenKinds, search
from qa_lightning.pretraining.span_data import SpanDataset
from tests.pretraining.texts import masked_folder, write_text

Span = tuple[int, ...]


def slowly(tokens: TokenKinds, most: int) -> dict[tuple[int, Span], list[int]]:
    """The first tokens of the occurrences of each span, by its window and ids."""
    spans: dict[tuple[int, Span], list[int]] = defaultdict(list)
    for start in range(len(tokens.ids)):
        for length in range(1, most + 1):
            end = start + length
            if end > len(tokens.ids) or tokens.window[end - 1] != tokens.window[start]:
                break
            if tokens.begins[start] and tokens.ends[end - 1] and tokens.says[start:end].any():
                spans[int(tokens.window[start]), tuple(tokens.ids[start:end].tolist())].append(start)
    apart = {
        (window, span): starts
        for (window, span), starts in spans.items()
        if len(starts) > 1 and all(b - a >= len(span) for a, b in pairwise(starts))
    }
    ranges = {(at, at + len(span)) for (_, span), starts in apart.items() for at in starts}

    def within_longer(start: int, end: int) -> bool:
        return any(a <= start and end <= b and b - a > end - start for a, b in ranges)

    def outside(span: Span, starts: list[int]) -> int:
        return sum(not within_longer(at, at + len(span)) for at in starts)

    return {key: starts for key, starts in apart.items() if outside(key[1], starts) > 1}


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 5), st.integers(1, 6))
def test_spans_are_those_of_the_slow_reference(seed: int, size: int, vocabulary: int, most: int) -> None:
    random = np.random.default_rng(seed)
    tokens = TokenKinds(
        random.integers(0, vocabulary, size),
        np.sort(random.integers(0, 3, size)),
        *(random.random(size) < share for share in (0.8, 0.8, 0.6)),
    )
    found: dict[tuple[int, Span], list[int]] = defaultdict(list)
    rows = np.stack(search(tokens, most)).T.tolist()
    for start, length, _ in rows:
        found[int(tokens.window[start]), tuple(tokens.ids[start : start + length].tolist())].append(start)
    assert found == slowly(tokens, most)
    assert len({(span, int(tokens.window[start])) for start, _, span in rows}) == len(found)
    assert rows == sorted(rows, key=lambda row: (tokens.window[row[0]], row[2], row[0]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spans")
    masked_folder(folder / "model")
    write_text(folder / "text.txt", 30)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> TextDataModule:
    text = str(folder / "text.txt")
    settings = {"max_length": 32, "batch_size": 4, "recurring_spans": {"max_common": 1.0}}
    module = TextDataModule(str(folder / "model"), train_file=text, validation_file=text, **settings)  # type: ignore[arg-type]
    module.setup("fit")
    return module


def test_the_answer_is_what_was_replaced(data: TextDataModule) -> None:
    dataset = data.splits["validation"][0].dataset
    assert isinstance(dataset, SpanDataset)
    assert dataset.questions is not None
    assert len(dataset) > 30
    for batch in data.val_dataloader()[0]:
        assert batch.questions is not None
        assert batch.offsets is not None
        for row, question in enumerate(batch.questions):
            ids, mask = batch.inputs["input_ids"][row], batch.inputs["attention_mask"][row] > 0
            start, end = int(batch.starts[row, 0]), int(batch.ends[row, 0])
            gold = question.context[int(batch.offsets[row, start, 0]) : int(batch.offsets[row, end, 1])]
            assert (gold,) == question.golds
            assert question.gold_spans == ((int(batch.offsets[row, start, 0]), int(batch.offsets[row, end, 1])),)
            assert batch.context_mask[row, start : end + 1].all()
            assert gold[0].isalnum()
            assert gold[-1].isalnum()
            # It stands nowhere else any more, there is at least one question token, and none may be the answer.
            answer = ids[start : end + 1].tolist()
            every = [i for i in range(len(ids)) if ids[i : i + len(answer)].tolist() == answer and mask[i]]
            assert every == [start]
            asks = ids == dataset.question_id
            assert asks.sum() >= 1
            assert torch.equal(batch.question_mask[row], asks)
            assert not (batch.context_mask[row] & asks).any()
            assert ids[0] == 2  # [CLS]
            assert ids[mask][-1] == 3  # [SEP]
            assert (ids[~mask] == 0).all()
            assert "[?]" in question.question


def test_with_question_tokens_filled_in_the_text_is_whole(data: TextDataModule) -> None:
    dataset = data.splits["train"][0].dataset
    assert isinstance(dataset, SpanDataset)
    dataset.follow(TrainingBatchSampler(dataset.lengths, dataset.contexts, 4, seed=0))
    rows = np.arange(8)
    whole, asked = dataset.gather_tokens(rows, int(dataset.lengths[rows].max()), len(rows)), dataset[rows]
    for row in rows.tolist():
        start, end = int(asked.starts[row, 0]), int(asked.ends[row, 0])
        ids = asked.inputs["input_ids"][row]
        filled = [
            part
            for token in ids[asked.inputs["attention_mask"][row] > 0].tolist()
            for part in (ids[start : end + 1].tolist() if token == dataset.question_id else [token])
        ]
        real = whole.inputs["attention_mask"][row] > 0
        assert filled == whole.inputs["input_ids"][row][real].tolist()


def test_epochs_differ_and_come_again(data: TextDataModule) -> None:
    dataset = data.splits["train"][0].dataset
    sampler = TrainingBatchSampler(dataset.lengths, dataset.contexts, 4, seed=0)
    dataset.follow(sampler)  # type: ignore[attr-defined]
    rows = np.arange(len(dataset))
    seen = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        seen.append(dataset[rows].inputs["input_ids"])
        alone = dataset[rows[5:6]].inputs["input_ids"]  # as in another batch
        assert torch.equal(alone[0], seen[-1][5, : alone.shape[1]])
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])

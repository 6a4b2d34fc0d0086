"""Batches of windows in which a recurring span is to be selected (Splinter's objective, Ram et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.windows import Windows, concatenated_ranges
from qa_lightning.pretraining.corpus import Corpus
from qa_lightning.pretraining.random_numbers import hash_places
from qa_lightning.pretraining.recurring_spans import Occurrences
from qa_lightning.pretraining.text_windows import TextDataset
from qa_lightning.records import Batch, Question
from qa_lightning.utils.arrays import IntArray
from qa_lightning.utils.errors import UserError

MASK_TOKEN = "mask_token"  # noqa: S105 - no password
"""What stands for the mask token of a tokenizer, whatever it is called."""

AROUND = 80
"""Characters on each side of a question token that are shown of its text."""


class _Drawn(NamedTuple):
    """One recurring span for each of some windows.

    Attributes:
        kept: The row in `Occurrences` of the occurrence that stays; int64 ``[batch]``.
        window: The place in the batch of each occurrence that does not; int64 ``[others]``.
        other: The row of that occurrence; int64 ``[others]``.
    """

    kept: NDArray[np.int64]
    window: NDArray[np.int64]
    other: NDArray[np.int64]


class SpanDataset(TextDataset):
    """Windows in each of which one recurring span is asked for, in each epoch another one.

    All its occurrences but one are replaced by the question token; the one that stays is the answer.

    Args:
        encoded: The tokens.
        windows: The windows, all of which have a recurring span.
        corpus: The documents.
        occurrences: The recurring spans.
        question_id: The question token.
        training: Whether the windows are to be trained on; else they have questions, which are always the same.
    """

    def __init__(
        self,
        encoded: TokenizedSplit,
        windows: Windows,
        corpus: Corpus,
        occurrences: Occurrences,
        question_id: int,
        *,
        training: bool,
    ) -> None:
        super().__init__(encoded, windows, corpus)
        self.occurrences = occurrences
        self.question_id = question_id
        if not training:
            self.questions = self._ask(corpus)

    def draw(self, rows: IntArray) -> _Drawn:
        """Draws a span of each window (int ``[batch]``), and the occurrence of it that stays."""
        windows, found = torch.from_numpy(np.asarray(rows, dtype=np.int64)), self.occurrences
        numbers = [
            hash_places(self.seed, self.epoch, draw, windows, torch.zeros_like(windows)).numpy() for draw in (0, 1)
        ]
        span = found.spans[rows] + numbers[0] % (found.spans[rows + 1] - found.spans[rows])
        count = np.diff(found.bounds)[span]
        kept = found.bounds[span] + numbers[1] % count
        window = np.repeat(np.arange(len(rows)), count)
        every = found.bounds[span][window] + concatenated_ranges(count)
        other = every != kept[window]
        return _Drawn(kept, window[other], every[other])

    def __getitem__(self, rows: IntArray) -> Batch:
        """The batch of these windows (int ``[batch]``), with the spans that are asked for in the epoch."""
        if not len(rows):
            return super().__getitem__(rows)
        batch, drawn, found = super().__getitem__(rows), self.draw(rows), self.occurrences
        begin, count = len(self.encoded.layout.before), len(rows)
        to_place = begin - self.windows.first[rows].astype(np.int64)
        asked, dropped = (np.zeros(batch.inputs["input_ids"].shape, dtype=bool) for _ in range(2))
        first = found.first[drawn.other] + to_place[drawn.window]
        asked[drawn.window, first] = True
        more = found.length[drawn.other] - 1
        dropped[np.repeat(drawn.window, more), np.repeat(first + 1, more) + concatenated_ranges(more)] = True
        # Rows that only fill up a shape are the first window's again.
        asked[count:], dropped[count:] = asked[0], dropped[0]
        starts = found.first[drawn.kept] + to_place
        starts -= (dropped[:count] & (np.arange(dropped.shape[1]) < starts[:, None])).sum(axis=1)
        ends = starts + found.length[drawn.kept] - 1
        return self._without(batch, *map(torch.from_numpy, (asked, dropped, starts, ends)))

    def _without(self, batch: Batch, asked: Tensor, dropped: Tensor, starts: Tensor, ends: Tensor) -> Batch:
        """Puts question tokens into a batch, and closes the gaps where tokens are dropped."""
        device, count = batch.starts.device, len(batch)
        asked, dropped = asked.to(device), dropped.to(device)
        order = torch.sort(dropped.byte(), dim=1, stable=True).indices
        length = batch.inputs["attention_mask"].sum(1) - dropped.sum(1)
        real = torch.arange(order.shape[1], device=device) < length[:, None]
        layout = self.encoded.layout
        fillers = {"input_ids": layout.pad_id, "attention_mask": 0, "token_type_ids": layout.pad_type}
        inputs = dict(batch.inputs)
        inputs["input_ids"] = torch.where(asked, self.question_id, inputs["input_ids"])
        inputs = {name: torch.where(real, values.gather(1, order), fillers[name]) for name, values in inputs.items()}
        asked = asked.gather(1, order)[:count]
        real = real[:count]
        offsets = batch.offsets
        if offsets is not None:
            offsets = offsets.gather(1, order[:count, :, None].expand_as(offsets))
        return replace(
            batch,
            inputs=inputs,
            question_mask=asked,
            context_mask=batch.context_mask.gather(1, order[:count]) & ~asked & real,
            starts=starts[:, None].to(device),
            ends=ends[:, None].to(device),
            offsets=offsets,
        )

    def _ask(self, corpus: Corpus) -> Sequence[Question]:
        """A question for each window: the text around the first token that asks."""
        drawn, offsets = self.draw(np.arange(len(self))), self.encoded.contexts.offsets
        document, found = self.encoded.context_index, self.occurrences
        base = self.encoded.contexts.bounds[document]

        def characters(occurrence: NDArray[np.int64], window: NDArray[np.int64]) -> list[tuple[int, int]]:
            first = base[window] + found.first[occurrence]
            return list(
                zip(offsets[first, 0].tolist(), offsets[first + found.length[occurrence] - 1, 1].tolist(), strict=True)
            )

        asks = np.flatnonzero(np.diff(drawn.window, prepend=-1))
        questions = []
        asked = characters(drawn.other[asks], drawn.window[asks])
        answers = characters(drawn.kept, np.arange(len(self)))
        for row, ((start, end), answer) in enumerate(zip(asked, answers, strict=True)):
            text = corpus.texts[document[row]]
            around = f"{text[max(0, start - AROUND) : start]}[?]{text[end : end + AROUND]}"
            questions.append(
                Question(
                    row=row,
                    id=self.ids[row],
                    question=" ".join(around.split()),
                    context=text,
                    golds=(text[slice(*answer)],),
                    windows=1,
                    gold_spans=(answer,),
                )
            )
        return questions


def question_token(tokenizer: Any, name: str) -> int:
    """The id of the token that stands for a recurring span.

    Args:
        tokenizer: A fast tokenizer of transformers.
        name: The token, or `MASK_TOKEN`.

    Raises:
        UserError: Where there is none, or the tokenizer fills up rows at their left, as decoders' do.
    """
    whose = tokenizer.name_or_path or type(tokenizer).__name__
    if tokenizer.padding_side == "left":
        raise UserError(f"the tokenizer {whose} is a decoder's: recurring spans are for encoders, as BERT and RoBERTa")
    number = tokenizer.mask_token_id if name == MASK_TOKEN else tokenizer.get_vocab().get(name)
    if number is None and name == MASK_TOKEN:
        raise UserError(f"the tokenizer {whose} has no mask token: set data.question_token to another token of it")
    if number is None:
        raise UserError(f"data.question_token: the tokenizer {whose} has no token {name!r:.40}")
    return int(number)

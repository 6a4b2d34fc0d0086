"""Windows of which some, others in each epoch, are cut from augmented texts, batch by batch as they are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import pad

from qa_lightning.data.augmentation import Augmenter
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.encode import TokenizedSplit, drop_duplicate_golds, select_gold_spans
from qa_lightning.data.gathered_windows import WindowSource, gather_tokens, gather_windows
from qa_lightning.data.splits import Split
from qa_lightning.data.text_edits import SpannedText
from qa_lightning.data.tokens import Tokens, plain_backend, tokenize, tokenize_ids, tokenize_pairs
from qa_lightning.data.windows import Windows, add_gold_windows, cut_windows, holds_whole_gold, locate_golds
from qa_lightning.records import Batch
from qa_lightning.utils.arrays import BoolArray, Int64Array, IntArray

TRIAL = 256
"""Questions that are augmented before training, to see how much longer windows become."""

FITTING = 0.75
"""Share of the augmented questions whose windows have room for all of it; those of the others hold less context."""

LEAST_CONTEXT = 0.5
"""Least share of a window's context that there must be room for beside an augmented question."""


class HasEpoch(Protocol):
    """What knows the epoch that is trained: a batch sampler."""

    epoch: int


@dataclass(frozen=True)
class _Drawn:
    """Questions that are augmented.

    Attributes:
        rows: Their rows in the training set.
        randoms: Where chance comes from, for each of them.
    """

    rows: Sequence[int]
    randoms: Sequence[np.random.Generator]


class AugmentedWindows(WindowDataset):
    """A training set whose windows are, for some questions of each epoch, those of augmented texts.

    Every window of the set is a place, which is the same in every epoch: one that holds an answer, or one that holds
    none. It is filled by such a window of its question's augmented text, or keeps its own where there is none. Batches,
    their shapes and their number are thus known before training. What fills a place depends on the seed, the epoch and
    the question's id alone, and is made when its batch is.

    Args:
        split: The training set.
        augmenter: What changes its questions.
        tokenizer: A fast tokenizer of transformers, which nothing else uses meanwhile.

    Attributes:
        lengths: Most tokens of the window in each place; int64 ``[windows]``.
    """

    builds_on_host = True

    def __init__(self, split: Split, augmenter: Augmenter, tokenizer: Any) -> None:
        base = split.dataset
        super().__init__(base.encoded, base.windows, base.ids, base.questions, base.name)
        self._augmenter = augmenter
        self._backend = plain_backend(tokenizer)
        assert split.config is not None
        self._config = split.config
        self._device = torch.device("cpu")
        self._sampler: HasEpoch | None = None
        contexts = split.table["context"].combine_chunks()
        self._questions = split.table["question"].combine_chunks()
        self._contexts, self._context_of = contexts.dictionary, np.asarray(contexts.indices)
        self._starts, self._ends, self._bounds = select_gold_spans(split.table, self._config.answers)
        self._holds_gold = holds_whole_gold(self.windows, self.encoded.golds)
        context_room = np.zeros(len(self.ids), dtype=np.int64)
        np.maximum.at(context_room, self.windows.example, self.windows.last - self.windows.first)
        self._least_room = np.ceil(LEAST_CONTEXT * context_room).astype(np.int64)
        self.lengths = self._most_tokens()
        # Of each question, the most tokens of a window.
        self._widths = np.zeros(len(self.ids), dtype=np.int64)
        np.maximum.at(self._widths, self.windows.example, self.lengths)

    def follow(self, sampler: HasEpoch) -> None:
        """Takes the epoch from the sampler of the batches."""
        self._sampler = sampler

    def to(self, device: torch.device) -> AugmentedWindows:
        """Sets the device on which batches are wanted."""
        self._device = device
        return self

    def gather(self, rows: IntArray, width: int, height: int) -> Batch:
        """Gathers the batch of the windows in these places, in the sampler's epoch."""
        epoch = 0 if self._sampler is None else self._sampler.epoch
        filled = dict(self._fill(self._draw(np.unique(self.windows.example[rows]), epoch)))
        sources = [filled.get(row) or self._own(row) for row in rows.tolist()]
        encoded, windows = gather_windows(self.encoded.layout, sources)
        gathered = WindowDataset(
            encoded, windows, [self.ids[row] for row in self.windows.example[rows]], name=self.name
        )
        batch = gathered.to(self._device).gather(np.arange(len(rows)), width, height)
        golds = self.columns.starts.shape[1]  # the same in all batches
        return replace(batch, starts=_with_width(batch.starts, golds), ends=_with_width(batch.ends, golds))

    def augmented_text(self, row: int, epoch: int) -> tuple[str, SpannedText]:
        """The augmented question and context of an example, with its answers, as if it were drawn in an epoch."""
        random = self._augmenter.random(self.ids[row], epoch)
        self._augmenter.is_drawn(random)
        return self._augmenter(*self._text(row), random)

    def _text(self, row: int) -> tuple[str, SpannedText]:
        golds = range(self._bounds[row], self._bounds[row + 1])
        spans = tuple((int(self._starts[gold]), int(self._ends[gold])) for gold in golds)
        context = self._contexts[int(self._context_of[row])].as_py()
        return self._questions[row].as_py().lstrip(), SpannedText(context, spans)

    def _own(self, window: int) -> WindowSource:
        columns = (self.windows.example, self.windows.first, self.windows.last)
        return WindowSource(self.encoded, *(int(column[window]) for column in columns))

    def _draw(self, rows: IntArray, epoch: int) -> _Drawn:
        """Draws the questions that are augmented, of some."""
        pairs = [(row, self._augmenter.random(self.ids[row], epoch)) for row in rows.tolist()]
        drawn = [(row, random) for row, random in pairs if self._augmenter.is_drawn(random)]
        return _Drawn([row for row, _ in drawn], [random for _, random in drawn])

    def _most_tokens(self) -> Int64Array:
        """The most tokens of each window, by how much longer the texts of a sample become."""
        rows = np.unique(np.linspace(0, len(self.ids) - 1, TRIAL, dtype=np.int64)).tolist()
        encoded = self._encode(_Drawn(rows, [self._augmenter.random(self.ids[row], None) for row in rows]))
        before, after = (
            split.layout.special_tokens + (split.question_lengths + split.contexts.lengths[split.context_index])[of]
            for split, of in ((self.encoded, rows), (encoded, slice(None)))
        )
        factor = max(1.0, float(np.quantile(after / before, FITTING, method="higher")))
        more = max(0, int(np.quantile(after - before, FITTING, method="higher")))
        most = np.minimum(np.ceil(self.lengths * factor).astype(np.int64), self.lengths + more)
        return np.maximum(self.lengths, np.minimum(most, self._config.max_length))

    def _encode(self, drawn: _Drawn) -> TokenizedSplit:
        """Augments questions, and tokenises them."""
        pairs = zip(drawn.rows, drawn.randoms, strict=True)
        texts = [self._augmenter(*self._text(row), random) for row, random in pairs]
        asked, layout = pa.array([text for text, _ in texts]), self.encoded.layout
        if self.encoded.in_pairs:
            contexts = pa.array([passage.text for _, passage in texts])
            question_tokens, tokens = tokenize_pairs(asked, contexts, layout.question_first, self._backend)
        else:
            question_tokens = tokenize_ids(asked, self._backend)
            tokens = self._context_tokens(drawn.rows, [passage.text for _, passage in texts])
        spans = np.array([span for _, passage in texts for span in passage.spans], dtype=np.int64).reshape(-1, 2)
        counts = [len(passage.spans) for _, passage in texts]
        example = np.arange(len(texts))
        golds = locate_golds(
            spans[:, 0],
            spans[:, 1],
            np.repeat(example, counts),
            np.cumsum([0, *counts], dtype=np.int64),
            tokens,
            np.array([len(passage.text) for _, passage in texts]),
        )
        return TokenizedSplit(
            layout=layout,
            questions=question_tokens,
            question_index=example,
            question_lengths=np.minimum(question_tokens.lengths, self._config.max_question_length),
            contexts=tokens,
            context_index=example,
            golds=drop_duplicate_golds(golds),
            unlabelled=np.zeros(len(texts), dtype=bool),
        )

    def _context_tokens(self, rows: Sequence[int], texts: Sequence[str]) -> Tokens:
        """The tokens of contexts, where they are unchanged those that are there already."""
        own = [self._contexts[int(self._context_of[row])].as_py() for row in rows]
        changed = [number for number, text in enumerate(texts) if text != own[number]]
        sources = [(self.encoded.contexts, int(self.encoded.context_index[row])) for row in rows]
        if changed:
            new = tokenize(pa.array([texts[number] for number in changed]), self._backend)
            for place, number in enumerate(changed):
                sources[number] = new, place
        return gather_tokens(sources)

    def _fill(self, drawn: _Drawn) -> Iterator[tuple[int, WindowSource]]:
        """Augments questions; returns the places that are filled anew, each with its window."""
        if not drawn.rows:
            return
        encoded = self._encode(drawn)
        windows = self._cut(drawn.rows, encoded)
        holds_gold = holds_whole_gold(windows, encoded.golds)
        lengths = encoded.layout.special_tokens + encoded.question_lengths[windows.example]
        lengths += windows.last - windows.first
        rooms = self._widths[drawn.rows] - encoded.layout.special_tokens - encoded.question_lengths
        for number, (row, random) in enumerate(zip(drawn.rows, drawn.randoms, strict=True)):
            own = slice(*np.searchsorted(windows.example, (number, number + 1)))
            is_lost = self._bounds[row] < self._bounds[row + 1] and not holds_gold[own].any()
            if is_lost or rooms[number] < self._least_room[row]:
                continue
            for place, window in self._assign(row, own, holds_gold, random):
                if lengths[window] <= self.lengths[place]:
                    yield place, WindowSource(encoded, number, int(windows.first[window]), int(windows.last[window]))

    def _cut(self, rows: Sequence[int], encoded: TokenizedSplit) -> Windows:
        """Cuts augmented questions into windows that are no longer than the longest of their places."""
        beside = encoded.layout.special_tokens + encoded.question_lengths
        rooms = np.maximum(self._widths[rows] - beside, self._least_room[rows])
        windows = cut_windows(
            encoded.contexts.lengths,
            encoded.question_lengths,
            max_length=rooms + beside,
            doc_stride=np.minimum(self._config.doc_stride, rooms // 2),
            special=encoded.layout.special_tokens,
        )
        return add_gold_windows(windows, encoded.golds, encoded.contexts.lengths, rooms)[0]

    def _assign(
        self, row: int, own: slice, holds_gold: BoolArray, random: np.random.Generator
    ) -> Iterator[tuple[int, int]]:
        """Pairs the places of a question with its new windows of the same kind, of which some are drawn if need be."""
        places = np.arange(*np.searchsorted(self.windows.example, (row, row + 1)))
        candidates = np.arange(own.start, own.stop)
        for kind in (True, False):
            wanted, found = places[self._holds_gold[places] == kind], candidates[holds_gold[candidates] == kind]
            if len(found) > len(wanted):
                found = np.sort(random.permutation(found)[: len(wanted)])
            yield from zip(wanted.tolist(), found.tolist(), strict=False)


def _with_width(places: Tensor, width: int) -> Tensor:
    """Places of golds as so many columns, filled up with -1."""
    return pad(places[:, :width], (0, max(0, width - places.shape[1])), value=-1)

"""Cuts documents into windows of tokens, each an example of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.encode import TokenizedSplit
from qa_lightning.data.layout import read_text_layout
from qa_lightning.data.tokens import TokenIds, plain_backend, tokenize
from qa_lightning.data.windows import GoldSpans, Windows, cut_windows
from qa_lightning.data.word_spans import unicode_word_spans
from qa_lightning.pretraining.corpus import Corpus
from qa_lightning.records import Question, WindowConfig
from qa_lightning.utils.errors import UserError

MOST_TOKENS_OF_A_WORD = 16
"""Words of more tokens, such as addresses of web pages, are left in pieces."""


def cut_documents(
    corpus: Corpus, tokenizer: Any, config: WindowConfig, cache_dir: Path | None, *, words: bool, setting: str
) -> tuple[TokenizedSplit, Windows]:
    """Tokenises documents and cuts them into windows, each an example of its own whose question is empty.

    Args:
        corpus: The documents.
        tokenizer: A fast tokenizer of transformers.
        config: The length of windows, and how many tokens neighbours share.
        cache_dir: Where tokens are kept between runs; None: in memory only.
        words: Whether the words are needed that tokens belong to.
        setting: The setting that names the files, in messages.

    Raises:
        UserError: Where the tokenizer makes no token of the texts, or windows have no room.
    """
    backend = plain_backend(tokenizer)
    texts = pa.array(corpus.texts, pa.large_string())
    tokens = tokenize(texts, backend, cache_dir)
    if not tokens.lengths.any():
        raise UserError(f"{setting}: the tokenizer makes no token of its texts; set data.tokenizer_name to another one")
    layout = read_text_layout(tokenizer, backend, corpus.texts[int(tokens.lengths.argmax())][:10_000])
    special, none = layout.special_tokens, np.zeros(len(corpus.texts), dtype=np.int64)
    if config.max_length - special <= config.doc_stride:
        raise UserError(
            f"data.stride ({config.doc_stride}) leaves no room for windows to move on: max_length "
            f"({config.max_length}) − {special} special tokens = {config.max_length - special}; lower it"
        )
    cut = cut_windows(tokens.lengths, none, max_length=config.max_length, doc_stride=config.doc_stride, special=special)
    cut = cut.select(cut.first < cut.last)
    encoded = TokenizedSplit(
        layout=layout,
        questions=TokenIds(np.zeros(0, np.int32), np.zeros(2, np.int64)),
        question_index=np.zeros(len(cut), np.int64),
        question_lengths=np.zeros(len(cut), np.int64),
        contexts=tokens,
        context_index=cut.example.astype(np.int64),
        golds=GoldSpans.none(len(cut)),
        unlabelled=np.ones(len(cut), dtype=bool),
        words=unicode_word_spans(corpus.texts, tokens, MOST_TOKENS_OF_A_WORD) if words else None,
    )
    return encoded, replace(cut, example=np.arange(len(cut), dtype=np.int32))


def select_windows(
    encoded: TokenizedSplit, windows: Windows, keep: NDArray[np.bool_]
) -> tuple[TokenizedSplit, Windows]:
    """Selects the windows where ``keep`` (bool ``[windows]``) is true."""
    kept = windows.select(keep)
    return encoded.select(keep), replace(kept, example=np.arange(len(kept), dtype=np.int32))


def longest_words(encoded: TokenizedSplit, windows: Windows) -> NDArray[np.int64]:
    """How many tokens the longest word of each window has, 1 where words are not known; int64 ``[windows]``."""
    if encoded.words is None:
        return np.ones(len(windows), dtype=np.int64)
    starts = encoded.words[:, 0].astype(np.int64)
    visible = np.flatnonzero(encoded.contexts.offsets[:, 0] < encoded.contexts.offsets[:, 1])
    begins = np.diff(starts[visible], prepend=-1) != 0
    word = begins.cumsum() - 1
    sizes = np.ones(len(starts) + 1, dtype=np.int64)  # with one behind the last token, where the last window may end
    sizes[visible] = np.bincount(word)[word]
    begin = encoded.contexts.bounds[encoded.context_index[windows.example]] + windows.first
    limits = np.stack([begin, begin + windows.last - windows.first], axis=1).ravel()
    longest: NDArray[np.int64] = np.maximum.reduceat(sizes, limits)[::2]
    return longest


class TextDataset(WindowDataset):
    """The windows of plain text, which a subclass makes something of that can be predicted, anew in each epoch.

    Args:
        encoded: The tokens.
        windows: The windows.
        corpus: The documents.
        questions: What is asked of each window; None where nothing is, or in training.

    Attributes:
        sampler: The batch sampler of a training, which knows the epoch; None: what is predicted is always the same.
    """

    def __init__(
        self, encoded: TokenizedSplit, windows: Windows, corpus: Corpus, questions: Sequence[Question] | None = None
    ) -> None:
        ids = [
            f"{corpus.names[document]}-{first}"
            for document, first in zip(encoded.context_index.tolist(), windows.first.tolist(), strict=True)
        ]
        super().__init__(encoded, windows, ids, questions)
        self.sampler: Any = None
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0))

    def follow(self, sampler: Any) -> None:
        """Makes batches those of a training, of the epoch that its batch sampler is in."""
        self.sampler = sampler

    @property
    def epoch(self) -> int:
        """The epoch that batches are built for; -1 where it plays no part."""
        return -1 if self.sampler is None else int(self.sampler.epoch)

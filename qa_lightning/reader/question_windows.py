"""Makes the windows of the questions that a Reader is asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.encode import FindWords, encode_pairs
from qa_lightning.data.tokens import plain_backend
from qa_lightning.data.word_spans import tokenizer_word_spans, unicode_word_spans
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.settings import Settings
from qa_lightning.records import Question
from qa_lightning.utils.arrays import IntArray
from qa_lightning.utils.errors import UserError

ANY_LENGTH = (1 << 31) - 1
"""Most tokens of a question that is not truncated."""


def make_windows(
    pairs: Sequence[Pair], settings: Settings, tokenizer: Any, longest: int | None, null_at_end: bool = False
) -> WindowDataset:
    """Tokenises questions with their contexts, each distinct text once, and cuts them as validation does.

    Args:
        pairs: The questions with their contexts, at least one.
        settings: How they are to be answered.
        tokenizer: A fast tokenizer of transformers.
        longest: How many tokens the model has positions for; None: any number.
        null_at_end: Whether null is scored at a special token that ends every window; not with ``legacy``.

    Raises:
        UserError: Where they fit neither the model nor the tokenizer.
    """
    questions, contexts = zip(*pairs, strict=True)
    encoded = encode_pairs(
        pa.array(questions),
        pa.array(contexts).dictionary_encode(),
        tokenizer,
        max_question_length=ANY_LENGTH if settings.legacy else settings.max_question_len,
        raw=settings.legacy,
        null_at_end=null_at_end and not settings.legacy,
        words=_word_finder(settings, tokenizer),
        fallback_pair=("who", "somebody"),
    )
    if settings.handle_impossible_answer:
        encoded.layout.require_null(tokenizer, "set handle_impossible_answer=False")
    max_length, doc_stride = settings.lengths(longest, tokenizer, encoded.layout.special_tokens)
    lengths = encoded.contexts.lengths[encoded.context_index], encoded.question_lengths
    if settings.legacy:
        _check_room(questions, *lengths, max_length - encoded.layout.special_tokens, doc_stride)
    windows = encoded.cut(max_length, doc_stride)
    counts = np.bincount(windows.example, minlength=len(pairs)).tolist()
    asked = [
        Question(row, str(row), question, context, None, count)
        for row, ((question, context), count) in enumerate(zip(pairs, counts, strict=True))
    ]
    return WindowDataset(encoded, windows, [question.id for question in asked], asked)


def _check_room(questions: Sequence[str], contexts: IntArray, lengths: IntArray, tokens: int, doc_stride: int) -> None:
    """Checks that questions leave room for their contexts, as the tokenizers of the former pipeline did."""
    room = tokens - lengths
    wrong = np.flatnonzero((contexts > room) & (room <= doc_stride))
    if len(wrong):
        first = int(wrong[0])
        raise UserError(
            f"the question {questions[first][:60]!r} has {lengths[first]} tokens, which leaves {max(0, room[first])} "
            f"of a window for its context, no more than doc_stride ({doc_stride}); lower doc_stride, raise "
            "max_seq_len, or leave out legacy, with which questions are not cut"
        )


def _word_finder(settings: Settings, tokenizer: Any) -> FindWords | None:
    if not settings.align_to_words:
        return None
    if settings.legacy:
        return partial(tokenizer_word_spans, plain_backend(tokenizer))
    return partial(unicode_word_spans, most_tokens=settings.max_answer_len)

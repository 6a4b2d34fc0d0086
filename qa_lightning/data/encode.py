"""Encodes a table of examples: tokens, and the token spans to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lightning.data.layout import Layout, read_layout, with_null_at_end
from qa_lightning.data.tokens import TokenIds, Tokens, plain_backend, tokenize, tokenize_ids, tokenize_pairs
from qa_lightning.data.windows import GoldSpans, Windows, cut_windows, locate_golds
from qa_lightning.utils.arrays import IntArray
from qa_lightning.utils.errors import UserError

AnswerChoice = Literal["first", "most_frequent", "all"]

FindWords = Callable[[Sequence[str], Tokens], NDArray[np.int32]]
"""From texts and their tokens to the characters of the word that each token belongs to, as `TokenizedSplit.words`."""

AnyTokens = TypeVar("AnyTokens", bound=TokenIds)

_CHECKED_PAIRS = 32
"""Pairs that the layout is checked on."""

_CHECKED_CHARACTERS = 1 << 20
"""Most characters of their contexts; one pair is checked in any case."""


@dataclass(frozen=True)
class TokenizedSplit:
    """The tokens of a split, which windows are cut from.

    Attributes:
        layout: How question and context are joined.
        questions: Tokens of the distinct questions.
        question_of: Each example's row in ``questions``; ``[examples]``.
        question_lengths: Tokens of each example's question, cut ones as cut; int64 ``[examples]``.
        contexts: Tokens of the distinct contexts.
        context_of: Each example's row in ``contexts``; ``[examples]``.
        golds: Token spans to train on, by example.
        unlabelled: Examples that have answers of which none could be located, or whose answers are unknown;
            bool ``[examples]``.
        words: Characters of the context's word that each of its tokens belongs to, end exclusive: int32
            ``[tokens, 2]``; None where answers need not be made of whole words.
        in_pairs: Whether each question was tokenised together with its context, as the tokenizer lets a text depend on
            the one beside it; each example then has rows of its own in ``questions`` and ``contexts``.
    """

    layout: Layout
    questions: TokenIds
    question_index: IntArray
    question_lengths: NDArray[np.int64]
    contexts: Tokens
    context_index: IntArray
    golds: GoldSpans
    unlabelled: NDArray[np.bool_]
    words: NDArray[np.int32] | None = None
    in_pairs: bool = False

    def cut(self, max_length: int, doc_stride: int) -> Windows:
        """Cuts all examples into windows.

        Args:
            max_length: Most tokens of a window, including special tokens.
            doc_stride: Context tokens that neighbouring windows share.
        """
        return cut_windows(
            self.contexts.lengths[self.context_index],
            self.question_lengths,
            max_length=max_length,
            doc_stride=doc_stride,
            special=self.layout.special_tokens,
        )

    def select(self, keep: NDArray[np.bool_]) -> TokenizedSplit:
        """Selects the examples where ``keep`` (bool ``[examples]``) is true; all tokens stay."""
        counts = np.diff(self.golds.bounds)
        kept = np.repeat(keep, counts)
        bounds = np.concatenate([[0], np.cumsum(counts[keep])])
        return replace(
            self,
            question_index=self.question_index[keep],
            question_lengths=self.question_lengths[keep],
            context_index=self.context_index[keep],
            golds=GoldSpans(self.golds.first[kept], self.golds.last[kept], bounds),
            unlabelled=self.unlabelled[keep],
        )


class _TokenizedColumn(NamedTuple, Generic[AnyTokens]):
    """Each example's text, the tokens of distinct texts, and each example's index in these; ``[examples]``."""

    texts: pa.DictionaryArray
    tokens: AnyTokens
    text_index: NDArray[np.integer]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example's text; int64 ``[examples]``."""
        return self.tokens.lengths[self.text_index]

    def text(self, row: int) -> str:
        return self.texts[row].as_py()

    def ids(self, row: int) -> list[int]:
        text = self.text_index[row]
        return self.tokens.ids[self.tokens.bounds[text] : self.tokens.bounds[text + 1]].tolist()


def encode(
    table: pa.Table,
    tokenizer: Any,
    *,
    max_question_length: int,
    answers: AnswerChoice = "first",
    cache_dir: Path | None = None,
    null_at_end: bool = False,
) -> TokenizedSplit:
    """Tokenises an aligned table of examples, with the token spans to train on.

    Args:
        table: Examples as `sources.EXAMPLES` describes them, with the spans that `alignment.align` adds.
        tokenizer: A fast tokenizer of transformers.
        max_question_length: Most tokens of a question; longer ones are cut.
        answers: Which of several located golds to train on: the first, the one whose text is most frequent
            (the first of equals), or all.
        cache_dir: Where tokens are kept; None: in memory only.
        null_at_end: Whether null is scored at a special token that ends every window.

    Raises:
        UserError: Where the tokenizer cannot be used.
    """
    published = table["context"].combine_chunks()
    encoded = encode_pairs(
        table["question"].combine_chunks(),
        published,
        tokenizer,
        max_question_length=max_question_length,
        cache_dir=cache_dir,
        null_at_end=null_at_end,
    )
    starts, ends, bounds = select_gold_spans(table, answers)
    characters = np.zeros(len(encoded.contexts.lengths), dtype=np.int64)
    characters[encoded.context_index] = np.asarray(pc.utf8_length(published.dictionary))[published.indices]
    in_context = np.repeat(encoded.context_index, np.diff(bounds))
    golds = locate_golds(starts, ends, in_context, bounds, encoded.contexts, characters)
    unanswerable = np.asarray(pc.fill_null(pc.equal(pc.list_value_length(table["gold_texts"]), 0), False))
    return replace(encoded, golds=drop_duplicate_golds(golds), unlabelled=(np.diff(golds.bounds) == 0) & ~unanswerable)


def encode_pairs(
    questions: pa.StringArray,
    contexts: pa.DictionaryArray,
    tokenizer: Any,
    *,
    max_question_length: int,
    cache_dir: Path | None = None,
    words: FindWords | None = None,
    fallback_pair: tuple[str, str] | None = None,
    raw: bool = False,
    null_at_end: bool = False,
) -> TokenizedSplit:
    """Tokenises questions with their contexts, each distinct one once; none of them is labelled.

    Args:
        questions: Questions.
        contexts: The context of each.
        tokenizer: A fast tokenizer of transformers.
        max_question_length: Most tokens of a question; longer ones are cut.
        cache_dir: Where tokens are kept; None: in memory only.
        words: How to find the words that the contexts' tokens belong to; None: words are not needed.
        fallback_pair: A question and a context that show how the tokenizer joins texts, where it makes no token of
            ``questions`` or ``contexts``.
        raw: Whether white space in front of questions stays, and characters of tokens are the tokenizer's own, with
            white space at their edges and without marks that it drops.
        null_at_end: Whether null is scored at a special token that ends every window.

    Raises:
        UserError: Where the tokenizer cannot be used.
    """
    backend = plain_backend(tokenizer)
    stripped = (questions if raw else pc.utf8_ltrim_whitespace(questions)).dictionary_encode()
    texts: Any = contexts.dictionary
    question = _TokenizedColumn(
        stripped, tokenize_ids(stripped.dictionary, backend, cache_dir), np.asarray(stripped.indices)
    )
    context = _TokenizedColumn(contexts, tokenize(texts, backend, cache_dir, raw), np.asarray(contexts.indices))
    # The layout is read off the pair that has most to show.
    probe = int(np.argmax(np.minimum(question.lengths, context.lengths)))
    probe_pair = (question.text(probe), context.text(probe))
    if fallback_pair is not None and not min(question.lengths[probe], context.lengths[probe]):
        probe_pair = fallback_pair
    layout = read_layout(tokenizer, backend, *probe_pair)
    in_pairs = not _layout_matches(layout, backend, question, context)
    if in_pairs:
        # This tokenizer lets a text depend on the one beside it: keep every pair's own tokens.
        texts = contexts
        of_questions, of_contexts = tokenize_pairs(stripped, texts, layout.question_first, backend, cache_dir)
        question = _TokenizedColumn(stripped, of_questions, np.arange(len(questions)))
        context = _TokenizedColumn(contexts, of_contexts, np.arange(len(questions)))
        if not _layout_matches(layout, backend, question, context):
            raise UserError(
                f"the tokenizer {type(tokenizer).__name__} does not join question and context in the same way each "
                "time; set tokenizer_name to another one"
            )
    return TokenizedSplit(
        layout=with_null_at_end(layout, tokenizer) if null_at_end else layout,
        questions=question.tokens,
        question_index=question.text_index,
        question_lengths=np.minimum(question.lengths, max_question_length),
        contexts=context.tokens,
        context_index=context.text_index,
        golds=GoldSpans.none(len(questions)),
        unlabelled=np.ones(len(questions), dtype=bool),
        words=None if words is None else words(texts.to_pylist(), context.tokens),
        in_pairs=in_pairs,
    )


def select_gold_spans(
    table: pa.Table, answers: AnswerChoice
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Selects the located golds that are trained on.

    Args:
        table: Aligned examples, with the schema `alignment.ALIGNED`.
        answers: Which of several located golds: ``first``, ``most_frequent`` or ``all``; see `encode`.

    Returns:
        First characters and ends (exclusive) of the spans, int64 ``[golds]``, and where each example's begin,
        int64 ``[examples + 1]``.
    """
    lists = [table[name].combine_chunks() for name in ("gold_texts", "span_starts", "span_ends")]
    texts, starts, ends = map(pc.list_flatten, lists)
    example = np.asarray(pc.list_parent_indices(lists[0]))
    chosen = np.flatnonzero(pc.is_valid(starts))
    if answers == "most_frequent":
        # An example's most frequent text comes first, of equals the earliest.
        distinct = texts.dictionary_encode()
        pairs = example[chosen] * len(distinct.dictionary) + np.asarray(distinct.indices)[chosen]
        _, pair, count = np.unique(pairs, return_inverse=True, return_counts=True)
        chosen = chosen[np.lexsort((chosen, -count[pair], example[chosen]))]
    if answers != "all":
        chosen = chosen[np.diff(example[chosen], prepend=-1) > 0]
    counts = np.bincount(example[chosen], minlength=len(table))
    firsts, lasts = (np.asarray(column.take(chosen)).astype(np.int64) for column in (starts, ends))
    return firsts, lasts, np.concatenate([[0], np.cumsum(counts)])


def drop_duplicate_golds(golds: GoldSpans) -> GoldSpans:
    """Drops golds that cover the same tokens of the same example as another, which would count twice."""
    example = np.repeat(np.arange(len(golds.bounds) - 1), np.diff(golds.bounds))
    _, index = np.unique(np.stack([example, golds.first, golds.last]), axis=1, return_index=True)
    index.sort()
    counts = np.bincount(example[index], minlength=len(golds.bounds) - 1)
    return GoldSpans(golds.first[index], golds.last[index], np.concatenate([[0], np.cumsum(counts)]))


def _layout_matches(
    layout: Layout, backend: Any, questions: _TokenizedColumn[TokenIds], contexts: _TokenizedColumn[Tokens]
) -> bool:
    """Whether the tokens, joined by the layout, are what the tokenizer makes of real pairs, a few of them."""
    first, second = (questions, contexts) if layout.question_first else (contexts, questions)
    rows = np.unique(np.linspace(0, len(first.text_index) - 1, _CHECKED_PAIRS, dtype=int)).tolist()
    characters = np.cumsum([len(contexts.text(row)) for row in rows])
    rows = rows[: max(1, int(np.searchsorted(characters, _CHECKED_CHARACTERS, side="right")))]
    pairs = backend.encode_batch([(first.text(row), second.text(row)) for row in rows])
    return all(
        pair.ids == layout.assemble(first.ids(row), second.ids(row)) for row, pair in zip(rows, pairs, strict=True)
    )

"""The layout of a tokenizer: where it puts question, context and special tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class Layout:
    """The layout of a question and a context in one sequence: ``before · first · between · second · after``.

    Attributes:
        question_first: Whether the question is the first of the two texts.
        before: Ids of the special tokens in front of the first text.
        between: Ids of those between the two.
        after: Ids of those behind the second.
        types: Token types of the five parts, one number for each of their tokens (for a text: one for all of
            it), in the order of the sequence; None for models without token types.
        null: Where null is scored: which of the three groups, and which of its tokens; None where there is no
            special token at all.
        pad_id: The id that fills a row.
        pad_type: The token type that fills a row.
        pad_left: Whether a row is filled at its left.
    """

    question_first: bool
    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[tuple[int, ...], ...] | None
    null: tuple[int, int] | None
    pad_id: int
    pad_type: int
    pad_left: bool

    @property
    def special_tokens(self) -> int:
        """The number of special tokens in a window."""
        return len(self.before) + len(self.between) + len(self.after)

    def require_null(self, tokenizer: Any, advice: str) -> None:
        """Refuses a layout without a special token where questions may be left unanswered.

        Args:
            tokenizer: The tokenizer of the layout.
            advice: What to do, as the end of a sentence.

        Raises:
            UserError: Where null cannot be scored.
        """
        if self.null is None:
            name = type(tokenizer).__name__
            raise UserError(
                f"the tokenizer {name} adds no special token at which 'no answer' could be scored; {advice}"
            )

    def assemble(self, first: Sequence[int], second: Sequence[int]) -> list[int]:
        """Joins the ids of two texts into one unpadded window."""
        return [*self.before, *first, *self.between, *second, *self.after]


def read_layout(tokenizer: Any, backend: Any, question: str, context: str) -> Layout:
    """Reads a tokenizer's layout off its encoding of a question and a context.

    Args:
        tokenizer: A fast tokenizer of transformers.
        backend: Its plain backend (`tokens.plain_backend`).
        question: A question with at least one token.
        context: A context with at least one token.

    Raises:
        UserError: Where the tokenizer makes nothing of a text, or does not put the two one behind the other,
            each in one piece, so that windows cannot be cut.
    """
    # Left-padding tokenizers belong to two kinds of model: those that put their classification token last and
    # are fed the context first, as transformers' example does (XLNet), and causal decoders, which have no such
    # token and whose context must see the question.
    question_first = tokenizer.padding_side == "right" or tokenizer.cls_token_id is None
    first, second = (question, context) if question_first else (context, question)
    encoding = backend.encode(first, second)
    name = type(tokenizer).__name__
    places = [[i for i, sequence in enumerate(encoding.sequence_ids) if sequence == which] for which in (0, 1)]
    if not all(places):
        raise UserError(
            f"the tokenizer {name} produces no tokens for one of the texts {first!r:.40} and {second!r:.40}, the "
            "longest there are; look at the data, or set tokenizer_name to another one"
        )
    (a, b), (c, d) = ((of_text[0], of_text[-1] + 1) for of_text in places)
    if places != [list(range(a, b)), list(range(c, d))] or c < b:
        raise UserError(
            f"the tokenizer {name} does not join question and context one after the other, each in one piece; "
            "set tokenizer_name to another one"
        )
    ids, types = tuple(encoding.ids), tuple(encoding.type_ids)
    groups = (ids[:a], ids[b:c], ids[d:])
    has_types = "token_type_ids" in tokenizer.model_input_names
    pad_id = tokenizer.pad_token_id
    return Layout(
        question_first=question_first,
        before=groups[0],
        between=groups[1],
        after=groups[2],
        types=(types[:a], types[a : a + 1], types[b:c], types[c : c + 1], types[d:]) if has_types else None,
        null=_null_token(groups, tokenizer.cls_token_id),
        pad_id=pad_id if pad_id is not None else (tokenizer.eos_token_id or 0),
        pad_type=tokenizer.pad_token_type_id,
        pad_left=tokenizer.padding_side == "left",
    )


def read_text_layout(tokenizer: Any, backend: Any, text: str) -> Layout:
    """Reads a tokenizer's layout off its encoding of one text, which is the context of an empty question.

    Args:
        tokenizer: A fast tokenizer of transformers.
        backend: Its plain backend (`tokens.plain_backend`).
        text: A text with at least one token.
    """
    encoding = backend.encode(text)
    places = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == 0]
    begin, end = places[0], places[-1] + 1
    ids, types = tuple(encoding.ids), tuple(encoding.type_ids)
    has_types = "token_type_ids" in tokenizer.model_input_names
    pad_id = tokenizer.pad_token_id
    of_text = types[begin : begin + 1]
    return Layout(
        question_first=True,
        before=ids[:begin],
        between=(),
        after=ids[end:],
        types=(types[:begin], of_text, (), of_text, types[end:]) if has_types else None,
        null=_null_token((ids[:begin], (), ids[end:]), tokenizer.cls_token_id),
        pad_id=pad_id if pad_id is not None else (tokenizer.eos_token_id or 0),
        pad_type=tokenizer.pad_token_type_id,
        pad_left=tokenizer.padding_side == "left",
    )


def with_null_at_end(layout: Layout, tokenizer: Any) -> Layout:
    """Moves null to the special token that ends every window, and adds one where there is none.

    A causal decoder sees in each token what stands before it, so that only such a token has seen question and context.
    (The context's last token has, too, but can be an answer: scored there, null and that answer were one.)

    Args:
        layout: What `read_layout` returned.
        tokenizer: The same tokenizer.
    """
    if layout.after:
        return replace(layout, null=(2, len(layout.after) - 1))
    if tokenizer.eos_token_id is None:
        return layout
    types = None if layout.types is None else (*layout.types[:4], layout.types[3])
    return replace(layout, after=(int(tokenizer.eos_token_id),), types=types, null=(2, 0))


def _null_token(groups: Sequence[Sequence[int]], classification: int | None) -> tuple[int, int] | None:
    """Where null is scored: at the classification token where there is one, else at the first special token."""
    places = [(g, i) for g, group in enumerate(groups) for i in range(len(group))]
    of_kind = [(g, i) for g, i in places if groups[g][i] == classification]
    return next(iter(of_kind or places), None)

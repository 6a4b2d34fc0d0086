"""A text with spans in it, and changes of the text that carry the spans along: the algebra of augmentation."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from qa_lightning.data.folding import Span


@dataclass(frozen=True, slots=True)
class SpannedText:
    """A text, and spans of it that are followed through its changes.

    Attributes:
        text: The text.
        spans: Start and end of each span in characters, end exclusive; none is empty.
    """

    text: str
    spans: tuple[Span, ...] = ()

    def texts(self) -> tuple[str, ...]:
        """The text of each span."""
        return tuple(self.text[start:end] for start, end in self.spans)

    def splits_span(self, place: int) -> bool:
        """Whether a place lies within a span: behind its first character, and before its end."""
        return any(start < place < end for start, end in self.spans)


class Edit(NamedTuple):
    """One change of a text: the characters from ``start`` to ``end`` (exclusive) become ``text``."""

    start: int
    end: int
    text: str


def apply_edits(passage: SpannedText, edits: Sequence[Edit]) -> SpannedText:
    """Makes changes, and carries the spans along.

    What lies within a span stays in it, changed as it was; what is inserted at its border stays outside.

    Args:
        passage: The text and its spans.
        edits: Changes that do not overlap, in the order of the text, counted in the text as it is before all of them.
            Each lies within a span or outside, never across its border.

    Raises:
        ValueError: Where they are not like that.
    """
    if not edits:
        return passage
    if any(first.end > second.start for first, second in pairwise(edits)):
        raise ValueError("edits overlap, or are not in the order of the text")
    begins, ends = [edit.start for edit in edits], [edit.end for edit in edits]
    # How much longer the text is behind so many of the edits.
    growth = [0, *accumulate(len(edit.text) - (edit.end - edit.start) for edit in edits)]

    def carry(span: Span) -> Span:
        before, until = bisect_right(ends, span[0]), bisect_left(begins, span[1])
        if (before < len(edits) and begins[before] < span[0]) or (until and ends[until - 1] > span[1]):
            raise ValueError("an edit lies across the border of a span")
        return span[0] + growth[before], span[1] + growth[until]

    pieces, done = [], 0
    for edit in edits:
        pieces += [passage.text[done : edit.start], edit.text]
        done = edit.end
    return SpannedText("".join([*pieces, passage.text[done:]]), tuple(map(carry, passage.spans)))


def rearrange(passage: SpannedText, ranges: Sequence[Span]) -> SpannedText:
    """Puts the parts of a text into another order, and carries the spans along.

    Args:
        passage: The text and its spans, each of which lies within one part.
        ranges: Start and end of each part, in the new order.

    Raises:
        ValueError: Where a span lies in none of the parts.
    """
    moved = list(accumulate((end - start for start, end in ranges), initial=0))

    def carry(span: Span) -> Span:
        for (start, end), place in zip(ranges, moved, strict=False):
            if start <= span[0] and span[1] <= end:
                return place + span[0] - start, place + span[1] - start
        raise ValueError("a span lies in none of the parts")

    text = "".join(passage.text[start:end] for start, end in ranges)
    return SpannedText(text, tuple(map(carry, passage.spans)))

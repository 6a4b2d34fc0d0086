"""Finds the sentence that an answer stands in, in any language."""

from __future__ import annotations

from typing import NamedTuple

import regex

_END = regex.compile(
    r"""
    # What ends a sentence in any script (Unicode's Sentence_Break), with the quotes and brackets that it closes; ...
    (?: \p{SB=STerm} (?: \p{SB=STerm} | \p{SB=ATerm} | (?! [\p{Ps}\p{Pi}]\S ) \p{SB=Close} )*+ \s*+
    # ... a full stop only before white space, and not behind an initial, as in "J. Smith" ...
      | (?<! \b \p{Lu} ) \p{SB=ATerm}++ \p{SB=Close}*+ (?: \s++ | \Z )
    )
    # ... and neither where the sentence goes on in lower case or with a comma: "etc. and", "Why? she asked".
    (?! [\p{Ll}\p{SB=SContinue}] )
    # Lines may be broken anywhere, but not paragraphs.
    | \n\s*\n
    """,
    regex.VERBOSE,
)
_WORD_BORDER = regex.compile(r"\b", regex.WORD)


def sentence_borders(text: str) -> list[int]:
    """Finds where sentences begin, from 0 on, and the text's end, ascending; white space belongs to what it follows."""
    return sorted({0, *(found.end() for found in _END.finditer(text)), len(text)})


class Excerpt(NamedTuple):
    """An answer with what stands around it: the three together are a sentence, or part of a long one."""

    before: str
    answer: str
    after: str


def excerpt(text: str, start: int, end: int, room: int = 200) -> Excerpt:
    """Finds the sentence, or the sentences, that a span stands in.

    Args:
        text: The whole text.
        start: First character of the span.
        end: Its end, exclusive.
        room: Characters that either side may have; of a longer one the nearest words are kept, and … marks the rest.
    """
    borders = sentence_borders(text)
    before = text[max(border for border in borders if border <= start) : start].lstrip()
    after = text[end : min(border for border in borders if border >= end)].rstrip()
    if len(before) > room:
        cut = next((found.start() for found in _WORD_BORDER.finditer(before, len(before) - room)), len(before))
        before = f"…{before[cut:].lstrip()}"
    if len(after) > room:
        borders = [found.start() for found in _WORD_BORDER.finditer(after[: room + 3])]  # what follows decides, too
        cut = max((border for border in borders if border <= room), default=0)
        after = f"{after[:cut].rstrip()}…"
    return Excerpt(before, text[start:end], after)

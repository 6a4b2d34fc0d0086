"""Folds texts (case, white space, Unicode form, entities), with a map back to the original."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

Span = tuple[int, int]


class Fold(NamedTuple):
    """A fold: a function that maps similar texts to the same text.

    Attributes:
        apply: Folds a text.
        split: Cuts a text into pieces that can be folded one by one: joined, ``apply`` of the pieces is
            ``apply`` of the text.
    """

    apply: Callable[[str], str]
    split: Callable[[str], list[str]]


_SPACES = re.compile(r"\s+")
_ENTITY = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|\w+);")
_SPACES_OR_CHARACTER = re.compile(r"\s+|\S")
_ENTITY_OR_CHARACTER = re.compile(f"{_ENTITY.pattern}|.", re.DOTALL)


@cache
def _may_combine(character: str) -> bool:
    """Whether normalisation may join the character to what stands before it: marks and trailing jamo."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first).startswith("M") or "\u1160" <= first <= "\u11ff"


def _clusters(text: str) -> list[str]:
    """Runs of characters that normalisation joins with none outside of the run."""
    bounds = [at for at, character in enumerate(text) if at and not _may_combine(character)]
    return [text[start:end] for start, end in zip([0, *bounds], [*bounds, len(text)], strict=True)]


CASE = Fold(str.casefold, list)
"""Full case folding: `Straße` as `strasse`."""

WHITESPACE = Fold(lambda text: _SPACES.sub(" ", text), _SPACES_OR_CHARACTER.findall)
"""Every run of white space as one space."""

UNICODE = Fold(lambda text: unicodedata.normalize("NFKC", text), _clusters)
"""Composed, compatibility characters replaced: NFKC."""

ENTITIES = Fold(lambda text: _ENTITY.sub(lambda match: html.unescape(match[0]), text), _ENTITY_OR_CHARACTER.findall)
"""HTML's entities as what they stand for: `&quot;` as `"`; those without a semicolon stay."""


def fold(text: str, folds: Sequence[Fold]) -> str:
    """Applies folds to a text, in their order."""
    for step in folds:
        text = step.apply(text)
    return text


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text and where each of its characters comes from.

    Attributes:
        text: The folded text.
        starts: For each of its characters, the first character of the original that it stands for; characters
            that stand for the same piece together (`&quot;`, `ﬁ`) all have the piece's.
        ends: The same for the end, exclusive.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def find(self, text: str, near: int | None) -> Span | None:
        """Finds a folded text in the original, where it is made of whole pieces.

        Args:
            text: What to look for, folded in the same way; not empty.
            near: A character of the original; of several occurrences, the one that starts nearest to it is
                found, and the first of equally near ones. None: the first.

        Returns:
            Start and end in characters of the original, end exclusive; None where there is none.
        """
        best: Span | None = None
        at = self.text.find(text)
        while at >= 0:
            if self._is_border(at) and self._is_border(at + len(text)):
                span = self.starts[at], self.ends[at + len(text) - 1]
                if near is None:
                    return span
                if best is None or abs(span[0] - near) < abs(best[0] - near):
                    best = span
                if span[0] >= near:  # later ones are only farther away
                    break
            at = self.text.find(text, at + 1)
        return best

    def _is_border(self, at: int) -> bool:
        return at in (0, len(self.text)) or self.starts[at] != self.starts[at - 1]


def fold_with_map(text: str, folds: Sequence[Fold]) -> Folded:
    """Folds a text as `fold` does and maps it back to the original; far slower, so for texts that need it."""
    starts: Sequence[int] = range(len(text))
    ends: Sequence[int] = range(1, len(text) + 1)
    for step in folds:
        pieces: list[str] = []
        new_starts: list[int] = []
        new_ends: list[int] = []
        at = 0
        for piece in step.split(text):
            folded, stop = step.apply(piece), at + len(piece)
            pieces.append(folded)
            if folded == piece:
                new_starts += starts[at:stop]
                new_ends += ends[at:stop]
            else:
                new_starts += [starts[at]] * len(folded)
                new_ends += [ends[stop - 1]] * len(folded)
            at = stop
        text, starts, ends = "".join(pieces), new_starts, new_ends
    return Folded(text, starts, ends)

"""Changes words of a text at random: typos, casing, and words from a table. Pure functions that carry spans along."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import regex

from qa_lightning.data.folding import Span
from qa_lightning.data.text_edits import Edit, SpannedText, apply_edits

Typo = Literal["swap", "drop", "insert", "replace"]
Casing = Literal["lower", "upper", "title"]

_WORD = regex.compile(r"\b\w\S*?\b", regex.WORD)
"""A word by Unicode's rules, with the marks and apostrophes in it."""

_CLUSTER = regex.compile(r"\X")
"""A letter as people see it, with its marks."""

_TRIES = 8
"""How many letters are drawn for a typo, of which the first that does is taken."""

_CASINGS: dict[Casing, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper, "title": str.capitalize}


def add_typos(passage: SpannedText, rate: float, kinds: Sequence[Typo], random: np.random.Generator) -> SpannedText:
    """Adds typos to words that no span touches.

    A letter counts with its combining marks. What is inserted, or put in a letter's place, is another letter of the
    same text, so that it is of the same script. No word loses all of its letters.

    Args:
        passage: The text and its spans.
        rate: Share of the letters that get a typo, each by chance.
        kinds: Which typos; of these, each is drawn equally often. ``swap`` changes places with the next letter.
        random: Where chance comes from.
    """
    text = passage.text
    places = np.flatnonzero(random.random(len(text)) < rate).tolist()
    drawn_kinds = random.integers(len(kinds), size=len(places)).tolist()
    others = random.integers(len(text), size=(len(places), _TRIES)).tolist()
    edits: list[Edit] = []
    for start, end in _words(passage) if places else ():
        first, last = bisect_left(places, start), bisect_left(places, end)
        if first < last:
            typos = {
                places[i]: (kinds[drawn_kinds[i]], [text[place] for place in others[i]]) for i in range(first, last)
            }
            edits += _typos_of_word(text, start, end, typos)
    return apply_edits(passage, edits)


def _typos_of_word(text: str, start: int, end: int, typos: Mapping[int, tuple[Typo, list[str]]]) -> list[Edit]:
    """The edits of a word, from the kind of typo at each place, and what may be inserted or put there."""
    clusters = [found.span() for found in _CLUSTER.finditer(text, start, end)]
    left = sum(text[at].isalpha() for at, _ in clusters)
    edits: list[Edit] = []
    number = 0
    while number < len(clusters):
        at, stop = clusters[number]
        number += 1
        if at not in typos or not text[at].isalpha():
            continue
        kind, others = typos[at]
        if kind == "swap" and number < len(clusters):
            behind = clusters[number][1]
            edits.append(Edit(at, behind, text[stop:behind] + text[at:stop]))
            number += 1
        elif kind == "drop" and left > 1:
            edits.append(Edit(at, stop, ""))
            left -= 1
        elif kind in ("insert", "replace"):
            inserts, letter = kind == "insert", text[at:stop]
            other = next((c for c in others if c.isalpha() and (inserts or c != letter)), "" if inserts else letter)
            edits.append(Edit(stop if inserts else at, stop, other))
    return edits


def change_casing(
    passage: SpannedText, rate: float, kinds: Sequence[Casing], random: np.random.Generator
) -> SpannedText:
    """Changes the casing of words, those of spans among them.

    A word that lies across the border of a span is changed as two words, so that the span's text becomes what it would
    by itself.

    Args:
        passage: The text and its spans.
        rate: Share of the words that are changed, each by chance.
        kinds: Which casings; each is drawn equally often.
        random: Where chance comes from.
    """
    words = [found.span() for found in _WORD.finditer(passage.text)]
    edits = []
    for place in np.flatnonzero(random.random(len(words)) < rate).tolist():
        change = _CASINGS[kinds[int(random.integers(len(kinds)))]]
        for start, end in _cut_at_spans(words[place], passage.spans):
            edits.append(Edit(start, end, change(passage.text[start:end])))
    return apply_edits(passage, edits)


def _cut_at_spans(word: Span, spans: Sequence[Span]) -> list[Span]:
    start, end = word
    borders = sorted({start, end, *(place for span in spans for place in span if start < place < end)})
    return list(pairwise(borders))


def replace_words(
    passage: SpannedText, table: Mapping[str, Sequence[str]], rate: float, random: np.random.Generator
) -> SpannedText:
    """Replaces words that no span touches by words of a table.

    Args:
        passage: The text and its spans.
        table: What may stand for each word, which is given with its case folded. A word that begins with a capital
            letter, or has nothing else, is replaced by one that is written likewise.
        rate: Share of the words with an entry that are replaced, each by chance.
        random: Where chance comes from.
    """
    text = passage.text
    known = [(word, table[key]) for word in _words(passage) if (key := text[slice(*word)].casefold()) in table]
    edits = []
    for place in np.flatnonzero(random.random(len(known)) < rate).tolist():
        (start, end), choices = known[place]
        edits.append(Edit(start, end, _cased_like(text[start:end], choices[int(random.integers(len(choices)))])))
    return apply_edits(passage, edits)


def _cased_like(word: str, other: str) -> str:
    if len(word) > 1 and word.isupper():
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def _words(passage: SpannedText) -> list[Span]:
    """The words that share no character with a span, and do not lie right beside one."""
    words = [found.span() for found in _WORD.finditer(passage.text)]
    for start, end in passage.spans:
        words = [word for word in words if word[1] < start or word[0] > end]
    return words

"""Shuffles the sentences of a text, and inserts others: pure functions that carry spans along."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from qa_lightning.data.folding import Span
from qa_lightning.data.text_edits import Edit, SpannedText, apply_edits, rearrange
from qa_lightning.utils.sentences import sentence_borders


def shuffle_sentences(passage: SpannedText, random: np.random.Generator) -> SpannedText:
    """Puts the sentences of a text into an order by chance; the white space between them stays in its place.

    Sentences that a span lies across stay together.

    Args:
        passage: The text and its spans.
        random: Where chance comes from.
    """
    borders = [place for place in sentence_borders(passage.text) if not passage.splits_span(place)]
    units = list(pairwise(borders))
    bodies = [_without_space(passage, unit) for unit in units]
    order = random.permutation(len(units)).tolist()
    parts: list[Span] = []
    for (start, end), (first, last), other in zip(units, bodies, order, strict=True):
        parts += [(start, first), bodies[other], (last, end)]
    return rearrange(passage, parts)


def _without_space(passage: SpannedText, unit: Span) -> Span:
    """A sentence without the white space around it, but for what belongs to a span."""
    text, (start, end) = passage.text[slice(*unit)], unit
    first, last = end - len(text.lstrip()), start + len(text.rstrip())
    inside = [span for span in passage.spans if start <= span[0] and span[1] <= end]
    return min([first, *(span[0] for span in inside)]), max([first, last, *(span[1] for span in inside)])


def insert_sentence(passage: SpannedText, sentence: str, random: np.random.Generator) -> SpannedText:
    """Inserts a sentence before or behind the sentence that a span stands in, or anywhere where there is no span.

    Args:
        passage: The text and its spans; of several spans, one is drawn.
        sentence: The sentence, without white space around it.
        random: Where chance comes from; decides also between before and behind.
    """
    text, borders = passage.text, sentence_borders(passage.text)
    places = [place for place in borders if not passage.splits_span(place)]
    if passage.spans:
        start, end = passage.spans[random.integers(len(passage.spans))]
        places = [max(p for p in places if p <= start), min(p for p in places if p >= end)]
    place = places[random.integers(len(places))]
    # As sentences of this text are parted; in Chinese, by nothing.
    first = text[: borders[1]] if len(borders) > 2 else " "
    space = first[len(first.rstrip()) :]
    inserted = sentence + space if place < len(text) else space * (text == text.rstrip()) + sentence
    return apply_edits(passage, [Edit(place, place, inserted)])

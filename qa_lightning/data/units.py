"""Finds the unit of a source's offsets: characters, bytes, UTF-16 code units, or those of a slightly different text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qa_lightning.utils.arrays import BoolArray, Int64Array

SAMPLE_GOLDS = 4096
SAMPLE_CHARACTERS = 1 << 22
"""A source is judged by a sample of its contexts with about this many golds or characters."""

BLOCK = 1 << 20
"""Characters whose widths are added up at a time."""

MIN_REPAIRED = 2
"""Fewest golds that another unit must put right."""

MIN_SHIFTED = 3
"""Fewest golds that a shift must put right, which is computed from the golds themselves."""

MAX_SHIFT = 100
"""Most characters of a shift."""

MIN_SHARE_EXPLAINED = 0.9
"""Share of the golds that must stand where another unit has them."""


class _JoinedContexts(NamedTuple):
    """Contexts one behind the other.

    Attributes:
        codes: Their code points; ``[characters]``.
        space: Which of them are white space.
        first: Which of them begin a context.
    """

    codes: NDArray[np.uint32]
    space: BoolArray
    first: BoolArray


CharacterWidths = Callable[[_JoinedContexts], Int64Array]
"""From characters to the width of each in a unit; ``[characters]``."""


def _utf_8_bytes(text: _JoinedContexts) -> Int64Array:
    return np.add.reduce([text.codes >= code for code in (0, 0x80, 0x800, 0x10000)], dtype=np.int64)


def _utf_16_units(text: _JoinedContexts) -> Int64Array:
    return 1 + (text.codes >= 0x10000).astype(np.int64)


def _without_leading_space(text: _JoinedContexts) -> Int64Array:
    """Nothing for the white space that a context begins with."""
    words = np.cumsum(~text.space)
    before = np.maximum.accumulate(np.where(text.first, words - ~text.space, 0))
    return (words > before).astype(np.int64)


def _count_spaces_once(text: _JoinedContexts) -> Int64Array:
    """Nothing for the white space that a context begins with, and one for every other run of it."""
    again = text.space & np.concatenate([[False], text.space[:-1]]) & ~text.first
    return _without_leading_space(text) * ~again


def _count_cr_lf_once(text: _JoinedContexts) -> Int64Array:
    before_lf = np.concatenate([text.codes[1:] == ord("\n"), [False]]) & ~np.concatenate([text.first[1:], [False]])
    return 1 - ((text.codes == ord("\r")) & before_lf).astype(np.int64)


def _count_lf_twice(text: _JoinedContexts) -> Int64Array:
    after_cr = np.concatenate([[False], text.codes[:-1] == ord("\r")]) & ~text.first
    return 1 + ((text.codes == ord("\n")) & ~after_cr).astype(np.int64)


_UNITS: dict[str, CharacterWidths] = {
    "characters": lambda text: np.ones(len(text.codes), dtype=np.int64),
    "UTF-8 bytes": _utf_8_bytes,
    "UTF-16 code units": _utf_16_units,
    "UTF-16 bytes": lambda text: 2 * _utf_16_units(text),
}

_TEXTS: dict[str, CharacterWidths] = {
    "": _UNITS["characters"],
    " of the stripped context": _without_leading_space,
    " with \\r\\n counted once": _count_cr_lf_once,
    " with \\n counted twice": _count_lf_twice,
    " with runs of white space counted once": _count_spaces_once,
}


@dataclass(frozen=True)
class Offsets:
    """The offsets of a source, in characters.

    Attributes:
        starts: The first character of each gold as the source states it; None where it states none.
        note: What there is to say of them, to be put behind "offsets"; empty where they are plain characters.
    """

    starts: list[int | None]
    note: str


def offsets_in_characters(
    texts: Sequence[str], starts: list[int | None], context_index: Int64Array, contexts: Sequence[str]
) -> Offsets:
    """Finds the unit of one source's offsets, and converts them to characters.

    Another unit is taken only where golds do not stand where characters would have them, and it puts nearly all of
    these right without making others wrong.

    Args:
        texts: The golds.
        starts: Their stated offsets; None or negative where none is stated.
        context_index: The context of each, as its place in ``contexts``.
        contexts: The distinct contexts.
    """
    stated = np.fromiter((-1 if start is None else start for start in starts), np.int64, len(starts))
    sample = _sample_golds(context_index, stated >= 0, contexts)
    golds = _StatedGolds([texts[gold] for gold in sample.tolist()], stated[sample], context_index[sample], contexts)
    right = golds.stand_at(golds.starts)
    # A gold that stands nowhere says nothing.
    wrong = np.array([not fine and golds.occurs(gold) for gold, fine in enumerate(right.tolist())], dtype=bool)
    if wrong.sum() < MIN_REPAIRED:
        return Offsets(starts, "")
    found = _find_unit(golds, right, wrong)
    if found is None:
        share = wrong.sum() / (wrong.sum() + right.sum())
        doubtful = share > 0.5 and wrong.sum() > MIN_REPAIRED
        note = f"are in no known unit: {share:.0%} of the golds stand elsewhere than they say"
        return Offsets(starts, note if doubtful else "")
    name, convert = found
    known = np.flatnonzero(stated >= 0)
    golds = _StatedGolds([texts[gold] for gold in known.tolist()], stated[known], context_index[known], contexts)
    converted, _ = convert(golds.starts, golds.context_index, contexts)
    # What stands where plain characters have it, and not by the unit, is one of a few that were written otherwise.
    converted = np.where(golds.stand_at(golds.starts) & ~golds.stand_at(converted), golds.starts, converted)
    all_starts = list(starts)
    for gold, start in zip(known.tolist(), converted.tolist(), strict=True):
        all_starts[gold] = start
    return Offsets(all_starts, f"read as {name}")


def _sample_golds(context_index: Int64Array, stated: BoolArray, contexts: Sequence[str]) -> Int64Array:
    """The golds with an offset of some contexts, drawn by chance but always the same."""
    golds = np.bincount(context_index[stated], minlength=len(contexts))
    order = np.random.default_rng(0).permutation(np.flatnonzero(golds))
    characters = np.array([len(contexts[context]) for context in order.tolist()], dtype=np.int64)
    so_far = np.maximum(np.cumsum(golds[order]) / SAMPLE_GOLDS, np.cumsum(characters) / SAMPLE_CHARACTERS)
    drawn = np.zeros(len(contexts), dtype=bool)
    drawn[order[: np.searchsorted(so_far, 1) + 1]] = True
    return np.flatnonzero(stated & drawn[context_index])


@dataclass(frozen=True)
class _StatedGolds:
    """Golds with a stated offset each."""

    texts: list[str]
    starts: Int64Array
    context_index: Int64Array
    contexts: Sequence[str]

    def stand_at(self, starts: Int64Array) -> BoolArray:
        """Which golds stand at these characters; bool ``[golds]``."""
        rows = zip(self.texts, starts.tolist(), self.context_index.tolist(), strict=True)
        stands = (start >= 0 and self.contexts[number].startswith(text, start) for text, start, number in rows)
        return np.fromiter(stands, bool, len(self.texts))

    def occurs(self, gold: int) -> bool:
        return self.texts[gold] in self.contexts[self.context_index[gold]]

    def shift(self, golds: Int64Array) -> int | None:
        """How far most of these golds stand from their stated offsets; None where too few agree."""
        shifts: Counter[int] = Counter()
        for gold in golds.tolist():
            context, text, start = self.contexts[self.context_index[gold]], self.texts[gold], int(self.starts[gold])
            at = context.find(text, max(0, start - MAX_SHIFT))
            while 0 <= at <= start + MAX_SHIFT:
                shifts[at - start] += 1
                at = context.find(text, at + 1)
        ((shift, count),) = shifts.most_common(1) or [(0, 0)]
        return shift if count >= MIN_SHIFTED else None


Convert = Callable[[Int64Array, Int64Array, Sequence[str]], tuple[Int64Array, BoolArray]]
"""From offsets, the contexts of each and the contexts to characters, and whether a character begins there."""


def _find_unit(golds: _StatedGolds, right: BoolArray, wrong: BoolArray) -> tuple[str, Convert] | None:
    """Finds the unit that puts right the golds which characters do not; None where there is none, or several."""
    best: tuple[str, Convert, Int64Array, BoolArray] | None = None
    unsure = False
    for name, convert in _candidate_units(golds, wrong):
        places, begins = convert(golds.starts, golds.context_index, golds.contexts)
        fits = begins & golds.stand_at(places)
        better, worse = int((fits & wrong).sum()), int((right & ~fits).sum())
        enough = better >= max(MIN_REPAIRED, 0.5 * wrong.sum()) and worse <= 0.1 * better
        if not enough or better + right.sum() - worse < MIN_SHARE_EXPLAINED * (wrong | right).sum():
            continue
        if best is None or fits.sum() > best[3].sum():
            best, unsure = (name, convert, places, fits), False
        elif fits.sum() == best[3].sum():
            unsure |= bool((places != best[2])[fits | best[3]].any())
    return None if best is None or unsure else best[:2]


def _candidate_units(golds: _StatedGolds, wrong: BoolArray) -> Iterator[tuple[str, Convert]]:
    for text, of_text in _TEXTS.items():
        for unit, of_unit in _UNITS.items():
            if text or unit != "characters":
                yield unit + text, partial(_widths_to_characters, (of_unit, of_text))
    shift = golds.shift(np.flatnonzero(wrong))
    if shift is not None:
        name = "counted from 1" if shift == -1 else f"{abs(shift):,} too {'high' if shift < 0 else 'low'}"
        yield f"characters {name}", partial(_shift_to_characters, shift)


def _shift_to_characters(
    shift: int, starts: Int64Array, context_index: Int64Array, contexts: Sequence[str]
) -> tuple[Int64Array, BoolArray]:
    return starts + shift, starts + shift >= 0


def _widths_to_characters(
    factors: tuple[CharacterWidths, CharacterWidths],
    starts: Int64Array,
    context_index: Int64Array,
    contexts: Sequence[str],
) -> tuple[Int64Array, BoolArray]:
    """Converts offsets in a unit to characters; one that points into a character becomes that character."""
    places, begins = starts.copy(), np.zeros(len(starts), dtype=bool)
    order = np.argsort(context_index, kind="stable")
    used = np.unique(context_index)
    run = np.cumsum([len(contexts[context]) for context in used.tolist()]) // BLOCK
    # Some contexts at a time, so that no column is as long as all of them.
    for block in np.split(used, np.flatnonzero(np.diff(run)) + 1):
        golds = order[slice(*np.searchsorted(context_index, (block[0], block[-1] + 1), sorter=order))]
        block_texts = [contexts[context] for context in block.tolist()]
        bounds = np.concatenate([[0], np.cumsum([len(text) for text in block_texts])])
        text = _join_contexts(block_texts, bounds)
        ends = np.concatenate([[0], np.cumsum(factors[0](text) * factors[1](text))])
        of = np.searchsorted(block, context_index[golds])
        wanted = ends[bounds[of]] + starts[golds]
        # What counts nothing stands in front of what begins there.
        at = np.searchsorted(ends, wanted, side="right") - 1
        beyond = np.maximum(wanted - ends[bounds[of + 1]], 0)
        places[golds] = np.minimum(at, bounds[of + 1]) - bounds[of] + beyond
        begins[golds] = (ends[np.minimum(at, bounds[of + 1])] == wanted) & (at < bounds[of + 1])
    return places, begins


def _join_contexts(texts: Sequence[str], bounds: Int64Array) -> _JoinedContexts:
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    distinct, inverse = np.unique(codes, return_inverse=True)
    space = np.array([chr(code).isspace() for code in distinct.tolist()], dtype=bool)[inverse]
    first = np.zeros(len(codes), dtype=bool)
    first[bounds[:-1][np.diff(bounds) > 0]] = True
    return _JoinedContexts(codes, space, first)

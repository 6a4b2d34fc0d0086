"""Aligns gold texts with their contexts, and repairs stated offsets that are wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lightning.data.examples import EXAMPLES, compact
from qa_lightning.data.folding import CASE, ENTITIES, UNICODE, WHITESPACE, Fold, Folded, Span, fold, fold_with_map
from qa_lightning.utils.errors import UserError

OnMisaligned = Literal["repair", "drop", "error"]

ALIGNED = EXAMPLES.append(pa.field("span_starts", pa.list_(pa.int32()))).append(
    pa.field("span_ends", pa.list_(pa.int32()))
)
"""``EXAMPLES`` with the located spans, parallel to ``gold_texts``: characters of the context, end exclusive;
null entries for golds that were not located, null where golds are not known."""

_SEARCHES: dict[str, tuple[Fold, ...]] = {
    "moved": (),
    "case": (CASE,),
    "whitespace": (WHITESPACE,),
    "unicode": (UNICODE,),
    "entities": (ENTITIES,),
    # Folding case can undo the Unicode form, which is restored; what became a space is folded last.
    "folded": (ENTITIES, UNICODE, CASE, UNICODE, WHITESPACE),
}

KINDS = ("exact", "no_offset", *_SEARCHES, "not_found")
"""Possible outcomes of the alignment of a gold; see `AlignmentReport`."""

_EXACT, _NO_OFFSET, _NOT_FOUND = map(KINDS.index, ("exact", "no_offset", "not_found"))


@dataclass(frozen=True)
class AlignmentReport:
    """How the gold answers of a split were aligned.

    Attributes:
        counts: How many golds (not questions: one may have several) are of each kind. ``exact``: the text stands
            where the source says; ``no_offset``: it stands in the context, the source does not say where;
            ``moved``: it stands elsewhere; ``case``, ``whitespace``, ``unicode``, ``entities``: it stands there
            but for these; ``folded``: but for several of them; ``not_found``: it was not located.
        ids: The questions with a gold of each kind but ``exact``, in published order.
        dropped: How many questions training lost because none of their golds was located.
    """

    counts: dict[str, int]
    ids: dict[str, list[str]]
    dropped: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {"golds": self.counts, "dropped_questions": self.dropped, "ids": self.ids}

    def __str__(self) -> str:
        repairs = {kind: self.counts[kind] for kind in _SEARCHES if self.counts[kind]}
        detail = ", ".join(f"{kind} {count:,}" for kind, count in repairs.items())
        parts = {
            "exact": self.counts["exact"],
            "found without an offset": self.counts["no_offset"],
            f"repaired ({detail})": sum(repairs.values()),
            "not found": self.counts["not_found"],
            "questions dropped": self.dropped,
        }
        counted = (f"{count:,} {what}" for what, count in parts.items() if count)
        return ", ".join([f"{sum(self.counts.values()):,} golds", *counted])


def align(
    table: pa.Table, *, on_misaligned: OnMisaligned, training: bool, source: str
) -> tuple[pa.Table, AlignmentReport]:
    """Locates the gold answers in their contexts; the golds themselves stay as published.

    Args:
        table: Examples with the schema ``EXAMPLES``.
        on_misaligned: What is done with a gold that does not stand at its stated offset. ``repair``: it is looked
            for, exactly, then with case, white space, Unicode form and entities folded one at a time, then all
            together; of several places the one nearest to the stated offset, the first of equals. ``drop``: it
            is not located. ``error``: it is refused. A gold without a stated offset is not misaligned if its
            text stands in the context: its first place counts.
        training: Whether answerable questions none of whose golds is located are left out of the table.
        source: The name of the data in messages.

    Returns:
        The table with the schema ``ALIGNED`` (with no rows, if training drops all), and the report.

    Raises:
        UserError: A misaligned gold under ``error``.
    """
    published = table["gold_texts"].combine_chunks()
    question_index = np.asarray(pc.list_parent_indices(published))
    context = table["context"].combine_chunks()
    texts = pc.list_flatten(published)
    kinds, spans = _locate(
        texts,
        pc.list_flatten(table["gold_starts"].combine_chunks()),
        context.dictionary,
        np.asarray(context.indices)[question_index],
        repair=on_misaligned == "repair",
    )
    ids = table["id"].take(question_index)
    wrong = np.flatnonzero(kinds > _NO_OFFSET)
    if on_misaligned == "error" and len(wrong):
        raise UserError(
            f"{source}: {len(wrong)} of {len(texts)} gold answers do not stand where the data says, the first is "
            f"{texts[wrong[0]].as_py()!r:.60} of the id {ids[wrong[0]].as_py()!r:.80}; "
            "set `on_misaligned: repair` or `drop`"
        )

    lengths = np.asarray(pc.fill_null(pc.list_value_length(published), 0))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    found = spans[:, 0] >= 0
    for name, side in (("span_starts", 0), ("span_ends", 1)):
        values = pa.array(spans[:, side], mask=~found)
        table = table.append_column(name, pa.ListArray.from_arrays(offsets, values, mask=published.is_null()))
    dropped = 0
    if training:
        keep = (lengths == 0) | (np.bincount(question_index, found, minlength=len(table)) > 0)
        dropped = int(np.sum(~keep))
        if dropped:
            table = table.filter(pa.array(keep))
            table = compact(table) if len(table) else table
    return table, _report(kinds, ids, dropped)


def _report(kinds: NDArray[np.int8], ids: pa.ChunkedArray, dropped: int) -> AlignmentReport:
    counts = np.bincount(kinds, minlength=len(KINDS)).tolist()
    by_kind = {
        kind: list(dict.fromkeys(ids.take(np.flatnonzero(kinds == number)).to_pylist()))
        for number, kind in enumerate(KINDS)
        if number != _EXACT
    }
    return AlignmentReport(dict(zip(KINDS, counts, strict=True)), by_kind, dropped)


def _locate(
    texts: pa.StringArray,
    stated: pa.Int32Array,
    contexts: pa.StringArray,
    context_index: NDArray[np.int32],
    *,
    repair: bool,
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Kind (its place in ``KINDS``) and span (-1 where there is none) of each gold; ``[golds]`` and ``[golds, 2]``.

    Each is given by its text, stated start and number of its context.
    """
    starts = np.asarray(pc.fill_null(stated, -1))
    unstated = np.asarray(pc.is_null(stated))
    blank = np.asarray(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0))
    words, passages = texts.to_pylist(), contexts.to_pylist()
    rows = zip(words, starts.tolist(), context_index.tolist(), strict=True)
    stands = np.fromiter((passages[number].startswith(text, start) for text, start, number in rows), bool, len(words))
    exact = stands & (starts >= 0) & ~blank
    kinds = np.where(exact, _EXACT, _NOT_FOUND).astype(np.int8)
    spans = np.full((len(words), 2), -1, dtype=np.int32)
    spans[exact, 0] = starts[exact]
    spans[exact, 1] = (starts + np.asarray(pc.utf8_length(texts)))[exact]

    pending = np.flatnonzero(~exact & ~blank & (repair | unstated))
    # Context by context, so that what is folded is folded once and not kept.
    pending = pending[np.argsort(context_index[pending], kind="stable")]
    for number, golds in groupby(pending.tolist(), context_index.__getitem__):
        context = _FoldedContext(passages[number])
        for gold in golds:
            start = None if unstated[gold] else int(starts[gold])
            kind, span = context.search(words[gold], start, _SEARCHES if repair else ["moved"])
            if span is not None:
                kinds[gold], spans[gold] = KINDS.index(kind), span
    return kinds, spans


class _FoldedContext:
    """A context in the foldings that were needed so far."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._folded: dict[str, str] = {}
        self._mapped: dict[str, Folded] = {}

    def search(self, text: str, stated: int | None, kinds: Iterable[str]) -> tuple[str, Span | None]:
        for kind in kinds:
            span = self._find(kind, text, stated)
            if span is not None:
                return ("no_offset" if kind == "moved" and stated is None else kind), span
        return "not_found", None

    def _find(self, kind: str, text: str, stated: int | None) -> Span | None:
        folds = _SEARCHES[kind]
        text = fold(text, folds)
        if WHITESPACE in folds:
            text = text.strip()
        if kind not in self._folded:
            self._folded[kind] = fold(self._text, folds)
        # The way back is worth its price only where there is something to find.
        if not text or text not in self._folded[kind]:
            return None
        if kind not in self._mapped:
            self._mapped[kind] = fold_with_map(self._text, folds)
        return self._mapped[kind].find(text, stated)

"""Golds located, repaired, dropped or refused, and the report on it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_lightning.data.alignment import ALIGNED, KINDS, AlignmentReport, align
from qa_lightning.data.folding import CASE, ENTITIES, UNICODE, WHITESPACE, fold
from qa_lightning.data.sources import EXAMPLES, read_examples
from qa_lightning.utils.errors import UserError

Gold = tuple[str, int | None]


def examples(*questions: tuple[str, list[Gold] | None]) -> pa.Table:
    """Context and golds of each question; the ids are a, b, c, …"""
    contexts = list(dict.fromkeys(context for context, _ in questions))
    golds = [golds for _, golds in questions]
    indices = pa.array([contexts.index(context) for context, _ in questions], pa.int32())
    columns = [
        [chr(ord("a") + number) for number in range(len(questions))],
        ["q?"] * len(questions),
        pa.DictionaryArray.from_arrays(indices, contexts),
        [None if gold is None else [text for text, _ in gold] for gold in golds],
        [None if gold is None else [start for _, start in gold] for gold in golds],
    ]
    return pa.table([pa.array(column, field.type) if isinstance(column, list) else column
                     for column, field in zip(columns, EXAMPLES, strict=True)], schema=EXAMPLES)  # fmt: skip


def run(*questions: tuple[str, list[Gold] | None], **options: Any) -> tuple[pa.Table, AlignmentReport]:
    return align(examples(*questions), **{"on_misaligned": "repair", "training": False, "source": "the data"} | options)


def spans(table: pa.Table) -> list[list[tuple[int, int] | None] | None]:
    return [
        None if starts is None else [None if s is None else (s, e) for s, e in zip(starts, ends, strict=True)]
        for starts, ends in zip(table["span_starts"].to_pylist(), table["span_ends"].to_pylist(), strict=True)
    ]


def locate(context: str, text: str, stated: int | None, **options: Any) -> tuple[str, str | None]:
    """The kind of a single gold, and the characters it was located at."""
    table, report = run((context, [(text, stated)]), **options)
    (kind,) = [kind for kind, count in report.counts.items() if count]
    ((span,),) = spans(table)
    return kind, None if span is None else f"{span[0]}:{context[slice(*span)]}"


@pytest.mark.parametrize(
    ("context", "text", "stated", "kind", "found"),
    [
        ("I saw a cat", "cat", 8, "exact", "8:cat"),
        # Characters are code points, whatever their width in UTF-8 or UTF-16.
        ("🐢🐢👩\u200d🔬 e\u0301 cat", "cat", 9, "exact", "9:cat"),
        ("🐢🐢👩\u200d🔬 e\u0301 cat", "cat", 12, "moved", "9:cat"),
        ("cat", "cat", None, "no_offset", "0:cat"),
        ("a cat, a cat", "cat", None, "no_offset", "2:cat"),
        ("a Cat, a cat", "CAT", None, "case", "2:Cat"),
        # Nearest to the stated offset; at equal distance the first; wrong offsets of every kind.
        ("cat cat cat", "cat", 5, "moved", "4:cat"),
        ("cat cat cat", "cat", 2, "moved", "0:cat"),
        ("cat cat cat", "cat", 99, "moved", "8:cat"),
        ("cat cat cat", "cat", -3, "moved", "0:cat"),
        ("Cat cat", "CAT", 3, "case", "4:cat"),
        ("Cat cat", "CAT", 2, "case", "0:Cat"),
        # An exact place is better than a nearer one by case.
        ("CAT and then a cat", "cat", 0, "moved", "15:cat"),
        ("Die Straße hier", "STRASSE", 4, "case", "4:Straße"),
        ("Die STRASSE hier", "Straße", 4, "case", "4:STRASSE"),
        # Full case folding undoes ligatures and lets İ grow by a dot.
        ("🐢 a ﬁne day", "fine", 4, "case", "4:ﬁne"),
        ("in İzmir now", "i\u0307ZMİR", 0, "not_found", None),
        ("in İZMİR now", "i\u0307zmi\u0307r", 0, "case", "3:İZMİR"),
        ("in İ İs", "s", 4, "moved", "6:s"),
        ("the  big\n\tcat.", "big cat", 4, "whitespace", "5:big\n\tcat"),
        ("the big cat.", " big  cat\n", 4, "whitespace", "4:big cat"),
        ("10\xa0000 km", "10 000", 0, "whitespace", "0:10\xa0000"),
        ("un cafe\u0301 noir", "café", 3, "unicode", "3:cafe\u0301"),
        ("un café noir", "cafe\u0301", 0, "unicode", "3:café"),
        ("🐢 5 ㎞ away", "5 km", 0, "unicode", "2:5 ㎞"),
        ("ＡＢＣ is wide", "ABC", 0, "unicode", "0:ＡＢＣ"),
        ("a &quot;fine&quot; day", '"fine"', 2, "entities", "2:&quot;fine&quot;"),
        ('a "fine" day', "&quot;fine&quot;", 2, "entities", '2:"fine"'),
        ("Q &amp; A", "Q & A", 0, "entities", "0:Q &amp; A"),
        ("Q &#38; A", "Q &amp; A", 0, "entities", "0:Q &#38; A"),
        ("a &quot;Fine&nbsp;day&quot;", '"fine day"', 0, "folded", "2:&quot;Fine&nbsp;day&quot;"),
        ("THE CAFE\u0301\tNOIR", "the café noir", 0, "folded", "0:THE CAFE\u0301\tNOIR"),
        ("Ϊ\u0301", "\u0390", 0, "folded", "0:Ϊ\u0301"),
        # Nothing is covered by half, neither an entity nor a ligature.
        ("a &quot;b", "quot", 3, "exact", "3:quot"),
        ("the ﬁnd", "IND", 4, "not_found", None),
        ("a dog", "cat", 0, "not_found", None),
        ("a dog", " \n", 1, "not_found", None),
        ("a dog", "", 0, "not_found", None),
        ("a dog", "&#1;", 0, "not_found", None),
    ],
)
def test_repair(context: str, text: str, stated: int | None, kind: str, found: str | None) -> None:
    assert locate(context, text, stated) == (kind, found)


def test_drop_looks_for_nothing_but_golds_without_an_offset() -> None:
    assert locate("a cat", "cat", 2, on_misaligned="drop") == ("exact", "2:cat")
    assert locate("a cat", "cat", 1, on_misaligned="drop") == ("not_found", None)
    assert locate("a cat", "cat", None, on_misaligned="drop") == ("no_offset", "2:cat")
    assert locate("a cat", "Cat", None, on_misaligned="drop") == ("not_found", None)


def test_error_names_the_first_and_counts_all() -> None:
    fine: list[Gold] = [("cat", 2), ("cat", None)]
    run(("a cat", fine), ("a cat", []), ("a cat", None), on_misaligned="error")
    with pytest.raises(UserError) as caught:
        run(("a cat", fine), ("a cat", [("cat", 2), ("Cat", 2)]), ("a cat", [("dog", None)]), on_misaligned="error")
    assert str(caught.value) == (
        "the data: 2 of 5 gold answers do not stand where the data says, the first is 'Cat' of the id 'b'; "
        "set `on_misaligned: repair` or `drop`"
    )


QUESTIONS: list[tuple[str, list[Gold] | None]] = [
    ("one cat", [("cat", 4), ("Cat", 4), ("dog", 4)]),
    ("two cats", [("dog", 0)]),
    ("one cat", []),
    ("three cats", [("dog", 0), ("cats", 0)]),
    ("one cat", None),
    ("two cats", [("cats", 4)]),
]
SPANS = [[(4, 7), (4, 7), None], [None], [], [None, (6, 10)], None, [(4, 8)]]


def test_evaluation_keeps_every_question_and_its_golds() -> None:
    table, report = run(*QUESTIONS)
    assert table.select(EXAMPLES.names).equals(examples(*QUESTIONS))
    assert table.schema.equals(ALIGNED, check_metadata=True)
    assert spans(table) == SPANS
    assert report.dropped == 0


def test_training_drops_questions_none_of_whose_golds_is_located() -> None:
    table, report = run(*QUESTIONS, training=True)
    assert table["id"].to_pylist() == ["a", "c", "d", "e", "f"]
    assert table.schema.equals(ALIGNED, check_metadata=True)
    assert spans(table) == SPANS[:1] + SPANS[2:]
    assert table["gold_texts"].to_pylist()[0] == ["cat", "Cat", "dog"]
    assert report.dropped == 1
    table, report = run(("gone", [("dog", 0)]), ("kept", []), training=True)
    assert table["context"].chunk(0).dictionary.to_pylist() == ["kept"]
    table, report = run(("gone", [("dog", 0)]), training=True)
    assert (len(table), report.dropped, table.schema.equals(ALIGNED)) == (0, 1, True)


def test_an_answer_that_training_drops_under_drop() -> None:
    table, report = run(*QUESTIONS, training=True, on_misaligned="drop")
    assert table["id"].to_pylist() == ["a", "c", "e", "f"]
    assert spans(table)[0] == [(4, 7), None, None]
    assert report.dropped == 2


def test_the_report_counts_golds_and_names_questions() -> None:
    _, report = run(*QUESTIONS, training=True)
    assert report.counts == dict.fromkeys(KINDS, 0) | {"exact": 2, "moved": 1, "case": 1, "not_found": 3}
    assert report.to_dict() == {
        "golds": report.counts,
        "dropped_questions": 1,
        "ids": {kind: [] for kind in KINDS[1:]} | {"moved": ["d"], "case": ["a"], "not_found": ["a", "b", "d"]},
    }
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert str(report) == "7 golds, 2 exact, 2 repaired (moved 1, case 1), 3 not found, 1 questions dropped"


def test_the_report_names_a_question_once_for_each_kind() -> None:
    _, report = run(("a cat", [("dog", 0), ("cow", 0)]))
    assert report.ids["not_found"] == ["a"]
    assert report.counts["not_found"] == 2
    assert str(report) == "2 golds, 2 not found"
    assert str(run(("a cat", [("cat", None)]))[1]) == "1 golds, 1 found without an offset"


def test_a_sliced_table_is_aligned_alike() -> None:
    table = examples(*QUESTIONS).slice(1, 3)
    aligned, _ = align(table, on_misaligned="repair", training=False, source="")
    assert spans(aligned) == SPANS[1:4]


# Planted golds: words of a context, changed as a careless pipeline changes them.

CHANGES = {
    "case": str.swapcase,
    "whitespace": lambda text: "\n " + text.replace(" ", "\xa0\t") + " ",
    "unicode": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
}
FOLDS = {"case": CASE, "whitespace": WHITESPACE, "unicode": UNICODE, "entities": ENTITIES}
WORDS = st.text(st.sampled_from("abÀßİéﬁ🐢\u0301कि9"), min_size=1, max_size=4).filter(lambda w: w[0] != "\u0301")


@settings(deadline=None)
@given(st.data())
def test_a_planted_gold_is_found_again(data: st.DataObject) -> None:
    words = data.draw(st.lists(WORDS, min_size=1, max_size=8))
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    start = sum(len(word) + 1 for word in words[:first])
    gold = " ".join(words[first : last + 1])
    context = " ".join(words)
    changes = data.draw(st.lists(st.sampled_from(list(CHANGES)), unique=True))
    changes.sort(key=list(CHANGES).index)
    changed = gold
    for change in changes:
        changed = CHANGES[change](changed)
    folds = (ENTITIES, UNICODE, CASE, UNICODE, WHITESPACE)
    in_context = data.draw(st.booleans())
    if in_context:  # the context is what was changed, its gold is not
        context = context[:start] + changed + context[start + len(gold) :]
        changed = gold
    stated = data.draw(st.none() | st.integers(-3, len(context) + 3) | st.just(start))

    table, report = run((context, [(changed, stated)]))
    (((found,)),) = spans(table)
    assert found is not None
    located = context[slice(*found)]
    assert fold(located, folds).strip() == fold(changed, folds).strip()
    (kind,) = [kind for kind, count in report.counts.items() if count]
    if kind in FOLDS:
        assert fold(located, [FOLDS[kind]]).strip() == fold(changed, [FOLDS[kind]]).strip()
    if kind in ("exact", "moved", "no_offset"):
        assert located == changed
    if changed == gold == context[start : start + len(gold)] and stated == start:
        assert (kind, found) == ("exact", (start, start + len(gold)))


@settings(deadline=None)
@given(st.text("abA", min_size=1, max_size=12), st.text("abA", min_size=1, max_size=3), st.none() | st.integers(-2, 14))
def test_exact_places_agree_with_the_obvious_search(context: str, text: str, stated: int | None) -> None:
    places = [at for at in range(len(context)) if context[at : at + len(text)] == text]
    place = min(places, key=lambda at: (abs(at - (stated or 0)), at), default=None)
    kind, found = locate(context, text, stated)
    if place is None:
        assert kind in ("case", "not_found")
    else:
        assert found == f"{place}:{text}"
        assert kind == ("no_offset" if stated is None else "exact" if place == stated else "moved")


# Real data


@pytest.mark.parametrize(
    "name",
    [f"xquad.{language}" for language in ("en", "es", "de", "zh", "ar", "hi", "vi")]
    + ["xquad.en.v2.dev", "xquad.en.v2.train", "policyqa.dev", "policyqa.v2.dev"],
)
def test_clean_data_is_exact(name: str, shared: Path) -> None:
    loaded = read_examples(
        split="train", files=str(shared / f"data/{name}.json"), training=False, version_2_with_negative=True
    )
    table, report = align(loaded.table, on_misaligned="error", training=True, source=name)
    assert len(table) == len(loaded.table)
    assert {kind for kind, count in report.counts.items() if count} == {"exact"}


@pytest.mark.parametrize(
    ("name", "training", "counts", "kept"),
    [
        ("train", True, {"exact": 1322, "case": 122, "not_found": 543}, 1444),
        ("dev", False, {"exact": 788, "case": 70, "not_found": 441}, 1299),
    ],
)
def test_dirty_data_is_repaired_and_accounted_for(
    name: str, training: bool, counts: dict[str, int], kept: int, shared: Path
) -> None:
    loaded = read_examples(split=name, files=str(shared / f"data/squad-pt.{name}.json"), training=training)
    table, report = align(loaded.table, on_misaligned="repair", training=training, source=name)
    print(report)
    assert Counter(report.counts) == Counter(counts)
    assert len(table) == kept
    assert len(report.ids["not_found"]) == counts["not_found"]
    assert report.dropped == len(loaded.table) - kept
    dictionary, context_index = table["context"].chunk(0).dictionary.to_pylist(), table["context"].chunk(0).indices
    for context, (text,), (span,) in zip(
        context_index.to_pylist(), table["gold_texts"].to_pylist(), spans(table), strict=True
    ):
        if span is not None:
            assert dictionary[context][slice(*span)].casefold() == text.casefold()
    everything, _ = align(loaded.table, on_misaligned="drop", training=True, source=name)
    assert len(everything) == counts["exact"]

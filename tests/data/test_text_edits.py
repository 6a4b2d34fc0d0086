"""Changes of a text carry its spans along: by hand, and as a property of any changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.data.text_edits import Edit, SpannedText, apply_edits, rearrange


def test_what_lies_before_within_and_behind_a_span() -> None:
    passage = SpannedText("Ada wrote it in London.", ((16, 22), (0, 3)))
    edits = [Edit(0, 0, "Lady "), Edit(4, 9, "invented"), Edit(17, 18, "OOO"), Edit(22, 22, " town"), Edit(22, 23, "!")]
    changed = apply_edits(passage, edits)
    assert changed.text == "Lady Ada invented it in LOOOndon town!"
    assert changed.texts() == ("LOOOndon", "Ada")
    assert apply_edits(passage, []) is passage


def test_a_span_may_be_replaced_whole() -> None:
    assert apply_edits(SpannedText("a b c", ((2, 3),)), [Edit(2, 3, "BB")]) == SpannedText("a BB c", ((2, 4),))


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([Edit(1, 3, "")], "border"),
        ([Edit(3, 5, "")], "border"),
        ([Edit(1, 6, "")], "border"),
        ([Edit(0, 1, ""), Edit(0, 2, "")], "overlap"),
        ([Edit(5, 6, ""), Edit(0, 1, "")], "order"),
    ],
)
def test_edits_that_no_span_could_survive_are_refused(edits: list[Edit], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply_edits(SpannedText("abcdefg", ((2, 4),)), edits)


@given(st.data())
def test_edits_outside_of_spans_leave_their_texts(data: st.DataObject) -> None:
    text = data.draw(st.text(min_size=1, max_size=30))
    places = st.integers(0, len(text))
    spans = data.draw(st.lists(st.tuples(places, places).filter(lambda span: span[0] < span[1]), max_size=3))
    drawn = sorted(data.draw(st.lists(st.tuples(places, places, st.text(max_size=4)), max_size=6)))
    edits: list[Edit] = []
    for start, end, new in drawn:
        apart = all(end <= first or start >= last for first, last in spans)
        if start <= end and apart and not (edits and start < edits[-1].end):
            edits.append(Edit(start, end, new))
    passage = SpannedText(text, tuple(spans))
    changed = apply_edits(passage, edits)
    assert changed.texts() == passage.texts()
    assert len(changed.text) == len(text) + sum(len(new) - (end - start) for start, end, new in edits)


def test_parts_in_another_order() -> None:
    passage = SpannedText("one two three", ((4, 7), (9, 11)))
    moved = rearrange(passage, [(8, 13), (3, 8), (0, 3)])
    assert moved.text == "three two one"
    assert moved.texts() == ("two", "hr")
    with pytest.raises(ValueError, match="none of the parts"):
        rearrange(passage, [(0, 5), (5, 13)])

"""The sentence of an answer, in many scripts."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.utils.sentences import excerpt

ENGLISH = 'It rained. J. Smith met Ada (in 1889). "Why?" she asked, paid 3.50 etc. and left! Nobody\nknew. So.'
CHINESE = "他来了。“他走了吗？”走了！"
PARAGRAPHS = "A heading\n\nThe first line\nand the second\n \nThe end"


def sentence(text: str, answer: str, room: int = 200) -> str:
    start = text.index(answer)
    before, words, after = excerpt(text, start, start + len(answer), room)
    assert words == answer
    return f"{before}[{words}]{after}"


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        (ENGLISH, "It", "[It] rained."),
        (ENGLISH, "Ada", "J. Smith met [Ada] (in 1889)."),
        (ENGLISH, "3.50", '"Why?" she asked, paid [3.50] etc. and left!'),
        (ENGLISH, "knew", "Nobody\n[knew]."),
        (ENGLISH, "So.", "[So.]"),
        (ENGLISH, "left! Nobody", '"Why?" she asked, paid 3.50 etc. and [left! Nobody]\nknew.'),
        (CHINESE, "来", "他[来]了。"),
        (CHINESE, "走了吗", "“他[走了吗]？”"),
        ("قال محمد؟ نعم.", "محمد", "قال [محمد]؟"),
        ("राम घर गया। वह सोया।", "घर", "राम [घर] गया।"),
        (PARAGRAPHS, "heading", "A [heading]"),
        (PARAGRAPHS, "second", "The first line\nand the [second]"),
        (PARAGRAPHS, "end", "The [end]"),
    ],
)
def test_a_sentence_is_cut_at_its_ends(text: str, answer: str, expected: str) -> None:
    assert sentence(text, answer) == expected


def test_of_a_long_sentence_the_nearest_words_are_kept() -> None:
    text = "one two three four five six seven eight nine"
    assert sentence(text, "five", room=12) == "…three four [five] six seven…"
    assert sentence(text, "five", room=100) == "one two three four [five] six seven eight nine"


def test_thai_and_chinese_are_cut_without_spaces() -> None:
    assert sentence("ก" * 30 + "X" + "ข" * 30, "X", room=5) == "…กกกกก[X]ขขขขข…"
    assert sentence("中" * 30 + "X" + "文" * 30, "X", room=5) == "…中中中中中[X]文文文文文…"


@given(st.text(alphabet="aB1 .!?。，\n\"')…กé", max_size=60), st.data())
def test_an_excerpt_is_a_piece_of_the_text(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    before, answer, after = excerpt(text, start, end, room=1000)
    assert answer == text[start:end]
    assert text[:start].endswith(before)
    assert text[end:].startswith(after)
    assert not regex.match(r"\s", before)
    assert not regex.search(r"\s\Z", after)

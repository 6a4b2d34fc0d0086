"""Augmentation by hand, as a property of any composition, and what of its settings is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.data.augmentation import Augmentation, Augmenter
from qa_lightning.data.replacement_table import read_replacements
from qa_lightning.data.sentence_moves import insert_sentence, shuffle_sentences
from qa_lightning.data.text_edits import SpannedText
from qa_lightning.data.word_noise import add_typos, change_casing, replace_words
from qa_lightning.utils.errors import UserError

CONTEXT = "Ada wrote the first program. Grace built a compiler in Paris! Alan lived in Rome."
OTHERS = ("A house stood by the river. It was big.", "Ada lived in Paris. Nobody knew.")


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def spanned(text: str, *answers: str) -> SpannedText:
    return SpannedText(text, tuple((text.index(answer), text.index(answer) + len(answer)) for answer in answers))


def words(text: str) -> list[str]:
    return regex.findall(r"\w+", text)


# Words


def test_every_kind_of_typo_by_hand() -> None:
    passage = spanned("ab ANSWER cde", "ANSWER")
    assert add_typos(passage, 1.0, ["swap"], random()).text == "ba ANSWER dce"
    assert add_typos(passage, 1.0, ["drop"], random()).text == "b ANSWER e"
    inserted = add_typos(passage, 1.0, ["insert"], random())
    assert regex.fullmatch(r"a\pLb\pL ANSWER c\pLd\pLe\pL", inserted.text)
    replaced = add_typos(passage, 1.0, ["replace"], random())
    assert [len(word) for word in words(replaced.text)] == [2, 6, 3]
    assert not any(a == b for a, b in zip(replaced.text, passage.text, strict=True) if a not in "ANSWER ")
    for changed in (inserted, replaced):
        assert changed.texts() == ("ANSWER",)
        assert set(changed.text) <= set(passage.text)
    assert add_typos(passage, 0.0, ["drop"], random()) == passage


def test_so_many_letters_have_typos() -> None:
    text = "abcdefgh " * 2000
    changed = add_typos(SpannedText(text), 0.1, ["replace"], random()).text
    share = np.mean([a != b for a, b in zip(changed, text, strict=True) if b != " "])
    assert share == pytest.approx(0.1, abs=0.01)


def test_words_that_an_answer_touches_and_numbers_stay() -> None:
    passage = spanned("pre-ANSWERs xy 1945 don’t", "ANSWER")
    changed = add_typos(passage, 1.0, ["drop"], random())
    assert changed.text == "e-ANSWERs y 1945 ’t"


def test_marks_stay_with_their_letters() -> None:
    text = "re\u0301sume\u0301 हिन्दी שָׁלוֹם"
    clusters = regex.findall(r"\X", text)
    for seed in range(20):
        changed = add_typos(SpannedText(text), 0.5, ["swap", "drop"], random(seed)).text
        assert set(regex.findall(r"\X", changed)) <= set(clusters)


def test_casing_changes_answers_as_well() -> None:
    passage = spanned("the Straße of Ada-lovers", "Straße", "Ada")
    upper = change_casing(passage, 1.0, ["upper"], random())
    assert upper.text == "THE STRASSE OF ADA-LOVERS"
    assert upper.texts() == ("STRASSE", "ADA")
    assert change_casing(passage, 1.0, ["title"], random()).text == "The Straße Of Ada-Lovers"
    assert change_casing(passage, 1.0, ["lower"], random()).texts() == ("straße", "ada")
    inside = change_casing(spanned("foobarbaz", "bar"), 1.0, ["title"], random())
    assert inside.texts() == ("Bar",)


def test_words_of_a_table_keep_their_casing() -> None:
    table = {"big": ["large"], "rome": ["a town"]}
    passage = spanned("Big bigger big BIG. In Rome, big Rome.", "Rome")
    changed = replace_words(passage, table, 1.0, random())
    assert changed.text == "Large bigger large LARGE. In Rome, large A town."
    assert changed.texts() == ("Rome",)
    assert replace_words(passage, table, 0.0, random()) == passage


# Sentences


def test_sentences_are_shuffled_whole() -> None:
    passage = spanned(CONTEXT, "compiler", "Rome")
    seen = {shuffle_sentences(passage, random(seed)) for seed in range(40)}
    assert len({changed.text for changed in seen}) == 6
    for changed in seen:
        assert changed.texts() == ("compiler", "Rome")
        assert sorted(changed.text) == sorted(CONTEXT)
        assert {"Ada wrote the first program.", "Alan lived in Rome."} < set(regex.split(r"(?<=[.!]) ", changed.text))
    across = spanned(CONTEXT, "program. Grace")
    for seed in range(10):
        assert shuffle_sentences(across, random(seed)).texts() == ("program. Grace",)


def test_a_sentence_is_inserted_beside_the_answers() -> None:
    passage = spanned(CONTEXT, "compiler")
    found = {insert_sentence(passage, "New one.", random(seed)).text for seed in range(10)}
    assert found == {
        "Ada wrote the first program. New one. Grace built a compiler in Paris! Alan lived in Rome.",
        "Ada wrote the first program. Grace built a compiler in Paris! New one. Alan lived in Rome.",
    }
    last = spanned(CONTEXT, "Rome")
    assert f"{CONTEXT} New one." in {insert_sentence(last, "New one.", random(seed)).text for seed in range(10)}
    assert len({insert_sentence(SpannedText(CONTEXT), "New one.", random(seed)).text for seed in range(40)}) == 4
    chinese = insert_sentence(SpannedText("你好。我在家。"), "新。", random())
    assert sorted(chinese.text) == sorted("你好。我在家。新。")


def test_a_distractor_holds_no_answer_and_is_from_another_context() -> None:
    augmenter = Augmenter(Augmentation(distractors=1), {}, (CONTEXT, *OTHERS), 0)
    passage = spanned(CONTEXT, "Paris")
    seen = set()
    for number in range(60):
        _, changed = augmenter("Where?", passage, augmenter.random(str(number), 0))
        assert changed.texts() == ("Paris",)
        assert changed.text.count("Paris") == 1
        seen |= {
            text for text in ("A house stood", "It was", "Nobody knew", "Ada lived in Paris") if text in changed.text
        }
    assert seen == {"A house stood", "It was", "Nobody knew"}
    alone = Augmenter(Augmentation(distractors=3), {}, (CONTEXT,), 0)
    assert alone("Where?", passage, random()) == ("Where?", passage)


# All together


def test_each_epoch_and_question_has_its_own_and_always_the_same() -> None:
    config = Augmentation(probability=0.4, typos=0.2, templates=["{question}", "Now, {question}"])
    first, second = (Augmenter(config, {}, OTHERS, seed=3) for _ in range(2))
    other_seed = Augmenter(config, {}, OTHERS, seed=4)

    def made(augmenter: Augmenter, name: str, epoch: int) -> tuple[bool, Any]:
        chance = augmenter.random(name, epoch)
        return augmenter.is_drawn(chance), augmenter("Who wrote the first program?", spanned(CONTEXT, "Ada"), chance)

    assert [made(first, str(n), n % 3) for n in range(9)] == [made(second, str(n), n % 3) for n in range(9)]
    seen = [made(first, "a", 0), made(first, "a", 1), made(first, "b", 0), made(other_seed, "a", 0)]
    assert len({text for _, text in seen}) == 4
    drawn = [made(first, str(n), 0)[0] for n in range(1000)]
    assert np.mean(drawn) == pytest.approx(0.4, abs=0.05)


def test_templates_and_parts() -> None:
    passage = spanned(CONTEXT, "Ada")
    augmenter = Augmenter(Augmentation(templates=["Say: {question} {question}"]), {}, OTHERS, 0)
    assert augmenter("Who?", passage, random()) == ("Say: Who? Who?", passage)
    only = Augmentation(text_casing=1.0, casings=["upper"], parts="question")
    assert Augmenter(only, {}, OTHERS, 0)("Who?", passage, random()) == ("WHO?", passage)
    question, changed = Augmenter(replace(only, parts="context"), {}, OTHERS, 0)("Who?", passage, random())
    assert (question, changed.text) == ("Who?", CONTEXT.upper())


TEXTS = st.text(
    st.one_of(
        st.sampled_from("aAßİσΣ.!? \n,'-"),
        st.sampled_from("\u0301\u05b8\u064bשבجकि東。👩\u200d\u1112\u1161"),
        st.characters(),
    ),
    min_size=1,
    max_size=60,
)


@given(st.data())
def test_after_any_composition_spans_hold_the_answers(data: st.DataObject) -> None:
    text = data.draw(TEXTS)
    places = st.integers(0, len(text))
    spans = data.draw(st.lists(st.tuples(places, places).filter(lambda span: span[0] < span[1]), max_size=3))
    passage = SpannedText(text, tuple(spans))
    table = {word.casefold(): ["x", "much longer"] for word in text.split()}
    names = data.draw(st.permutations(["typos", "words", "shuffle", "insert", "typos", "insert"]))
    chance = random(data.draw(st.integers(0, 1000)))
    steps = {
        "typos": lambda p: add_typos(p, 0.5, ["swap", "drop", "insert", "replace"], chance),
        "words": lambda p: replace_words(p, table, 0.5, chance),
        "shuffle": lambda p: shuffle_sentences(p, chance),
        "insert": lambda p: insert_sentence(p, "Another שלום one.", chance),
    }
    for name in names:
        passage = steps[name](passage)
    answers = SpannedText(text, tuple(spans)).texts()
    assert passage.texts() == answers
    # Casing: the words of an answer, each as it is changed by itself.
    for kind, change in (("lower", str.lower), ("upper", str.upper)):
        cased = change_casing(SpannedText(text, tuple(spans)), 1.0, [kind], chance)  # type: ignore[list-item]
        for image, answer in zip(cased.texts(), answers, strict=True):
            assert image.casefold() == change(answer).casefold()


@given(st.data())
def test_the_augmenter_keeps_answers_but_for_casing(data: st.DataObject) -> None:
    text = data.draw(TEXTS)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    config = Augmentation(typos=0.3, shuffle_sentences=0.5, distractors=2, templates=["{question}", "So: {question}"])
    augmenter = Augmenter(config, {}, (text, *OTHERS), data.draw(st.integers(0, 100)))
    _, changed = augmenter("Who?", SpannedText(text, ((start, end),)), augmenter.random("id", 0))
    assert changed.texts() == (text[start:end],)


# Settings


def test_off_by_default() -> None:
    assert not Augmentation().is_on
    assert Augmentation().read_table() == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"typos": 1.5}, "typos must be at most 1, not 1.5"),
        ({"probability": -0.1, "typos": 0.1}, "probability must be at least 0, not -0.1"),
        ({"casing": float("nan")}, "casing is not a number"),
        ({"distractors": -1}, "distractors must be at least 0, not -1"),
        ({"templates": ["Say {questions}"]}, r"templates: 'Say {questions}' has no {question} in it"),
        ({"probability": 0.3}, "has nothing on, but sets probability; set one of typos, "),
        ({"typo_kinds": ["swap"]}, "has nothing on, but sets typo_kinds"),
        ({"typos": 0.1, "typo_kinds": []}, "typo_kinds is empty"),
        ({"casing": 0.1, "replacement_rate": 0.2}, "replacement_rate is set, but not replacements"),
        ({"distractors": 1, "parts": "question"}, "parts is set, but not typos or casing or "),
        ({"typos": 0.1, "probability": 0.0}, "probability is 0, so that nothing is changed"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^data\.augmentation[.:]?\s?{message}"):
        Augmentation(**values)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("words.json", '{"Big": ["large", "huge"], "car": "auto"}'),
        ("words.tsv", "big\tlarge\n\nBIG\thuge\ncar\tauto\n"),
    ],
)
def test_tables(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_replacements(str(tmp_path / name)) == {"big": ["large", "huge"], "car": ["auto"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.json", None, "absent.json: cannot be read: No such file"),
        ("words.json", '{"a": "b",\n"c" "d"}', "words.json, row 2: not JSON"),
        ("words.json", "[1]", "words.json: holds no object"),
        ("words.json", "{}", "words.json: holds no word"),
        ("words.json", '{"a": []}', "words.json, the word 'a': there is no replacement"),
        ("words.json", '{"a": [1]}', "words.json, the word 'a': there is no replacement"),
        ("words.tsv", "a\tb\nc\n", "words.tsv, row 2: there is no replacement"),
        ("words.tsv", "a b\tc\n", "words.tsv, row 1: 'a b' is not one word"),
        ("words.tsv", "", "words.tsv: holds no word"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=rf"^data\.augmentation\.replacements: .*{regex.escape(message)}"):
        Augmentation(replacements=str(tmp_path / name)).read_table()


def test_what_tables_are_given_to_the_augmenter() -> None:
    table: dict[str, Sequence[str]] = {"wrote": ["invented"]}
    config = Augmentation(replacements="words.tsv", replacement_rate=1.0)
    _, changed = Augmenter(config, table, OTHERS, 0)("Who?", spanned(CONTEXT, "Ada"), random())
    assert changed.text == CONTEXT.replace("wrote", "invented")

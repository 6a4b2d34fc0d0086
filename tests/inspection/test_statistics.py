"""The numbers of a split, worked out by hand, and the examples drawn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import normalizers

from qa_lightning.data.sources import read_examples, rows_to_examples
from qa_lightning.data.splits import Split, SplitConfig
from qa_lightning.inspection.statistics import AROUND, Inspection, inspect_split, sample_examples
from qa_lightning.scoring.rules import rule_name
from tests.data.prepared import prepare, read, rows
from tests.data.tokenizers import build, characters, word_level

WORDS = "who ? ada wrote the first program in london .".split()
SHORT: dict[str, Any] = {"max_length": 10, "doc_stride": 2, "max_question_length": 4}


def inspect(split: Split, longest: int = 30, **settings: Any) -> Inspection:
    values = {"max_length": 384, "doc_stride": 128, "max_question_length": 64} | settings
    config = SplitConfig(
        **{
            "answers": "first",
            "allow_impossible_windows": True,
            "version_2_with_negative": False,
            "on_misaligned": "repair",
            "cache_dir": None,
        }
        | values
    )
    rule = rule_name(None, null_allowed=config.version_2_with_negative)
    return inspect_split(split, config, max_answer_length=longest, rule=rule)


def test_every_figure_of_a_small_split() -> None:
    # Tokens: ada 0, wrote 1, the 2, first 3, program 4, in 5, london 6, . 7; windows hold 0 to 4 and 3 to 7.
    golds = (("ada",), ("wrote the first program in",), (), ("first program", "Ada", "grace"))
    context = "ada wrote the first program in london ."
    settings = SHORT | {"version_2_with_negative": True}
    found = inspect(prepare(rows(context, *golds), word_level(WORDS), **settings), 4, **settings)
    assert (found.questions, found.contexts, found.unanswerable, found.questions_cut) == (4, 1, 1, 0)
    assert (found.golds_per_question, found.most_golds) == (5 / 3, 3)
    assert {kind: count for kind, count in found.alignment.items() if count} == {"exact": 3, "case": 1, "not_found": 1}
    assert found.lengths == {
        ("context", "characters"): (39, 39, 39.0, 39, 39, 39),
        ("context", "tokens"): (8, 8, 8.0, 8, 8, 8),
        ("question", "characters"): (5, 5, 5.0, 5, 5, 5),
        ("question", "tokens"): (2, 2, 2.0, 2, 2, 2),
        ("answer", "characters"): (3, 5, 10.0, 26, 26, 26),
        ("answer", "tokens"): (1, 1, 2.25, 5, 5, 5),
        ("window", "tokens"): (10, 10, 10.0, 10, 10, 10),
    }
    assert (found.windows, found.windows_dropped) == (8, 0)
    assert (found.most_windows, found.questions_of_several_windows) == (2, 4)
    assert (found.located, found.never_whole, found.too_long) == (4, 1, 1)
    # "wrote first program in" is four words, of which four other tokens could be made.
    assert found.reach == pytest.approx((75.0, 100 * (3 + 6 / 7) / 4, 100.0, 100.0))
    assert found.rule == "SQuAD 2.0"


def test_percentiles_are_the_least_length_that_so_many_do_not_exceed() -> None:
    context = {"context": "ada wrote .", "answers": {"text": ["ada"], "answer_start": [0]}}
    loaded = rows_to_examples(
        [{"id": str(n), "question": "?" * n, **context} for n in range(200, 0, -1)], source="rows"
    )
    found = inspect(prepare(loaded, word_level(WORDS)))
    assert found.lengths["question", "characters"] == (1, 100, 100.5, 180, 198, 200)
    # Each distinct context counts once, and a question as it was before it was cut.
    assert found.lengths["context", "characters"] == (11, 11, 11.0, 11, 11, 11)
    assert found.contexts == 1
    loaded = rows_to_examples([{"id": "1", "question": "who " * 9, **context}], source="rows")
    found = inspect(prepare(loaded, word_level(WORDS), **SHORT), **SHORT)
    assert found.questions_cut == 1
    assert found.lengths["question", "tokens"] == (9, 9, 9.0, 9, 9, 9)
    assert found.lengths["window", "tokens"] == (10, 10, 10.0, 10, 10, 10)


def test_training_counts_what_it_leaves_out() -> None:
    loaded = rows("ada wrote the first program in london .", ("ada",), ("grace",), ())
    settings = SHORT | {"version_2_with_negative": True, "allow_impossible_windows": False}
    found = inspect(prepare(loaded, word_level(WORDS), training=True, **settings), **settings)
    assert (found.questions, found.unanswerable, found.dropped) == (2, 1, {"no answer found": 1})
    # All the windows that the settings cut, though the one of "ada" that does not hold it is not trained on.
    assert (found.windows, found.windows_dropped) == (4, 1)
    assert found.alignment["not_found"] == 1
    assert (found.located, found.never_whole) == (1, 0)
    assert found.reach == (100.0, 100.0, 100.0, 100.0)


def test_training_has_windows_of_its_own_for_answers_between_two() -> None:
    loaded = rows("a b c d e f g h i", ("c d e",))
    settings = {"max_length": 9, "doc_stride": 0, "max_question_length": 2, "version_2_with_negative": True}
    tokenizer = word_level("who ? a b c d e f g h i".split())
    split = prepare(loaded, tokenizer, training=True, **settings)
    found = inspect(split, **settings)
    assert (found.windows, found.windows_added, found.never_whole) == (len(split.dataset), 1, 0)
    found = inspect(prepare(loaded, tokenizer, **settings), **settings)
    assert (found.windows, found.windows_added, found.never_whole) == (3, 0, 1)


def test_a_split_without_any_answer_has_no_lengths_of_answers() -> None:
    found = inspect(prepare(rows("ada wrote .", (), ()), word_level(WORDS), version_2_with_negative=True))
    assert found.lengths["answer", "characters"] is None
    assert found.lengths["answer", "tokens"] is None
    assert (found.golds_per_question, found.most_golds, found.unanswerable) == (0.0, 0, 2)


def test_a_gold_that_no_token_covers_is_in_no_window() -> None:
    tokenizer = characters()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("b", "")
    found = inspect(prepare(rows("a b c", ("b",), ("c",)), tokenizer))
    assert (found.located, found.never_whole) == (2, 1)
    assert found.lengths["answer", "tokens"] == (1, 1, 1.0, 1, 1, 1)
    assert found.reach.exact_of_golds == 50.0


def test_machine_translated_answers(shared: Path) -> None:
    loaded = read_examples(split="train", files=str(shared / "data/squad-pt.train.json"), training=True)
    found = inspect(prepare(loaded, build("bert-uncased", shared), training=True))
    counts = {kind: count for kind, count in found.alignment.items() if count}
    assert counts == {"exact": 1322, "case": 122, "not_found": 543}
    assert sum(counts.values()) == 1987
    assert (found.questions, found.dropped) == (1444, {"no answer found": 543})
    assert found.located == 1444
    # Golds that begin or end inside a token, and those longer than 30 tokens.
    reach = found.reach
    assert 96 < reach.exact_of_golds < 97 < 99 < reach.exact_at_most < 100
    assert 98 < reach.f1_of_golds < 99 < reach.f1_at_most < 100


def test_short_windows_cost_only_long_answers(shared: Path) -> None:
    loaded, tokenizer = read(shared / "data/xquad.en.json"), build("bert-uncased", shared)
    long = inspect(prepare(loaded, tokenizer))
    settings = {"max_length": 64, "doc_stride": 16, "max_question_length": 24}
    short = inspect(prepare(loaded, tokenizer, **settings), **settings)
    assert (long.never_whole, long.too_long, short.never_whole) == (0, 0, 2)
    assert long.reach.exact_of_golds == pytest.approx(100 * 1189 / 1190)
    assert short.reach.exact_of_golds == pytest.approx(100 * 1187 / 1190)
    assert 99.9 < short.reach.f1_of_golds < long.reach.f1_of_golds < 100
    assert short.reach.f1_at_most <= long.reach.f1_at_most == pytest.approx(100)
    assert short.most_windows > 10 > long.most_windows


def test_examples_are_drawn_by_seed_and_stand_in_order() -> None:
    context = {"context": "ada wrote .", "answers": {"text": ["ada"], "answer_start": [0]}}
    loaded = rows_to_examples([{"id": str(n), "question": "who ?", **context} for n in range(50)], source="rows")
    split = prepare(loaded, word_level(WORDS), training=True)

    def drawn(count: int, seed: int) -> list[str]:
        return [example.id for example in sample_examples(split, "first", count, seed)]

    assert drawn(5, 0) == drawn(5, 0) == sorted(set(drawn(5, 0)), key=int)
    assert len(drawn(5, 0)) == 5
    assert drawn(5, 0) != drawn(5, 1)
    assert drawn(99, 0) == [str(n) for n in range(50)]
    assert drawn(0, 0) == []


def test_an_example_shows_what_is_trained_on() -> None:
    context = "In 1817 Ada wrote the programs of Ada."
    golds = (("7",), ("ada", "Ada wrote"), (), ("grace", "wrote", "Ada", "wrote"))
    split = prepare(rows(context, *golds), word_level([*WORDS, "1817"]), version_2_with_negative=True)
    inside, repaired, nothing, several = sample_examples(split, "first", 9, 0)
    assert (inside.before, inside.answer, inside.after) == ("In 181", "7", " Ada wrote the programs of Ada.")
    assert (inside.label, inside.golds) == ("1817", ())
    assert (repaired.answer, repaired.label, repaired.golds) == ("Ada", "Ada", ("ada", "Ada wrote"))
    assert (nothing.answer, nothing.label, nothing.golds) == (None, None, ())
    assert nothing.before + nothing.after == context
    assert (several.answer, several.golds) == ("wrote", ("grace", "Ada"))


@pytest.mark.parametrize("space", [" ", ""])
def test_an_example_is_shortened_between_words(space: str) -> None:
    words = [f"w{n:04}" for n in range(200)]
    context = space.join([*words[:100], "ada", *words[100:]])
    golds = {"text": ["ada"], "answer_start": [context.index("ada")]}
    questions = ({"id": "1", "answers": golds}, {"id": "2", "answers": []})
    loaded = rows_to_examples(
        [{"question": "?", "context": context, **question} for question in questions], source="rows"
    )
    answered, nothing = sample_examples(prepare(loaded, characters()), "first", 9, 0)
    for part, before in ((answered.before, True), (answered.after, False)):
        text = part.strip("… ")
        assert part.startswith("…") == before
        assert AROUND - 20 <= len(text) <= AROUND
        assert text in context
        assert not space or set(text.split()) <= set(words)
    assert (nothing.before, nothing.answer) == ("", None)
    assert len(nothing.after.rstrip("…")) > 2 * AROUND - 20
    assert context.startswith(nothing.after.rstrip("…"))
